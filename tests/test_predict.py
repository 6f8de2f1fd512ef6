"""python -m fer_tasks.predict, as a user runs it: real files, a real model, what is printed and the exit status."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
from drawn_scene import FACES as DRAWN
from drawn_scene import scene

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


@pytest.fixture
def photo(tmp_path):
    """Three drawn faces in a picture."""
    cv2.imwrite(str(tmp_path / "photo.png"), scene())
    return tmp_path / "photo.png"


@pytest.fixture
def wall(tmp_path):
    cv2.imwrite(str(tmp_path / "wall.jpg"), np.full((200, 300, 3), 120, np.uint8))
    return tmp_path / "wall.jpg"


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


def test_every_face_of_a_picture_is_a_row_with_its_box(photo, model_folder, capsys):
    assert predict.main([str(photo), "--model", str(model_folder)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["face"] for row in rows] == ["0", "1", "2"]
    assert {row["path"] for row in rows} == {str(photo)}
    assert len({row["confidence"] for row in rows}) == 3
    for row, (_, _, left, top, side) in zip(rows, DRAWN, strict=True):
        x, y, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
        assert abs(x + width / 2 - (left + side / 2)) < 0.15 * side
        assert abs(y + height / 2 - (top + side / 2)) < 0.15 * side
        assert sum(float(row[f"probability_{emotion}"]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-5)


def test_faces_are_searched_in_larger_pictures_alone_unless_told_otherwise(crops, photo, model_folder, capsys):
    files = [str(photo), str(crops / "b" / "2, large.PNG"), "--model", str(model_folder)]
    found = {}
    for option in ([], ["--crops"], ["--detect", "--keep-going"]):
        assert predict.main([*files, *option]) == 0
        found["".join(option)] = [(row["face"], bool(row["error"])) for row in rows_of(capsys.readouterr().out)]
    faces = [(str(number), False) for number in range(3)]
    assert found == {
        "": [*faces, ("", False)],
        "--crops": [("", False)] * 2,
        "--detect--keep-going": [*faces, ("", True)],  # it is noise
    }


def test_the_first_columns_stay_those_of_crops(crops, model_folder, capsys):
    assert predict.main([str(crops / "a.bmp"), "--model", str(model_folder)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header == (
        "path,emotion,confidence,probability_angry,probability_disgust,probability_fear,probability_happy,"
        "probability_sad,probability_surprise,probability_neutral,error,face,left,top,width,height"
    )
    assert row.endswith(",,,,,,")


@pytest.mark.parametrize(("options", "status"), [([], 2), (["--keep-going"], 0)])
def test_a_picture_without_a_face_is_an_error_row_with_the_reason(photo, wall, model_folder, capsys, options, status):
    assert predict.main([str(wall), str(photo), "--model", str(model_folder), *options]) == status
    printed = capsys.readouterr()
    rows = rows_of(printed.out)
    assert [row["error"] for row in rows] == [
        "no face was found; if the picture is the crop of a face, add --crops", "", "", "",
    ]  # fmt: skip
    assert [row["face"] for row in rows] == ["", "0", "1", "2"]
    assert rows[0]["emotion"] == rows[0]["confidence"] == ""
    assert f"{wall}: no face was found" in printed.err


def test_lines_of_json_say_the_same_as_the_csv(photo, wall, model_folder, tmp_path):
    for name in ("rows.csv", "rows.jsonl"):
        options = ["--model", str(model_folder), "--output", str(tmp_path / name), "--keep-going"]
        assert predict.main([str(photo), str(wall), *options]) == 0
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    rows = rows_of((tmp_path / "rows.csv").read_text())
    assert len(lines) == len(rows) == 4
    for line, row in zip(lines, rows, strict=True):
        assert set(line) == {name for name, value in row.items() if value}
        for name, value in line.items():
            assert row[name] == value if isinstance(value, str) else float(row[name]) == value
    assert set(lines[3]) == {"path", "error"}
    assert type(lines[0]["face"]) is int
    assert type(lines[0]["left"]) is float


def test_another_ending_of_the_output_is_refused_before_anything_is_read(photo, model_folder, tmp_path, capsys):
    options = ["--model", str(model_folder), "--output", str(tmp_path / "rows.txt")]
    assert predict.main([str(photo), *options]) == 2
    assert "rows.txt; let its name end in .csv, or in .jsonl" in capsys.readouterr().err
    assert not (tmp_path / "rows.txt").exists()


def test_annotate_draws_boxes_into_one_picture_and_leaves_the_rest_as_it_is(photo, model_folder, tmp_path):
    output = tmp_path / "out.png"
    assert predict.main([str(photo), "--model", str(model_folder), "--annotate", str(output)]) == 0
    drawn = cv2.imread(str(output))
    assert drawn.shape == (320, 640, 3)
    changed = (drawn != scene()).any(axis=2)
    for _, _, left, top, side in DRAWN:
        box = changed[top : top + side, left : left + side]
        assert 0.02 < box.mean() < 0.9
    assert not changed[250:].any()  # below the faces
    assert 0.05 < changed.mean() < 0.5
    assert (cv2.imread(str(photo)) == scene()).all()


def test_annotate_writes_several_pictures_into_a_folder(photo, wall, crops, model_folder, tmp_path, capsys):
    other = tmp_path / "again" / "photo.png"
    other.parent.mkdir()
    cv2.imwrite(str(other), scene())
    files = [str(photo), str(other), str(wall), str(crops / "a.bmp")]
    options = ["--model", str(model_folder), "--keep-going", "--annotate"]
    assert predict.main([*files, *options, str(tmp_path / "drawn")]) == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "photo-2.png", "photo.png"]
    assert cv2.imread(str(tmp_path / "drawn" / "a.png")).shape == (224, 448, 3)  # the crop, and its bars beside it
    capsys.readouterr()
    output = tmp_path / "rows.csv"
    assert predict.main([*files, *options, str(tmp_path / "one.png"), "--output", str(output)]) == 2
    assert "one.png, but 4 pictures came; give a folder" in capsys.readouterr().err
    assert not output.exists()


def test_paths_come_from_the_standard_input_and_from_patterns(crops, model_folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{crops / 'b' / '1.png'}\n\n{crops / 'a.bmp'}\n"))
    assert predict.main(["-", "--model", str(model_folder)]) == 0
    assert [row["path"] for row in rows_of(capsys.readouterr().out)] == [
        str(crops / name) for name in ("b/1.png", "a.bmp")
    ]
    assert predict.main([str(crops / "**" / "*.[pb][nm][gp]"), "--model", str(model_folder)]) == 0
    assert [row["path"] for row in rows_of(capsys.readouterr().out)] == [
        str(crops / name) for name in ("a.bmp", "b/1.png")
    ]
    assert predict.main([str(crops / "*.webp"), "--model", str(model_folder)]) == 2
    assert "There is nothing at" in capsys.readouterr().err


def test_explain_writes_a_map_of_each_face(photo, crops, tmp_path, capsys):
    run_dir = RunDirectory(tmp_path / "run")
    run_dir.save_json(run_dir.settings_json, RunSettings(lime_regions="face").to_params())
    keras = import_keras()
    keras.utils.set_random_seed(1)
    keras.Sequential(
        [keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")]
    ).save(run_dir.model)
    files = [str(photo), str(crops / "a.bmp")]
    assert predict.main([*files, "--model", str(run_dir.root), "--explain", str(tmp_path / "maps")]) == 0
    maps = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in maps] == ["a-face0.png", *(f"photo-face{number}.png" for number in range(3))]
    pictures = [cv2.imread(str(path)) for path in maps]
    assert {picture.shape for picture in pictures} == {(384, 768, 3)}
    assert (pictures[0][::8, :384:8, 0] == FACES[1]).all()
    assert len(rows_of(capsys.readouterr().out)) == 4
