"""Frames of real files, and what is said of those that are none."""

import cv2
import numpy as np
import pytest
from drawn_clip import write_clip

from fer_tasks.errors import DatasetError
from fer_tasks.video_frames import FrameReader, FrameWriter, camera_number, check_video_name


def test_a_file_gives_its_frames_with_their_times(tmp_path):
    reader = FrameReader(write_clip(tmp_path / "clip.mp4", num_frames=5, rate=10))
    assert reader.frames_per_second == 10
    assert reader.size == (640, 360)
    frames = list(reader)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert frames[0].picture.shape == (360, 640, 3)
    assert frames[0].picture.dtype == np.uint8


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.webm", "OUT.MP4"])
def test_what_was_written_is_read_back(tmp_path, name):
    writer = FrameWriter(tmp_path / name, 8.0, (64, 48))
    for grey in (40, 120, 200):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.write(np.full((96, 128, 3), 80, np.uint8))  # a stream that changes its size
    writer.close()
    reader = FrameReader(tmp_path / name)
    assert reader.frames_per_second == pytest.approx(8)
    assert [frame.picture.mean() for frame in reader] == pytest.approx([40, 120, 200, 80], abs=6)


def test_a_file_that_ends_early_gives_what_it_has(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", num_frames=30)
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 2 // 3])
    assert 5 < len(list(FrameReader(clip))) < 30


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.mp4", b"no video", "text.mp4 cannot be read as a video"),
        ("empty.mp4", b"", "empty.mp4 cannot be read as a video"),
        ("missing.mp4", None, "There is nothing at .*missing.mp4"),
    ],
)
def test_what_is_no_video_is_told(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        FrameReader(tmp_path / name)


def test_a_video_without_frames_is_told(tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "none.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    video.release()
    with pytest.raises(DatasetError, match=r"cannot be read as a video|holds no frame"):
        list(FrameReader(tmp_path / "none.avi"))


def test_a_camera_that_is_not_there_is_told():
    with pytest.raises(DatasetError, match=r"Camera 987 cannot be opened. Is it connected \(/dev/video987\)"):
        FrameReader(987)


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1").touch()
    names = ("0", "12", "1", "x", "-1", "²", "0.mp4")
    assert [camera_number(tmp_path.__class__(name)) for name in names] == [0, 12, None, None, None, None, None]


def test_a_name_that_no_codec_stands_for_and_a_folder_that_is_not_there_are_told(tmp_path):
    with pytest.raises(DatasetError, match=r"out.png; let a video's name end in .mp4, .avi, .webm"):
        check_video_name(tmp_path / "out.png")
    with pytest.raises(DatasetError, match=r"cannot be written as a video; does its folder exist"):
        FrameWriter(tmp_path / "no" / "out.mp4", 10, (64, 48))
