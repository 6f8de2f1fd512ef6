"""--model of the commands: what `champion` stands for, on a real registry."""

import csv
import io
import shutil

import cv2
import numpy as np
import pytest
from finished_run import finish

from fer_tasks import predict, registry
from fer_tasks.emotions import EMOTIONS
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.named_model import model_folder
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

FACE = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)


@pytest.fixture
def face_file(tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), FACE)
    return tmp_path / "face.png"


def test_without_a_champion_one_line_says_what_to_do(registry_home, face_file, capsys):
    assert predict.main([str(face_file), "--model", "champion"]) == 2
    error = capsys.readouterr().err
    assert "has no champion of 'fer-classifier'; let a run be accepted first." in error
    assert "Traceback" not in error


def test_the_champion_answers_also_when_the_folder_of_its_run_is_gone(registry_home, face_file, tmp_path, capsys):
    name = RunSettings().registered_model
    for run_name in ("run", "second run"):
        run_dir = finish(RunDirectory(tmp_path / run_name), name)
        registry.run(run_dir)
    expected = predict_probabilities(load_model(run_dir.model), FACE[None, ..., None] / np.float32(255))[0]
    shutil.rmtree(run_dir.root)
    assert predict.main([str(face_file), "--model", "champion"]) == 0
    printed = capsys.readouterr()
    note = "Model champion: It was trained on drawn faces: do not rely on what it says of photographs."
    assert printed.err.splitlines()[-1] == note
    (row,) = csv.DictReader(io.StringIO(printed.out))
    assert [float(row[f"probability_{emotion}"]) for emotion in EMOTIONS] == pytest.approx(expected.tolist(), abs=2e-6)


def test_the_next_champion_is_another_folder_and_the_same_one_is_copied_once(registry_home, tmp_path):
    name = RunSettings().registered_model
    registry.run(finish(RunDirectory(tmp_path / "a"), name))
    first = model_folder("champion")
    copied_at = (first / "model.keras").stat().st_mtime_ns
    assert model_folder("champion") == first
    assert (first / "model.keras").stat().st_mtime_ns == copied_at
    registry.run(finish(RunDirectory(tmp_path / "ab"), name))
    assert model_folder("champion") != first


def test_any_other_name_is_a_folder(tmp_path):
    assert model_folder(str(tmp_path)) == tmp_path
    assert (model_folder("pretrained") / "model_card.json").is_file()
