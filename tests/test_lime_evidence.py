"""The evidence for explanations against values counted by hand, and on networks whose truth is known."""

import numpy as np
import pytest

from fer_tasks.explained_network import ExplainedNetwork, Network
from fer_tasks.lime_evidence import (
    area,
    find_doubts,
    random_order_areas,
    rank_correlation,
    removal_masks,
    top_overlap,
)
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.settings import RunSettings
from fer_tasks.surrogates import check_shuffled, surrogates

SETTINGS = RunSettings(lime_grid=4, lime_samples=200, lime_fill="zero", seed=3)
KEPT = {
    "held_out_r2": 0.3, "weight_correlation": 0.7, "deletion": 0.2, "insertion": 0.6, "random_order": 0.4,
    "gradient_agreement": 0.0,
}  # fmt: skip


class LinearNetwork(Network):
    """P(angry) is the sum of the means of a 4 x 4 grid's squares, each with its own weight; the rest is neutral's."""

    def __init__(self, weights: np.ndarray) -> None:
        self.slopes = np.kron(weights.reshape(4, 4), np.ones((12, 12))) / 144

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        found = np.zeros((len(faces), 7), np.float32)
        found[:, 0] = (faces[..., 0] * self.slopes).sum(axis=(1, 2))
        found[:, 6] = 1 - found[:, 0]
        return found

    def gradients(self, faces: np.ndarray, label: int) -> np.ndarray:
        return np.repeat(self.slopes[None, ..., None], len(faces), axis=0) * {0: 1.0, 6: -1.0}[label]


class CoinNetwork(Network):
    """Each copy's probabilities are what its bytes happen to be: no region decides anything."""

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        found = np.stack([np.random.default_rng(abs(hash(face.tobytes()))).dirichlet(np.ones(7)) for face in faces])
        return found.astype(np.float32)

    def gradients(self, faces: np.ndarray, label: int) -> np.ndarray:
        return np.random.default_rng(label).normal(size=faces.shape).astype(np.float32)


def bright_face() -> np.ndarray:
    return np.full((48, 48), 0.5, np.float32)


def test_an_explanation_of_a_linear_network_is_reliable_and_its_evidence_is_known() -> None:
    weights = np.linspace(-0.1, 0.2, 16)
    around = Neighbourhood.of(bright_face(), LinearNetwork(weights), SETTINGS)
    np.testing.assert_allclose(around.integrated_gradients(0), weights / 2, atol=1e-6)
    (angry,) = surrogates(around, [0], settings=SETTINGS)
    evidence = angry.evidence
    assert (evidence.is_reliable, evidence.doubts) == (True, ())
    assert evidence.held_out_r2 > 0.9
    assert evidence.rank_correlation > 0.95
    assert evidence.gradient_agreement > 0.95
    # p falls from 0.4 as 1/16 of the picture at a time goes, the largest weight first: the mean of the curve
    kept = 0.4 - np.concatenate([[0], np.cumsum(weights[::-1] / 2)])
    assert evidence.deletion == pytest.approx((kept[:-1] + kept[1:]).mean() / 2, abs=0.01)
    shown = np.concatenate([[0], np.cumsum(weights[::-1] / 2)])
    assert evidence.insertion == pytest.approx((shown[:-1] + shown[1:]).mean() / 2, abs=0.01)
    assert evidence.deletion < evidence.random_order < evidence.insertion


def test_an_explanation_of_chance_is_called_unreliable() -> None:
    around = Neighbourhood.of(bright_face(), CoinNetwork(), SETTINGS)
    (angry,) = surrogates(around, [0], settings=SETTINGS)
    assert angry.r2 > 0.0
    assert angry.evidence.held_out_r2 < 0.1
    assert not angry.evidence.is_reliable
    assert angry.evidence.doubts[0].startswith("its R² on other copies is ")


def test_bounds_are_kept_by_equality_and_named_when_broken() -> None:
    assert find_doubts(**KEPT) == []
    assert find_doubts(**KEPT | {"held_out_r2": 0.29}) == ["its R² on other copies is 0.29, below 0.3"]
    assert find_doubts(**KEPT | {"weight_correlation": 0.69}) == ["another seed's weights correlate by 0.69, below 0.7"]
    assert find_doubts(**KEPT | {"insertion": 0.4}) == ["its order of the regions is no better than a random one"]
    assert find_doubts(**KEPT | {"deletion": 0.4}) == ["its order of the regions is no better than a random one"]
    assert find_doubts(**KEPT | {"deletion": 0.35, "insertion": 0.45}) == []
    assert find_doubts(**KEPT | {"deletion": 0.39, "insertion": 0.41}) == [
        "its strongest regions change the probability by 0.010 beyond chance, below 0.05"
    ]
    assert find_doubts(**KEPT | {"gradient_agreement": -0.2}) == [
        "integrated gradients contradict it (correlation -0.20)"
    ]


