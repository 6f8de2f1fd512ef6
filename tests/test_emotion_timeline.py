"""Emotions over time, as a page and as a picture: what is drawn is what was told."""

import re

import cv2
import numpy as np
import pytest
from parsed_page import decode_picture

from fer_tasks import emotion_timeline
from fer_tasks.emotion_timeline import Timelines, check_names, write
from fer_tasks.errors import DatasetError
from fer_tasks.face_detection import FoundFace
from fer_tasks.video import SeenFace
from fer_tasks.video_frames import Frame

PICTURE = np.zeros((4, 4, 3), np.uint8)
BOX = FoundFace(0, 0, 10, 10, ((2, 3), (8, 3)), 1.0)
PIXELS = np.full((48, 48), 0.5, np.float32)


def gathered(answers):
    """answers: for each frame, ten a second, {track: (emotion, its probability)}; the rest is neutral."""
    timelines = Timelines()
    for number, faces in enumerate(answers):
        seen = []
        for track, (emotion, share) in faces.items():
            probabilities = np.zeros(7, np.float32)
            probabilities[[emotion, 6]] = share, 1 - share
            seen.append(SeenFace(track, BOX, probabilities, PIXELS))
        timelines.add(Frame(number, number / 10, PICTURE), seen)
    return timelines


def test_a_row_rises_with_the_probability_and_breaks_off_where_the_face_was_gone():
    page = gathered([{1: (3, 1.0)}, {}, {1: (3, 0.5)}, {1: (0, 0.0)}]).page("clip.mp4")
    (face,) = page.faces
    assert face.values[:, 3] == pytest.approx([1.0, np.nan, 0.5, 0.0], nan_ok=True)
    # Four frames over 636 units from 84 on: 159 each. Happy stands on 120, and 27 units are all of it.
    happy = next(row for row in face.rows if row.emotion == "happy")
    assert (happy.bottom, happy.path) == (120, "M84.0 120V93.0H243.0V120ZM402.0 120V106.5H561.0V120.0H720.0V120Z")
    assert face.summary == "0 s to 0.3 s, happy in 67% of its frames"
    assert page.facts == (("length", "0.4 s"), ("frames", "4"), ("faces", "1"))
    assert [tick.text for tick in page.ticks] == ["0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s"]
    assert [tick.at for tick in page.ticks] == [84, 243, 402, 561, 720]


def test_a_long_video_is_told_in_240_parts_each_a_mean():
    page = gathered([{1: (3, number % 2)} for number in range(4800)]).page("long.mp4")
    assert page.faces[0].values.shape == (240, 7)
    assert page.faces[0].values[:, 3] == pytest.approx(np.full(240, 0.5), abs=0.03)
    assert page.facts[0] == ("length", "8:00")
    assert page.ticks[1].text == "1:40"


def test_the_faces_seen_longest_are_shown():
    frames = [{track: (0, 0.9) for track in range(1, 20) if track >= number} for number in range(19)]
    page = gathered([*frames, {5: (0, 0.9)}]).page("crowd.mp4")
    assert page.num_faces == 19
    assert [face.track for face in page.faces] == list(range(8, 20))
    assert len(page.faces) == emotion_timeline.MAX_FACES


def test_a_face_is_shown_as_it_was_where_the_model_was_surest():
    timelines = Timelines()
    for number, share in enumerate((0.6, 0.9, 0.7)):
        probabilities = np.array([share, 1 - share, 0, 0, 0, 0, 0], np.float32)
        pixels = np.full((48, 48), number / 2, np.float32)
        timelines.add(Frame(number, number / 10, PICTURE), [SeenFace(1, BOX, probabilities, pixels)])
    shown = decode_picture(timelines.page("clip.mp4").faces[0].picture)
    assert (np.abs(shown.astype(int) - 128) <= 1).all()


def test_the_page_loads_nothing_and_escapes_the_video_s_name(tmp_path):
    write(gathered([{1: (3, 0.9), 2: (0, 0.8)}] * 5).page('<script>"x".mp4'), tmp_path / "plot.html")
    html = (tmp_path / "plot.html").read_text()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert {address.split(",")[0] for address in re.findall(r'(?:src|href)="([^"]*)"', html)} == {
        "data:image/png;base64"
    }
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", html) == ["Face 1", "Face 2"]
    assert html.count("<path d=") >= 14


def test_the_picture_is_blue_where_the_emotion_was(tmp_path):
    write(gathered([{1: (0, 1.0)}] * 5 + [{1: (3, 1.0)}] * 5).page("clip.mp4"), tmp_path / "plot.png")
    picture = cv2.imread(str(tmp_path / "plot.png"))
    is_blue = (np.abs(picture.astype(int) - (140, 79, 29)) < 8).all(axis=2)
    rows, columns = np.nonzero(is_blue)
    middle = (columns.min() + columns.max()) / 2
    assert rows[columns < middle].mean() < rows[columns > middle].mean() - 40  # angry stands above happy
    assert 0.05 < is_blue.mean() < 0.2


def test_another_ending_is_told(tmp_path):
    check_names([tmp_path / "a.HTML", tmp_path / "b.png"])
    with pytest.raises(DatasetError, match=r"b.svg; let its name end in .html or .png"):
        check_names([tmp_path / "a.html", tmp_path / "b.svg"])
