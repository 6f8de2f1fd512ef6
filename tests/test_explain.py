"""python -m fer_tasks.explain, as a user runs it: a real image, a real model, the picture, what is printed."""

import cv2
import numpy as np
import pytest

from fer_tasks import explain
from fer_tasks.model import import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings


@pytest.fixture(scope="module")
def mouth_folder(tmp_path_factory):
    """A run whose model sees only rows 32-39, columns 16-31: bright is happy, dark is sad."""
    run_dir = RunDirectory(tmp_path_factory.mktemp("run"))
    run_dir.save_json(run_dir.settings_json, RunSettings(lime_fill="zero", lime_regions="face").to_params())
    keras = import_keras()
    kernel = np.zeros((48, 48, 7), np.float32)
    kernel[32:40, 16:32, 3] = 6 / 128
    dense = keras.layers.Dense(7, activation="softmax")
    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([kernel.reshape(2304, 7), np.array([-9, -9, -9, -3, 0, -9, -9], np.float32)])
    model.save(run_dir.model)
    return run_dir.root


@pytest.fixture
def image(tmp_path):
    face = np.full((48, 48), 60, np.uint8)
    face[30:42, 12:36] = 255
    cv2.imwrite(str(tmp_path / "face.png"), np.kron(face, np.ones((2, 2), np.uint8)))
    return tmp_path / "face.png"


def run(*arguments):
    return explain.main([str(argument) for argument in arguments])


def test_the_mouth_is_named_and_drawn(image, mouth_folder, tmp_path, capsys):
    output = tmp_path / "explanation.png"
    assert run(image, "--output", output, "--model", mouth_folder) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("happy: 9")
    assert printed[1].startswith("strongest regions: mouth +0.")
    assert printed[-1] == "reliable"
    picture = cv2.imread(str(output))
    assert picture.shape == (384, 768, 3)
    left, right = picture[:, :384], picture[:, 384:]
    assert (left[..., 0] == left[..., 2]).all()
    blue, _, red = right[36 * 8, 24 * 8].astype(int)  # in the mouth
    assert blue - red > 100
    blue, _, red = right[2 * 8, 2 * 8].astype(int)  # in the background
    assert abs(blue - red) < 20


def test_another_emotion_can_be_asked_for_and_the_mouth_speaks_against_it(image, mouth_folder, tmp_path, capsys):
    output = tmp_path / "explanation.png"
    assert run(image, "--output", output, "--model", mouth_folder, "--emotion", "sad", "--regions", "grid") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("sad: ")
    assert "row 36, column " in printed[1]
    blue, _, red = cv2.imread(str(output))[36 * 8, 384 + 20 * 8].astype(int)
    assert red - blue > 100


def test_an_explanation_of_nothing_is_grey_and_exits_with_1(image, mouth_folder, tmp_path, capsys):
    output = tmp_path / "explanation.png"
    assert run(image, "--output", output, "--model", mouth_folder, "--emotion", "fear", "--regions", "slic") in (0, 1)
    capsys.readouterr()
    cv2.imwrite(str(image), np.zeros((48, 48), np.uint8))  # with black as its fill, every copy is the same
    assert run(image, "--output", output, "--model", mouth_folder) == 1
    assert "unreliable: its R² on other copies is 0.00" in capsys.readouterr().out
    picture = cv2.imread(str(output)).astype(int)
    assert (picture.max(axis=-1) == picture.min(axis=-1)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.png", "--output", "a.png"], "missing.png"),
        (["notes.txt", "--output", "a.png"], "no image"),
        (["face.png", "--output", "a.jpg"], "let its name end in .png"),
        (["face.png", "--output", "a.png", "--model", "nowhere"], "There is no model at"),
    ],
)
def test_what_is_wrong_is_told_with_exit_status_2(arguments, words, image, mouth_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(mouth_folder)]
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a.jpg").exists()
