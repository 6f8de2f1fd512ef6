"""The exported model answers as Keras does, starts without TensorFlow, and is made once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_tasks import cpu_model
from fer_tasks.cpu_model import CpuModel, export, exported, load_cpu_model
from fer_tasks.drawn_face import draw_face
from fer_tasks.errors import TrainingError
from fer_tasks.model import build_model, import_keras, load_model, predict_probabilities
from fer_tasks.views import predict_views

PROJECT = Path(__file__).resolve().parent.parent

MOMENTS = ((0.5, 1.5), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5))
"""Of a trained batch normalisation: factor, constant, mean and variance."""


@pytest.fixture(scope="module")
def faces():
    """Drawn ones of every emotion, and a black and a white one."""
    drawn = [draw_face(emotion, np.random.default_rng(emotion)).pixels for emotion in range(7)]
    return np.stack([*drawn, np.zeros((48, 48)), np.full((48, 48), 255)])[..., None].astype(np.float32) / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run whose network crops 40 pixels and has batch normalisation with moments as a trained one has."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    model = build_model("resnet", crop_side=40, width=0.25)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([random.uniform(low, high, shape) for low, high in MOMENTS])
    path = tmp_path_factory.mktemp("run")
    model.save(path / "model.keras")
    return path


def keras_says(folder, faces):
    return predict_probabilities(load_model(folder / "model.keras"), faces)


@pytest.mark.parametrize(("form", "tolerance"), [("float32", 1e-5), ("int8", 0.1)])
def test_it_answers_as_keras_does(folder, faces, form, tolerance):
    answers = load_cpu_model(folder, form).predict_on_batch(faces)
    assert answers.dtype == np.float32
    assert answers.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    assert np.ptp(answers, axis=0).max() > 0.05  # so that agreeing says something
    assert np.abs(answers - keras_says(folder, faces)).max() < tolerance


def test_int8_is_a_third_of_the_size_and_answers_a_little_otherwise(folder, faces):
    whole, small = (exported(folder / "model.keras", form) for form in ("float32", "int8"))
    assert small.stat().st_size < whole.stat().st_size / 3
    assert (CpuModel(small).predict_on_batch(faces) != CpuModel(whole).predict_on_batch(faces)).mean() > 0.5


@pytest.mark.slow
def test_the_shipped_weights_exported_answer_as_in_keras(faces):
    shipped = PROJECT / "fer_tasks" / "pretrained"
    assert np.abs(load_cpu_model(shipped).predict_on_batch(faces) - keras_says(shipped, faces)).max() < 1e-4


@pytest.mark.slow
def test_a_network_without_normalised_batches_is_exported_too(faces, tmp_path):
    import_keras().utils.set_random_seed(2)
    model = build_model("paper_cnn")
    export(model, tmp_path / "paper.tflite", "float32")
    answers = CpuModel(tmp_path / "paper.tflite").predict_on_batch(faces)
    assert np.abs(answers - predict_probabilities(model, faces)).max() < 1e-5


def test_a_face_is_answered_the_same_alone_and_among_others(folder, faces):
    model = load_cpu_model(folder, "int8")
    alone = np.concatenate([model.predict_on_batch(face[None]) for face in faces])
    assert (model.predict_on_batch(faces[::-1])[::-1] == alone).all()
    assert model.predict_on_batch(faces[:0]).shape == (0, 7)


def test_its_ten_views_are_those_of_keras(folder, faces):
    views = predict_views(load_cpu_model(folder), faces[:3], tta=True)
    expected = predict_views(load_model(folder / "model.keras"), faces[:3], tta=True)
    assert views.shape == (10, 3, 7)
    assert np.abs(views - expected).max() < 1e-5
    assert np.abs(views[0] - views[4]).max() > 1e-4


def test_a_model_is_exported_once_and_then_loaded_without_tensorflow(folder, faces, tmp_path):
    first = exported(folder / "model.keras", "int8")
    made = first.stat().st_mtime_ns
    np.save(tmp_path / "faces.npy", faces)
    script = (
        "import sys, pathlib, numpy as np\n"
        "from fer_tasks.cpu_model import load_cpu_model\n"
        f"model = load_cpu_model(pathlib.Path({str(folder)!r}), 'int8')\n"
        f"print(model.predict_on_batch(np.load({str(tmp_path / 'faces.npy')!r}))[0].argmax(), model.crop_side)\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow'} & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    label = load_cpu_model(folder, "int8").predict_on_batch(faces[:1]).argmax()
    assert answer.stdout.splitlines() == [f"{label} 40", "[]"]
    assert first.stat().st_mtime_ns == made


@pytest.mark.slow
def test_an_export_that_answers_otherwise_is_refused_and_leaves_no_file(folder, monkeypatch):
    monkeypatch.setitem(cpu_model.MAX_DEVIATION, "int8", 0.0)
    monkeypatch.setenv("FER_HOME", str(folder / "other home"))
    with pytest.raises(TrainingError, match=r"Exported to LiteRT \(int8\), the model says .* use Keras"):
        exported(folder / "model.keras", "int8")
    assert [path.name for path in (folder / "other home" / "exported").iterdir()] == ["export.lock"]


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_damaged_export_is_told(tmp_path, content):
    file = tmp_path / "model.tflite"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TrainingError, match=r"model.tflite is no exported model; delete it"):
        CpuModel(file)


def test_the_command_writes_a_file_that_other_programs_read(folder, faces, tmp_path, capsys):
    target = tmp_path / "classifier.tflite"
    assert cpu_model.main(["--model", str(folder), "--output", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert np.abs(CpuModel(target).predict_on_batch(faces) - keras_says(folder, faces)).max() < 1e-5
    assert cpu_model.main(["--model", str(tmp_path), "--output", str(target)]) == 2
    assert "There is no model at" in capsys.readouterr().err
