import json
from pathlib import Path

import numpy as np
import pytest
from tiny_faces import write_faces

from fer_tasks import training
from fer_tasks.dataset import load_split
from fer_tasks.errors import SettingsError, TrainingError
from fer_tasks.model import build_crop_model, build_model, import_keras
from fer_tasks.settings import RunSettings
from fer_tasks.start_run import run as start_run
from fer_tasks.teachers import crop_teacher, load_teachers, teacher_names
from fer_tasks.training_batches import TrainingBatches
from fer_tasks.training_layers import TrainingLayers


@pytest.fixture
def teachers(tmp_path):
    """Two models of the paper's network that are sure of their answers, in files."""
    paths = [tmp_path / "one.keras", tmp_path / "other.keras"]
    for seed, path in enumerate(paths):
        import_keras().utils.set_random_seed(seed)
        model = build_model("paper_cnn")
        kernel = model.get_layer("logits").kernel
        kernel.assign(kernel * 100)
        model.save(path)
    return paths


@pytest.mark.parametrize(("setting", "names"), [
    ("none", []), ("champion", ["champion"]), ("a.keras, runs/b", ["a.keras", "runs/b"]), ("a,", ["a"]),
])  # fmt: skip
def test_teachers_are_a_list_of_names(setting, names):
    assert teacher_names(setting) == names


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_the_target_is_the_mean_of_the_teachers_and_a_share_of_the_label(make_run, teachers):
    settings = RunSettings(
        architecture="paper_cnn", teachers=",".join(map(str, teachers)), teacher_share=0.75, batch_size=28,
        augment=False, label_smoothing=0.0, epochs=2, learning_rate=1e-6, seed=5,
    )  # fmt: skip
    run_dir = make_run()
    write_faces(run_dir, {"train": 28})
    faces = load_split(run_dir, "train")
    batches = TrainingBatches(faces, settings)
    loaded = load_teachers(settings)
    model = training.compiled_network(settings, "float32", batches, initial=None, teachers=loaded)
    student = build_model("paper_cnn")
    student.set_weights(model.network.get_weights())
    said = softmax(import_keras().Model(student.input, student.get_layer("logits").output).predict(faces.pixels))
    taught = np.mean([teacher.predict(faces.pixels) for teacher in loaded], axis=0)
    target = 0.75 * taught + 0.25 * np.eye(7)[faces.labels]
    expected = -(target * np.log(said)).sum(axis=1).mean()
    loss = training.fit_epoch(model, batches, 1)["loss"][0]
    assert loss == pytest.approx(expected, rel=1e-4)
    for teacher, before in zip(load_teachers(settings), loaded, strict=True):
        assert all((one == other).all() for one, other in zip(teacher.get_weights(), before.get_weights(), strict=True))


def test_a_training_with_teachers_says_whose_and_keeps_them_out_of_the_model(make_run, teachers):
    run_dir = make_run(
        architecture="paper_cnn", teachers=str(teachers[0]), epochs=1, patience=1, batch_size=35, learning_rate=0.01
    )
    write_faces(run_dir, {"train": 70, "validation": 21})
    history = training.run(run_dir)
    assert len(history.teachers_sha256) == 1
    assert json.loads(run_dir.history_json.read_text())["teachers_sha256"] == list(history.teachers_sha256)
    assert history.num_parameters == build_model("paper_cnn").count_params()


def test_a_narrower_teacher_judges_crops_of_any_size_as_it_judges_faces():
    teacher = build_model("resnet", crop_side=44, width=0.25)
    rng = np.random.default_rng(0)
    for variable in teacher.variables:
        variable.assign(rng.uniform(0.1, 0.3, variable.shape))
    network = crop_teacher(teacher, RunSettings(network_width=1.0), side=None, precision="float32")
    faces = rng.random((4, 48, 48, 1), dtype=np.float32)
    assert np.allclose(network.predict(faces[:, 2:46, 2:46]), teacher.predict(faces), atol=1e-5)
    assert network.trainable_variables == []


def test_a_teacher_of_another_network_is_refused(teachers):
    with pytest.raises(TrainingError, match=r"one\.keras' is a paper_cnn and the network to train a resnet"):
        load_teachers(RunSettings(teachers=str(teachers[0])))


def test_paths_of_teachers_become_absolute_and_one_that_is_not_there_is_refused(tmp_path, monkeypatch, teachers):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    run_dir = start_run("manual__1", {"teachers": "one.keras, pretrained"})
    assert json.loads((Path(run_dir) / "settings.json").read_text())["teachers"] == f"{teachers[0]},pretrained"
    with pytest.raises(SettingsError, match=r"'teachers' is 'no/such': there is no .*such"):
        start_run("manual__2", {"teachers": "one.keras,no/such"})


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_outside_training_the_layers_give_what_those_of_keras_give(precision):
    rng = np.random.default_rng(1)
    plain, ours = (
        build_crop_model("resnet", side=32, precision=precision, width=0.25, layers=layers)
        for layers in (None, TrainingLayers())
    )
    for one, other in zip(plain.variables, ours.variables, strict=True):
        one.assign(rng.uniform(0.02, 0.1, one.shape))
        other.assign(one)
    crops = rng.random((6, 32, 32, 1), dtype=np.float32)
    assert np.allclose(plain.predict(crops), ours.predict(crops), atol=1e-5 if precision == "float32" else 0.02)
