import numpy as np
import pytest

from fer_tasks.calibration import at_temperature, fit_temperature, fold_temperature
from fer_tasks.errors import DatasetError
from fer_tasks.model import build_model, import_keras, predict_probabilities


def answers(odds, num_right, num_wrong):
    """Two emotions at `odds` to one, said of as many faces; the first one is right for num_right of them."""
    probabilities = np.full((num_right + num_wrong, 7), 1e-9)
    probabilities[:, 0], probabilities[:, 1] = odds / (odds + 1), 1 / (odds + 1)
    labels = np.array([0] * num_right + [1] * num_wrong, np.int32)
    return labels, probabilities.astype(np.float32)[None]


def test_the_temperature_brings_confidence_to_the_share_that_is_right():
    # odds of 81 to 1 and right in 9 of 10 cases: the square root of the odds is right, temperature 2
    labels, views = answers(81, 90, 10)
    temperature = fit_temperature(labels, views)
    assert temperature == pytest.approx(2.0, abs=0.01)
    assert at_temperature(views, temperature)[0, 0, 0] == pytest.approx(0.9, abs=1e-3)
    # and the other way round, for a model that is too modest
    assert fit_temperature(*answers(3, 90, 10)) == pytest.approx(0.5, abs=0.01)


def test_temperature_one_changes_nothing_and_no_temperature_changes_the_order():
    views = np.random.default_rng(0).dirichlet(np.ones(7), (1, 20)).astype(np.float32)
    assert np.allclose(at_temperature(views, 1.0), views, atol=1e-6)
    assert (at_temperature(views, 3.0).argmax(axis=-1) == views.argmax(axis=-1)).all()


def test_without_validation_images_there_is_nothing_to_fit_on():
    with pytest.raises(DatasetError, match="no validation images"):
        fit_temperature(np.empty(0, np.int32), np.empty((1, 0, 7), np.float32))


@pytest.mark.parametrize("architecture", ["resnet", "paper_cnn"])
def test_a_folded_temperature_is_in_every_prediction(architecture):
    faces = np.random.default_rng(0).random((3, 48, 48, 1), dtype=np.float32)
    import_keras().utils.set_random_seed(1)
    model = build_model(architecture)
    before = predict_probabilities(model, faces)
    fold_temperature(model, 0.5)
    after = predict_probabilities(model, faces)
    squared = before**2
    assert np.allclose(after, squared / squared.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.abs(after - before).max() > 1e-3
