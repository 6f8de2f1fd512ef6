"""Mean maps of networks that look at one known part of the face, intervals counted another way, and who is chosen."""

import numpy as np
import pytest

from fer_tasks.emotion_maps import FaceSet, choose_confused, choose_recognised, summarise, weigh_regions
from fer_tasks.explained_network import Network
from fer_tasks.face_regions import FACE_REGIONS, PARTS, facial_segments
from fer_tasks.settings import RunSettings

HAPPY, SURPRISE = 3, 5
MOUTH, NOSE = FACE_REGIONS.index("mouth"), FACE_REGIONS.index("nose")


class MouthNetwork(Network):
    """P(happy) is the brightness inside the mouth, P(surprise) the rest."""

    def probabilities(self, faces):
        found = np.zeros((len(faces), 7), np.float32)
        found[:, HAPPY] = faces[..., 0][:, facial_segments() == MOUTH].mean(axis=1)
        found[:, SURPRISE] = 1 - found[:, HAPPY]
        return found

    def gradients(self, faces, label):
        raise NotImplementedError("maps need none")


def test_the_part_that_decides_holds_the_weight():
    faces = np.full((6, 48, 48), 0.8, np.float32) * np.linspace(0.5, 1, 6, dtype=np.float32)[:, None, None]
    settings = RunSettings(lime_fill="zero")
    weights = weigh_regions(faces, HAPPY, MouthNetwork(), settings)
    assert weights.shape == (6, 11)
    np.testing.assert_allclose(weights[:, MOUTH], faces[:, 0, 0], rtol=0.1)
    assert np.abs(np.delete(weights, MOUTH, axis=1)).max() < 0.05
    np.testing.assert_allclose(weigh_regions(faces, SURPRISE, MouthNetwork(), settings), -weights, atol=1e-6)

    found = summarise(FaceSet(HAPPY, HAPPY, tuple(range(6)), 9), weights, seed=0)
    assert (found.true, found.predicted, found.num_images, found.num_found) == ("happy", "happy", 6, 9)
    first = found.parts[0]
    assert first.part == "mouth"
    assert first.size == (9 * 22) / 2304  # rows 31 to 39, columns 13 to 34
    assert first.share > 0.9
    assert first.counts_more_than_its_size
    assert [part.part for part in found.parts if part.counts_more_than_its_size] == ["mouth"]


def test_sides_are_added_and_the_interval_is_that_of_a_mean():
    """Against the normal approximation, which holds for a mean of 200 images."""
    random = np.random.default_rng(3)
    weights = np.zeros((200, len(FACE_REGIONS)))
    weights[:, FACE_REGIONS.index("left eye")] = 0.2
    weights[:, FACE_REGIONS.index("right eye")] = 0.1 + random.normal(0, 0.05, 200)
    weights[:, NOSE] = -0.3
    found = summarise(FaceSet(SURPRISE, SURPRISE, tuple(range(200)), 200), weights, seed=0)
    parts = {part.part: part for part in found.parts}
    assert set(parts) == set(PARTS)
    eyes = parts["eyes"]
    mean, error = weights[:, [4, 5]].sum(axis=1).mean(), weights[:, 5].std() / np.sqrt(200)
    assert eyes.weight == pytest.approx(mean)
    assert eyes.weight_low == pytest.approx(mean - 1.96 * error, abs=0.002)
    assert eyes.weight_high == pytest.approx(mean + 1.96 * error, abs=0.002)
    assert (eyes.share, eyes.share_low, eyes.share_high) == (1.0, 1.0, 1.0)  # nothing else speaks for it
    assert (parts["nose"].share, parts["nose"].weight) == (0.0, pytest.approx(-0.3))
    assert not parts["nose"].counts_more_than_its_size
    assert sum(part.size for part in found.parts) == pytest.approx(1.0)


def test_few_images_get_no_interval_and_no_claim():
    weights = np.zeros((4, len(FACE_REGIONS)))
    weights[:, MOUTH] = 0.5
    first = summarise(FaceSet(HAPPY, HAPPY, (0, 1, 2, 3), 4), weights, seed=0).parts[0]
    assert (first.part, first.share, first.share_low, first.weight_high) == ("mouth", 1.0, None, None)
    assert not first.counts_more_than_its_size


def test_nothing_that_speaks_for_an_emotion_shares_nothing():
    found = summarise(FaceSet(HAPPY, HAPPY, tuple(range(5)), 5), np.full((5, 11), -0.1), seed=0)
    assert {part.share for part in found.parts} == {0.0}


LABELS = np.array([3, 3, 3, 3, 3, 2, 2, 2, 2, 0, 0], np.int32)
PREDICTED = np.array([3, 3, 3, 5, 4, 5, 5, 3, 2, 6, 1], np.int32)
IDS = [f"image {number}" for number in range(11)]


def test_recognised_images_are_drawn_by_seed_and_id():
    fear, happy = choose_recognised(LABELS, PREDICTED, IDS, num_images=2, seed=1)
    assert (fear.true, fear.predicted, fear.rows, fear.num_found) == (2, 2, (8,), 1)
    assert (happy.true, happy.num_found, len(happy.rows)) == (3, 3, 2)
    assert set(happy.rows) <= {0, 1, 2}
    everyone = choose_recognised(LABELS, PREDICTED, IDS, num_images=50, seed=1)[1]
    assert everyone.rows[:2] == happy.rows  # more images are these and others
    order = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    turned = choose_recognised(LABELS[order], PREDICTED[order], IDS[::-1], num_images=2, seed=1)[1]
    assert [10 - row for row in turned.rows] == list(happy.rows)
    draws = {choose_recognised(LABELS, PREDICTED, IDS, num_images=2, seed=seed)[1].rows for seed in range(9)}
    assert len(draws) > 1


def test_the_commonest_confusion_of_each_emotion():
    chosen = choose_confused(LABELS, PREDICTED, IDS, num_images=50, seed=1)
    assert [(found.true, found.predicted, set(found.rows)) for found in chosen] == [
        (0, 1, {10}),  # as common as neutral, and before it
        (2, 5, {5, 6}),
        (3, 4, {4}),
    ]
