"""Model files from somebody who means harm: none runs code, reads a file or writes one while it is read."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from fer_tasks import model_file
from fer_tasks.errors import TrainingError
from fer_tasks.model import build_model, import_keras, load_model

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 7}, "registered_name": None}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """{member: bytes} of a sound model."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    build_model("paper_cnn").save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def marker(tmp_path):
    """A file that hostile code would write."""
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists()


def write(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_layer(sound: dict[str, bytes], layer: dict) -> dict[str, bytes]:
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "x", "layers": [DENSE, layer]}}
    return {**sound, "config.json": json.dumps(config).encode()}


def refusal(path: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_sound_model_is_read(sound, tmp_path):
    assert load_model(write(tmp_path / "model.keras", sound)).output_shape == (None, 7)


def test_python_in_a_lambda_layer_does_not_run(tmp_path, marker):
    keras, path = import_keras(), tmp_path / "model.keras"
    there = str(marker)
    harmful = keras.layers.Lambda(lambda x: [x, open(there, "w").close()][0])  # noqa: PTH123
    keras.Sequential([keras.Input((2,)), harmful]).save(path)
    assert marker.exists(), "it ran when the model was made"
    marker.unlink()
    keras.saving.load_model(path, safe_mode=False)
    assert marker.exists(), "and runs where it is let"
    marker.unlink()
    assert "asks for keras.layers.Lambda" in refusal(path)


def function(module: str, name: str) -> dict:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize(
    "layer",
    [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"units": 1, "activation": function("os", "system")},
        },
        {"module": "os", "class_name": "system", "config": "touch marker"},
        {"module": "builtins", "class_name": "exec", "config": {"source": "open('marker', 'w')"}},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "marker"]}},
        {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "marker", "origin": "file:///etc/passwd"},
        },
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "."}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASVAA=="}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}},
        {"module": ["keras.layers"], "class_name": {"a": 1}, "config": {}},
        {**DENSE, "registered_name": "package>Harmful"},
        {"class_name": "Dense", "config": {"units": 1}},
    ],
)
def test_a_config_that_asks_for_more_than_a_network_is_refused(sound, tmp_path, monkeypatch, marker, layer):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "model.keras", with_layer(sound, {"registered_name": None, **layer}))
    assert "which no network of this pipeline has" in refusal(path)


def test_a_class_that_this_process_has_registered_is_not_built(sound, tmp_path, marker):
    keras = import_keras()

    @keras.saving.register_keras_serializable("hostile")
    class Harmful(keras.layers.Layer):
        @classmethod
        def from_config(cls, config):
            marker.touch()
            return cls()

    layer = {"module": __name__, "class_name": "Harmful", "config": {}, "registered_name": "hostile>Harmful"}
    path = write(tmp_path / "model.keras", with_layer(sound, layer))
    assert "Harmful, which no network of this pipeline has" in refusal(path)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.pkl"])
def test_a_pickle_is_not_unpickled(tmp_path, marker, name):
    (tmp_path / name).write_bytes(pickle.dumps(Payload(marker)))
    assert "cannot be read as a Keras model" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["../marker", "/marker", "assets/../../marker", "assets/vocabulary.txt", "x.pkl"])
def test_no_member_but_those_of_a_model_is_unpacked(sound, tmp_path, marker, name):
    path = write(tmp_path / "model.keras", {**sound, name: b"x"})
    assert "cannot be read as a Keras model: it holds" in refusal(path)


@pytest.mark.parametrize("left_out", ["config.json", "model.weights.h5", "metadata.json"])
def test_a_file_without_one_of_its_parts_is_refused(sound, tmp_path, left_out):
    path = write(tmp_path / "model.keras", {name: data for name, data in sound.items() if name != left_out})
    assert "expected metadata.json, config.json, model.weights.h5" in refusal(path)


def test_weights_that_unpack_to_far_more_are_refused(sound, tmp_path):
    bomb = {**sound, "model.weights.h5": bytes(300 * 2**20)}
    path = write(tmp_path / "model.keras", bomb, zipfile.ZIP_DEFLATED)
    assert "model.weights.h5 would unpack to 314,572,800 bytes" in refusal(path)


def test_a_deep_config_is_refused(sound, tmp_path):
    path = write(tmp_path / "model.keras", {**sound, "config.json": b'{"config":' * 100_000})
    assert "cannot be read as a Keras model" in refusal(path)


def external_link(weights, name, secret):
    del weights[name]
    weights[name] = h5py.ExternalLink(str(secret), "secret")


def external_storage(weights, name, secret):
    shape, kind = weights[name].shape, weights[name].dtype
    del weights[name]
    weights.create_dataset(name, shape, kind, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def virtual(weights, name, secret):
    shape, kind = weights[name].shape, weights[name].dtype
    del weights[name]
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource(str(secret), "secret", shape)
    weights.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("hide", [external_link, external_storage, virtual])
def test_weights_that_stand_in_another_file_are_not_read(sound, tmp_path, hide):
    """They would make a file that its owner never gave away part of a model."""
    kept = tmp_path / "kept.h5"
    kept.write_bytes(sound["model.weights.h5"])
    with h5py.File(kept, "r+") as weights:
        name = next(f"layers/{layer}/vars/0" for layer in weights["layers"] if len(weights[f"layers/{layer}/vars"]))
        with h5py.File(tmp_path / "secret.h5", "w") as secret:
            secret["secret"] = np.full(weights[name].shape, 42, np.float32)
        hide(weights, name, tmp_path / "secret.h5")
    path = write(tmp_path / "model.keras", {**sound, "model.weights.h5": kept.read_bytes()})
    assert "1 objects could not be loaded" in refusal(path)


def test_every_class_that_is_let_through_computes_and_no_more():
    keras = import_keras()
    for name in model_file.CLASSES["keras.layers"]:
        kind = getattr(keras.layers, name)
        assert not {"vocabulary", "function", "filepath", "module", "call_fn"} & set(kind.__init__.__code__.co_varnames)
