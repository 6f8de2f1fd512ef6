"""python -m fer_tasks.predict with a video, as a user runs it; and what keeps its answers steady over time."""

import csv
import io
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_clip import frame, place, write_clip
from drawn_scene import scene

from fer_tasks import predict
from fer_tasks.emotions import EMOTIONS
from fer_tasks.face_detection import FaceDetector, crop_face
from fer_tasks.model import import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.video import Smoothing, WriteBehind, read_ahead

PROJECT = Path(__file__).resolve().parent.parent
NUM_FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("video") / "a <b>clip.mp4", num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The options for a run whose network is so small that its answers are numbers of a moment."""
    run_dir = RunDirectory(tmp_path_factory.mktemp("run"))
    run_dir.save_json(run_dir.settings_json, RunSettings().to_params())
    keras = import_keras()
    keras.utils.set_random_seed(3)
    layers = [keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")]
    keras.Sequential(layers).save(run_dir.model)
    return ["--model", str(run_dir.root), "--runtime", "litert"]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def shares(row):
    return np.array([float(row[f"probability_{emotion}"]) for emotion in EMOTIONS])


@pytest.fixture(scope="module")
def told(clip, model, tmp_path_factory):
    """The rows without smoothing."""
    output = tmp_path_factory.mktemp("rows") / "emotions.csv"
    assert predict.main([str(clip), *model, "--output", str(output), "--smoothing", "0"]) == 0
    return rows_of(output.read_text())


def test_each_frame_has_a_row_for_each_face_that_is_followed(told):
    assert [(row["frame"], row["seconds"], row["track"]) for row in told] == [
        (str(number), str(number / 10), str(track)) for number in range(NUM_FRAMES) for track in (1, 2, 3)
    ]
    for row in told:
        x, y, side, _ = place(int(row["track"]) - 1, float(row["seconds"]))
        left, top, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
        assert abs(left + width / 2 - x) < 0.2 * side
        assert abs(top + height / 2 - y) < 0.2 * side
        assert row["emotion"] == EMOTIONS[shares(row).argmax()]
        assert float(row["confidence"]) == shares(row).max()
        assert shares(row).sum() == pytest.approx(1, abs=1e-5)


def test_without_smoothing_a_face_is_answered_as_in_a_picture(told, clip, model):
    _, picture = cv2.VideoCapture(str(clip)).read()
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    keras_model, _ = predict.load_model_folder(Path(model[1]))
    for row, box in zip(told, FaceDetector(longest_side=640).find(picture), strict=False):
        face = cv2.resize(crop_face(grey, box), (48, 48), interpolation=cv2.INTER_AREA) / np.float32(255)
        assert shares(row) == pytest.approx(keras_model.predict_on_batch(face[None, ..., None])[0], abs=0.01)


def test_smoothing_is_the_running_mean_that_forgets_with_time(told, clip, model, capsys):
    assert predict.main([str(clip), *model, "--smoothing", "0.2"]) == 0
    smooth = rows_of(capsys.readouterr().out)
    kept = math.exp(-0.1 / 0.2)
    expected = shares(told[0])
    for number in range(NUM_FRAMES):
        own = shares(told[3 * number])
        expected = kept * expected + (1 - kept) * own
        assert shares(smooth[3 * number]) == pytest.approx(expected, abs=1e-5)
    assert np.abs(shares(smooth[-3]) - shares(told[-3])).max() > 1e-4


def test_lines_of_json_say_the_same(told, clip, model, tmp_path):
    output = tmp_path / "rows.jsonl"
    assert predict.main([str(clip), *model, "--output", str(output), "--smoothing", "0", "--seconds", "0.35"]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == 12
    for line, row in zip(lines, told, strict=False):
        assert {name: value if isinstance(value, str) else float(value) for name, value in line.items()} == {
            name: value if name == "emotion" else float(value) for name, value in row.items()
        }


def test_the_annotated_copy_has_a_box_and_a_number_at_each_face(clip, model, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    plots = [tmp_path / "plot.html", tmp_path / "plot.png"]
    options = [option for plot in plots for option in ("--plot", str(plot))]
    assert predict.main([str(clip), *model, "--annotate", str(output), *options]) == 0
    drawn = cv2.VideoCapture(str(output))
    assert (drawn.get(cv2.CAP_PROP_FPS), drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == (10, NUM_FRAMES)
    for number in range(NUM_FRAMES):
        changed = np.abs(drawn.read()[1].astype(int) - frame(number / 10)).max(axis=2) > 60
        for track in range(3):
            x, y, side, _ = (round(value) for value in place(track, number / 10))
            box = changed[max(y - side // 2, 0) : y + side // 2, max(x - side // 2, 0) : x + side // 2]
            assert 0.02 < box.mean() < 0.6
        assert not changed[300:].any()
    assert "a &lt;b&gt;clip.mp4" in plots[0].read_text()
    assert cv2.imread(str(plots[1])).shape[1] == 1100


def test_a_video_without_a_face_has_no_rows_and_says_so(model, tmp_path, capsys):
    wall = write_clip(tmp_path / "wall.mp4", num_frames=3, faces=())
    plot = ["--plot", str(tmp_path / "plot.html"), "--plot", str(tmp_path / "plot.png")]
    assert predict.main([str(wall), *model, *plot]) == 2
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert "wall.mp4: no face was found" in printed.err
    assert "No face was found" in (tmp_path / "plot.html").read_text()
    assert predict.main([str(wall), *model, "--keep-going"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{clip}", "{clip}"], "2 paths came, a video among them; give one video alone"),
        (["{clip}", "{photo}"], "2 paths came, a video among them"),
        (["{clip}", "--crops"], "--crops goes with pictures"),
        (["{clip}", "--explain", "maps"], "--explain goes with pictures"),
        (["{photo}", "--plot", "plot.html"], "--plot goes with a video or a camera"),
        (["{photo}", "--seconds", "3"], "--seconds goes with a video or a camera"),
        (["{clip}", "--plot", "plot.pdf"], "--plot is plot.pdf; let its name end in .html or .png"),
        (["{clip}", "--annotate", "out.png"], "out.png; let a video's name end in .mp4"),
        (["{clip}", "--output", "rows.txt"], "rows.txt; let its name end in .csv"),
        (["987"], "Camera 987 cannot be opened"),
        (["no/such.mp4"], "There is nothing at no/such.mp4"),
    ],
)
def test_what_does_not_go_together_is_one_readable_line(clip, model, tmp_path, capsys, arguments, words):
    cv2.imwrite(str(tmp_path / "photo.png"), scene())
    given = [argument.format(clip=clip, photo=tmp_path / "photo.png") for argument in arguments]
    assert predict.main([*given, *model]) == 2
    assert words in capsys.readouterr().err


def test_each_track_is_smoothed_by_itself_and_by_the_time_that_passed():
    smoothing = Smoothing(0.5)
    one, other = np.float32([1, 0]), np.float32([0, 1])
    assert smoothing(1, 0.0, one) == pytest.approx(one)
    assert smoothing(2, 0.0, other) == pytest.approx(other)
    assert smoothing(1, 0.5, other) == pytest.approx([0.36788, 0.63212], abs=1e-5)
    assert smoothing(1, 1.5, other) == pytest.approx([0.04979, 0.95021], abs=1e-5)
    assert smoothing(2, 1.5, other) == pytest.approx(other)


def test_reading_ahead_keeps_the_order_and_passes_on_what_went_wrong():
    def items():
        yield from range(10)
        raise ValueError("torn")

    taken = []
    with pytest.raises(ValueError, match="torn"):
        taken.extend(read_ahead(items()))
    assert list(read_ahead(range(3))) == [0, 1, 2]
    assert list(read_ahead([])) == []


def test_what_fails_while_written_behind_comes_to_light():
    written = []
    behind = WriteBehind(lambda item: (time.sleep(0.001), written.append(item)))
    for number in range(20):
        behind(number)
    behind.close()
    assert written == list(range(20))
    failing = WriteBehind(lambda item: 1 / item)
    failing(0)
    with pytest.raises(ZeroDivisionError):
        failing.close()


def test_a_keyboard_interrupt_ends_it_in_good_order(model, tmp_path):
    clip = write_clip(tmp_path / "long.mp4", num_frames=2400)
    outputs = [tmp_path / name for name in ("rows.jsonl", "out.mp4", "plot.html")]
    options = [f"--{name}={path}" for name, path in zip(("output", "annotate", "plot"), outputs, strict=True)]
    command = [sys.executable, "-m", "fer_tasks.predict", str(clip), *model, *options]
    process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (outputs[0].is_file() and outputs[0].stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (0, False)
    last = json.loads(outputs[0].read_text().splitlines()[-1])
    num_frames = cv2.VideoCapture(str(outputs[1])).get(cv2.CAP_PROP_FRAME_COUNT)
    assert last["frame"] + 1 == pytest.approx(num_frames, abs=1)
    assert num_frames < 2400
    assert "Face 3" in outputs[2].read_text()