def test_regions_leave_one_by_one_and_the_area_follows_their_size() -> None:
    masks = removal_masks(np.array([2, 0, 1]))
    assert masks.tolist() == [[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    shares = np.array([0.25, 0.25, 0.5])
    # shown 1, 0.5, 0.25, 0: trapezoids 0.5 * 0.8 + 0.25 * 0.4 + 0.25 * 0.1
    assert area(np.array([1.0, 0.6, 0.2, 0.0]), masks, shares) == pytest.approx(0.525)
    # shown 0, 0.25, 0.5, 1: trapezoids 0.25 * 0.2 + 0.25 * 0.6 + 0.5 * 0.9
    assert area(np.array([0.0, 0.4, 0.8, 1.0]), masks[::-1], shares) == pytest.approx(0.65)


def test_random_orders_of_a_linear_network_average_to_half_its_probability() -> None:
    around = Neighbourhood.of(bright_face(), LinearNetwork(np.full(16, 0.1)), SETTINGS)
    areas = random_order_areas(around, seed=0)
    assert areas[0] == pytest.approx(0.4, abs=1e-3)  # 0.8 for the whole face, falling evenly to 0
    assert areas[6] == pytest.approx(0.6, abs=1e-3)
    assert areas[1] == 0.0


def test_overlap_and_rank_correlation() -> None:
    one = np.array([9.0, -8.0, 7.0, 6.0, 5.0, 0.1, 0.0, 0.2])
    other = np.array([9.0, 8.0, 7.0, 0.0, 0.1, -6.0, 5.0, 0.2])
    assert top_overlap(one, one) == 1.0
    assert top_overlap(one, other) == 3 / 7
    assert rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 300.0])) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(0.6)
    assert rank_correlation(np.zeros(4), np.arange(4.0)) == 0.0


def keras_mouth_network() -> ExplainedNetwork:
    """P(happy) grows with the brightness of a mouth, P(sad) falls; nothing else is looked at."""
    from fer_tasks.model import import_keras

    keras = import_keras()
    kernel = np.zeros((48, 48, 7), np.float32)
    kernel[32:40, 16:32, 3] = 6 / 128
    dense = keras.layers.Dense(7, activation="softmax")
    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([kernel.reshape(2304, 7), np.array([-9, -9, -9, -3, 0, -9, -9], np.float32)])
    return ExplainedNetwork(model)


def test_keras_gradients_are_the_slopes_of_the_probabilities_and_shuffled_weights_explain_otherwise() -> None:
    network = keras_mouth_network()
    face = bright_face()
    around = Neighbourhood.of(face, network, SETTINGS)
    step = np.zeros((1, 48, 48, 1), np.float32)
    step[0, 35, 20, 0] = 0.05
    up, down = network.probabilities(np.concatenate([face[None, ..., None] + step, face[None, ..., None] - step]))
    slopes = network.gradients(face[None, ..., None], 3)
    assert slopes.shape == (1, 48, 48, 1)
    assert slopes[0, 35, 20, 0] == pytest.approx((up[3] - down[3]) / 0.1, rel=1e-2)
    assert slopes[0, 5, 5, 0] == 0.0
    whole, black = network.probabilities(np.stack([face, np.zeros_like(face)])[..., None])[:, 3]
    assert around.integrated_gradients(3).sum() == pytest.approx(whole - black, rel=1e-2)

    real = surrogates(around, [3], settings=SETTINGS)
    check = check_shuffled(network, [face], real, settings=SETTINGS)
    assert check is not None
    assert check.num_faces == 1
    assert check.has_passed is (check.rank_correlation < 0.3)
    shuffled = network.shuffled(seed=3)
    assert not np.allclose(shuffled.probabilities(face[None, ..., None]), network.probabilities(face[None, ..., None]))
    assert check_shuffled(network, [], [], settings=SETTINGS) is None


def test_a_network_that_shuffling_leaves_as_it_is_does_not_pass_the_check() -> None:
    """Were the explanations made of the faces alone, both networks would be explained alike."""

    class Unchanged(LinearNetwork):
        def shuffled(self, *, seed: int) -> "Unchanged":
            return self

    network = Unchanged(np.linspace(0, 0.1, 16))
    real = surrogates(Neighbourhood.of(bright_face(), network, SETTINGS), [0], settings=SETTINGS)
    check = check_shuffled(network, [bright_face()], real, settings=SETTINGS)
    assert check is not None
    assert (check.has_passed, round(check.rank_correlation, 6)) == (False, 1.0)
