"""python -m fer_tasks.predict, as a user runs it: real files, a real model, what is printed and the exit status."""

import csv
import io

import cv2
import numpy as np
import pytest

from fer_tasks import predict
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.model import build_model, import_keras, load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    run_dir = RunDirectory(tmp_path_factory.mktemp("run"))
    run_dir.save_json(run_dir.settings_json, RunSettings().to_params())
    import_keras().utils.set_random_seed(1)
    build_model("paper_cnn").save(run_dir.model)
    return run_dir.root


@pytest.fixture
def crops(tmp_path):
    """Three faces, one of them twice as large and in colour, in folders, and beside them a text and a broken image."""
    folder = tmp_path / "crops"
    (folder / "b").mkdir(parents=True)
    cv2.imwrite(str(folder / "b" / "1.png"), FACES[0])
    cv2.imwrite(str(folder / "a.bmp"), FACES[1])
    large = cv2.cvtColor(np.kron(FACES[2], np.ones((2, 2), np.uint8)), cv2.COLOR_GRAY2BGR)
    cv2.imwrite(str(folder / "b" / "2, large.PNG"), large)
    (folder / "readme.txt").write_text("no image")
    return folder


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_is_predicted_in_the_order_of_names_as_the_model_says(crops, model_folder, capsys):
    assert predict.main([str(crops), "--model", str(model_folder)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["path"] for row in rows] == [str(crops / name) for name in ("a.bmp", "b/1.png", "b/2, large.PNG")]
    pixels = FACES[[1, 0, 2]][..., None] / np.float32(255)
    expected = predict_probabilities(load_model(model_folder / "model.keras"), pixels)
    got = np.array([[float(row[f"probability_{emotion}"]) for emotion in EMOTIONS] for row in rows])
    assert np.abs(got - expected).max() < 2e-6
    assert [row["emotion"] for row in rows] == [EMOTIONS[index] for index in expected.argmax(axis=1)]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(expected.max(axis=1).tolist(), abs=1e-6)
    assert [row["error"] for row in rows] == [""] * 3


def test_with_views_averaged_the_probabilities_are_others(crops, model_folder, tmp_path):
    for name, options in (("one.csv", []), ("twelve.csv", ["--tta"])):
        assert predict.main([str(crops), "--model", str(model_folder), "--output", str(tmp_path / name), *options]) == 0
    one, twelve = (rows_of((tmp_path / name).read_text()) for name in ("one.csv", "twelve.csv"))
    assert [row["path"] for row in one] == [row["path"] for row in twelve]
    assert all(row["confidence"] != other["confidence"] for row, other in zip(one, twelve, strict=True))
    assert sum(float(twelve[0][f"probability_{emotion}"]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("options", "status"), [([], 2), (["--keep-going"], 0)])
def test_what_cannot_be_read_is_told_and_the_others_are_predicted(crops, model_folder, capsys, options, status):
    (crops / "b" / "0.png").write_bytes(b"no png")
    (crops / "b" / "empty.jpg").touch()
    assert predict.main([str(crops), "--model", str(model_folder), *options]) == status
    printed = capsys.readouterr()
    rows = rows_of(printed.out)
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, True]
    assert rows[1]["emotion"] == rows[1]["confidence"] == ""
    assert "the file is no JPEG, PNG" in rows[1]["error"]
    assert f"{crops / 'b' / 'empty.jpg'}: the file is empty" in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such.png"], "There is nothing at no/such.png"),
        (["{crops}", "--model", "{crops}"], "There is no model at"),
        (["{crops}/readme.txt", "--model", "{crops}/b/1.png"], "There is no model at"),
    ],
)
def test_a_mistaken_path_is_one_readable_line(crops, capsys, arguments, words):
    assert predict.main([argument.format(crops=crops) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_a_folder_without_images_is_told(tmp_path):
    with pytest.raises(DatasetError, match="There is no image below"):
        list(predict.find_images([tmp_path]))


def test_the_noise_reduction_of_the_run_is_applied(crops, model_folder, tmp_path, capsys):
    other = RunDirectory(tmp_path / "median")
    other.save_json(other.settings_json, RunSettings(denoise="median").to_params())
    other.model.write_bytes((model_folder / "model.keras").read_bytes())
    assert predict.main([str(crops / "a.bmp"), "--model", str(other.root)]) == 0
    got = float(rows_of(capsys.readouterr().out)[0]["confidence"])
    pixels = cv2.medianBlur(FACES[1], 3)[None, ..., None] / np.float32(255)
    assert got == pytest.approx(predict_probabilities(load_model(other.model), pixels).max(), abs=2e-6)


def test_more_files_than_a_batch_come_out_in_order(crops, model_folder, monkeypatch, capsys):
    monkeypatch.setattr(predict, "_BATCH", 2)
    files = [str(crops / name) for name in ("b/1.png", "a.bmp", "b/1.png", "a.bmp", "a.bmp")]
    assert predict.main([*files, "--model", str(model_folder)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["path"] for row in rows] == files
    assert len({row["confidence"] for row in rows}) == 2
