"""The network for questions against the one it is made of: the same answers, with whatever its layers have learned."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fer_tasks.cpu_model import ParallelCpuModel
from fer_tasks.explained_network import ExplainedNetwork, network_to_explain
from fer_tasks.face_regions import filled, grid_segments, region_centres
from fer_tasks.inference_network import inference_network, without_crop
from fer_tasks.lime_surrogate import disturbed_faces
from fer_tasks.model import build_model, import_keras
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.sampling_designs import draw_masks


@pytest.fixture(scope="module")
def trained():
    """A narrow resnet on the middle 40 pixels, whose batch normalisations have seen something, and that doubts."""
    import_keras().utils.set_random_seed(3)
    model = build_model("resnet", crop_side=40, width=0.25)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, import_keras().layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weights.shape) for weights in layer.get_weights()])
    logits = model.get_layer("logits")
    logits.set_weights([0.1 * weights for weights in logits.get_weights()])
    return model


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(1).random((9, 48, 48, 1), np.float32)


def test_folded_normalisation_changes_nothing_but_rounding(trained, faces):
    fast = inference_network(trained, "float32")
    kinds = [type(layer).__name__ for layer in fast.layers]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv2D") == 8
    expected = trained.predict_on_batch(faces)
    assert expected.std(axis=0).max() > 1e-3  # the faces differ to it
    np.testing.assert_allclose(fast.predict_on_batch(faces), expected, atol=1e-5)


def test_bfloat16_is_for_the_maps_of_features_alone(trained, faces):
    fast = inference_network(trained, "mixed_bfloat16")
    computed = {layer.name: layer.compute_dtype for layer in fast.layers}
    assert {computed[layer.name] for layer in fast.layers if "conv" in layer.name} == {"bfloat16"}
    assert (computed["standardise"], computed["logits"], computed["emotions"]) == ("float32",) * 3
    np.testing.assert_allclose(fast.predict_on_batch(faces), trained.predict_on_batch(faces), atol=0.002)


def test_a_convolution_whose_answer_is_also_used_elsewhere_is_not_folded(faces):
    keras = import_keras()
    face = keras.Input((48, 48, 1))
    convolved = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(face)
    normalised = keras.layers.BatchNormalization()(convolved)
    both = keras.layers.Add()([convolved, normalised])
    model = keras.Model(face, keras.layers.Dense(7, activation="softmax")(keras.layers.Flatten()(both)))
    fast = inference_network(model, "float32")
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in fast.layers)
    np.testing.assert_allclose(fast.predict_on_batch(faces), model.predict_on_batch(faces), atol=1e-6)


def test_the_crop_is_taken_before_the_network(trained, faces):
    core, side = without_crop(trained)
    assert side == 40
    np.testing.assert_allclose(core.predict_on_batch(faces[:, 4:44, 4:44]), trained.predict_on_batch(faces), atol=1e-6)
    whole = build_model("paper_cnn")
    assert without_crop(whole) == (whole, 48)


def test_copies_made_inside_are_those_of_the_arrays(trained, faces):
    network = ExplainedNetwork(trained)
    face, segments = faces[0, ..., 0], grid_segments(5)
    fill = filled(face, segments, "blur")
    for num_copies in (1, 2, 1100):
        masks = draw_masks("random", num_copies, region_centres(segments), seed=0)
        expected = trained.predict_on_batch(disturbed_faces(face, fill, segments, masks))
        np.testing.assert_allclose(network.of_copies(face, fill, segments, masks), expected, atol=1e-5)


def test_gradients_are_zero_outside_the_crop(trained, faces):
    slopes = ExplainedNetwork(trained).gradients(faces, 3)
    assert slopes.shape == faces.shape
    assert np.abs(slopes[:, 4:44, 4:44]).max() > 0
    slopes[:, 4:44, 4:44] = 0
    assert np.abs(slopes).max() == 0


@pytest.fixture(scope="module")
def int8(trained):
    return ParallelCpuModel(trained, "int8", num_threads=2)


@pytest.fixture(scope="module")
def copies(faces):
    """What `of_copies` takes: a face, its fill, its regions, and 100 masks."""
    segments = grid_segments(5)
    face = np.clip(faces[0, ..., 0] * np.linspace(0.2, 1.8, 48, dtype=np.float32), 0, 1)
    return face, filled(face, segments, "mean"), segments, draw_masks("random", 100, region_centres(segments), seed=0)


def test_int8_tells_the_copies_apart_as_the_network_does(trained, int8, copies):
    expected = trained.predict_on_batch(disturbed_faces(*copies))
    answers = ExplainedNetwork(trained, int8=int8).of_copies(*copies)
    assert np.abs(answers - expected).max() > 1e-5  # else it was not asked
    assert np.corrcoef(answers.ravel(), expected.ravel())[0, 1] > 0.999
    assert (answers - expected).var(axis=0).sum() < 0.01 * expected.var(axis=0).sum()


def test_the_probability_of_the_whole_face_is_exact(trained, int8, copies):
    face, fill, segments, _ = copies
    around = Neighbourhood(face, fill, segments, ExplainedNetwork(trained, int8=int8))
    np.testing.assert_allclose(around.probabilities, trained.predict_on_batch(face[None, ..., None])[0], atol=1e-6)


@pytest.mark.parametrize("num_copies", [3, 100])
def test_where_int8_answers_otherwise_it_is_not_used(trained, copies, caplog, num_copies):
    import_keras().utils.set_random_seed(4)
    other = ParallelCpuModel(build_model("resnet", crop_side=40, width=0.25), "int8", num_threads=1)
    network = ExplainedNetwork(trained, int8=other)
    *face, masks = copies
    expected = trained.predict_on_batch(disturbed_faces(*face, masks[:num_copies]))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(network.of_copies(*face, masks[:num_copies]), expected, atol=1e-5)
    assert "explained in float32: int8 answers its copies too differently" in caplog.text


def test_a_few_copies_that_agree_earn_no_trust_for_the_others(trained, int8, copies, monkeypatch):
    network = ExplainedNetwork(trained, int8=int8)
    *face, masks = copies
    network.of_copies(*face, masks[:3])
    monkeypatch.setattr(int8, "predict_on_batch", lambda pixels: np.full((len(pixels), 7), 1 / 7, np.float32))
    expected = trained.predict_on_batch(disturbed_faces(*copies))
    np.testing.assert_allclose(network.of_copies(*copies), expected, atol=1e-5)


def test_any_thread_may_ask_int8(int8, faces):
    alone = int8.predict_on_batch(faces)
    with ThreadPoolExecutor(8) as threads:
        for answers in threads.map(int8.predict_on_batch, [faces] * 24):
            assert (answers == alone).all()
    assert int8.predict_on_batch(faces[:0]).shape == (0, 7)


@pytest.mark.parametrize(("precision", "is_exact"), [("float32", True), ("auto", False)])
def test_float32_means_float32(trained, copies, precision, is_exact):
    network = network_to_explain(trained, precision)
    expected = trained.predict_on_batch(disturbed_faces(*copies))
    assert (np.abs(network.of_copies(*copies) - expected).max() < 1e-6) == is_exact
    shuffled = network.shuffled(seed=1)
    exact = shuffled.probabilities(disturbed_faces(*copies))
    np.testing.assert_allclose(shuffled.of_copies(*copies), exact, atol=1e-6)
