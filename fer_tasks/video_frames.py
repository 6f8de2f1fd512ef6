"""Frames in and out: of a video file or a camera, as far as this build of OpenCV reads and writes them."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.errors import DatasetError

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""How an annotated video is written, by the ending of its name."""

USUAL_RATE = 25.0
"""Frames a second, of a source that does not tell."""

_LARGEST_RATE = 240.0


@dataclass(frozen=True)
class Frame:
    """number: from 0. seconds: since the first frame. picture: uint8 (h, w, 3), blue, green, red."""

    number: int
    seconds: float
    picture: NDArray[np.uint8]


class FrameReader:
    """Frames of a video file, or of the camera of that number, one after the other."""

    def __init__(self, source: Path | int) -> None:
        """Raises DatasetError where there is no such camera, or the file is no video that OpenCV reads."""
        self._source = source
        self._video = _open_camera(source) if isinstance(source, int) else _open_file(source)
        rate = self._video.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if math.isfinite(rate) and 0 < rate <= _LARGEST_RATE else USUAL_RATE
        self.size = (int(self._video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._video.get(cv2.CAP_PROP_FRAME_HEIGHT)))

    def __iter__(self) -> Iterator[Frame]:
        """Raises DatasetError where not a single frame can be read."""
        started, number, seconds = time.monotonic(), 0, 0.0
        try:
            while True:
                is_read, picture = self._video.read()
                if not is_read:
                    break
                seconds = self._seconds(started, number, seconds)
                yield Frame(number, seconds, np.asarray(picture, np.uint8))
                number += 1
        finally:
            self._video.release()
        if number == 0:
            raise DatasetError(f"{self._source} holds no frame that can be read; is it a whole video?")

    def _seconds(self, started: float, number: int, former: float) -> float:
        """By the clock, of a camera; else by the file's own times, which may be uneven, where they grow."""
        if isinstance(self._source, int):
            return time.monotonic() - started if number else 0.0
        told = self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return told if number and told > former else number / self.frames_per_second


class FrameWriter:
    """Writes a video of one frame size; it is whole once `close` was called."""

    def __init__(self, path: Path, frames_per_second: float, size: tuple[int, int]) -> None:
        """size: width, height. Raises DatasetError for another ending, and where the file cannot be written."""
        self._path, self._size = path, size
        check_video_name(path)
        self._video: Any = cv2.VideoWriter(
            str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()]), frames_per_second, size
        )
        if not self._video.isOpened():
            raise DatasetError(f"{path} cannot be written as a video; does its folder exist, and is it writable?")

    def write(self, picture: NDArray[np.uint8]) -> None:
        """A picture of another size, such as some streams have later on, is brought to that of the first."""
        height, width = picture.shape[:2]
        self._video.write(picture if (width, height) == self._size else cv2.resize(picture, self._size))

    def close(self) -> None:
        self._video.release()


def check_video_name(path: Path) -> None:
    """Raises DatasetError for an ending that no codec stands for."""
    if path.suffix.lower() not in CODECS:
        raise DatasetError(f"--annotate is {path}; let a video's name end in {', '.join(CODECS)}.")


def camera_number(path: Path) -> int | None:
    """The number that stands for a camera, unless there is a file of that name."""
    name = str(path)
    return int(name) if name.isascii() and name.isdigit() and not path.exists() else None


def _open_camera(number: int) -> Any:
    if not cv2.videoio_registry.getCameraBackends():
        raise DatasetError(f"This build of OpenCV reads no camera, so not {number}; give a video file.")
    video = cv2.VideoCapture(number)
    if not video.isOpened():
        raise DatasetError(
            f"Camera {number} cannot be opened. Is it connected (/dev/video{number}), free, and may you read it? "
            "A file of this name is not there either."
        )
    return video


def _open_file(path: Path) -> Any:
    if not path.is_file():
        raise DatasetError(f"There is nothing at {path}; give a video file.")
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise DatasetError(f"{path} cannot be read as a video by OpenCV with FFmpeg; convert it to .mp4 first.")
    return video
