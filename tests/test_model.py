import json
import zipfile

import numpy as np
import pytest

from fer_tasks.errors import TrainingError
from fer_tasks.model import (
    build_crop_model,
    build_model,
    choose_precision,
    import_keras,
    load_model,
    predict_probabilities,
)

FACES = np.random.default_rng(0).random((5, 48, 48, 1), dtype=np.float32)


@pytest.mark.parametrize("architecture", ["resnet", "paper_cnn"])
def test_a_network_gives_seven_probabilities_and_stays_small(architecture):
    model = build_model(architecture)
    assert model.input_shape == (None, 48, 48, 1)
    probabilities = predict_probabilities(model, FACES)
    assert (probabilities.shape, probabilities.dtype) == ((5, 7), np.float32)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert 500_000 < model.count_params() <= 2_500_000


@pytest.mark.parametrize("architecture", ["resnet", "paper_cnn"])
def test_brightness_and_linear_contrast_do_not_matter(architecture):
    import_keras().utils.set_random_seed(1)
    model = build_model(architecture)
    plain, dim = predict_probabilities(model, FACES), predict_probabilities(model, 0.2 + 0.5 * FACES)
    between_faces = np.abs(plain[0] - plain[1]).max()
    assert np.abs(plain - dim).max() < 0.1 * between_faces


def test_a_network_for_crops_fits_the_one_that_crops():
    model, of_crops = build_model("resnet", crop_side=40), build_crop_model("resnet", side=40, precision="float32")
    model.set_weights(of_crops.get_weights())
    expected = of_crops.predict_on_batch(FACES[:, 4:44, 4:44])
    assert np.allclose(predict_probabilities(model, FACES), expected, atol=1e-6)
    edged = FACES.copy()
    edged[:, :4] = 1.0
    assert np.allclose(predict_probabilities(model, edged), expected, atol=1e-6)


def test_the_width_is_a_factor_of_the_channels():
    kernels = [
        layer.kernel.shape[2:] for layer in build_model("resnet", width=0.5).layers if type(layer).__name__ == "Conv2D"
    ]
    assert kernels == [(1, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128)]
    assert build_model("resnet").count_params() == 2_311_591


def test_the_paper_network_is_of_the_papers_layers():
    kinds = [type(layer).__name__ for layer in build_model("paper_cnn").layers]
    assert kinds.count("Conv2D") == kinds.count("MaxPooling2D") == 4
    assert kinds[-3:] == ["Dense", "Dense", "Softmax"]
    assert "BatchNormalization" not in kinds


def test_mixed_arithmetic_still_ends_in_float32_and_leaves_no_trace():
    keras = import_keras()
    model = build_crop_model("resnet", side=48, precision="mixed_bfloat16")
    assert next(layer.compute_dtype for layer in model.layers if "conv2d" in layer.name) == "bfloat16"
    assert predict_probabilities(model, FACES).dtype == np.float32
    assert model.get_layer("emotions").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("architecture", ["resnet", "paper_cnn"])
def test_a_saved_model_is_read_back_in_safe_mode_and_predicts_the_same(architecture, tmp_path):
    model = build_model(architecture)
    model.save(tmp_path / "model.keras")
    expected = predict_probabilities(model, FACES)
    assert np.allclose(predict_probabilities(load_model(tmp_path / "model.keras"), FACES), expected, atol=1e-6)


def test_prediction_in_batches_keeps_the_order_and_takes_none():
    model = build_model("resnet")
    many = np.repeat(FACES, 60, axis=0)  # 300: more than one batch
    assert np.allclose(
        predict_probabilities(model, many), np.repeat(predict_probabilities(model, FACES), 60, axis=0), atol=1e-4
    )
    assert predict_probabilities(model, FACES[:0]).shape == (0, 7)


def test_a_missing_model_is_told(tmp_path):
    with pytest.raises(TrainingError, match=r"no model at .*model\.keras; run train_model first"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"not a model at all"])
def test_a_file_that_is_no_model_is_told(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read as a Keras model"):
        load_model(tmp_path / "model.keras")


def test_a_model_file_with_code_in_it_is_refused(tmp_path):
    keras = import_keras()
    evil = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    evil.save(tmp_path / "evil.keras")
    with zipfile.ZipFile(tmp_path / "evil.keras") as archive:
        assert "Lambda" in json.loads(archive.read("config.json"))["config"]["layers"][1]["class_name"]
    with pytest.raises(TrainingError, match="cannot be read as a Keras model"):
        load_model(tmp_path / "evil.keras")


@pytest.mark.parametrize("setting", ["float32", "mixed_bfloat16"])
def test_a_chosen_arithmetic_is_kept(setting):
    assert choose_precision(setting) == setting


def test_auto_takes_bfloat16_only_where_it_is_computed_in_hardware():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU decides here")
    with open("/proc/cpuinfo") as cpuinfo:  # noqa: PTH123
        flags = cpuinfo.read()
    has_it = "amx_bf16" in flags or "avx512_bf16" in flags
    assert choose_precision("auto") == ("mixed_bfloat16" if has_it else "float32")
