"""Emotions in a video: for each frame and each face that is followed through it, smoothed over time.

Reading, the work on a frame and writing go on beside each other, so that two cores are kept busy.
"""

import math
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS
from fer_tasks.face_detection import FoundFace, crop_face
from fer_tasks.face_filters import prepare_face
from fer_tasks.face_tracking import FaceTracker
from fer_tasks.settings import RunSettings
from fer_tasks.video_frames import Frame
from fer_tasks.views import predict_views

COLUMNS = (
    "frame", "seconds", "track", "emotion", "confidence", *(f"probability_{emotion}" for emotion in EMOTIONS),
    "left", "top", "width", "height",
)  # fmt: skip

SMOOTHING_SECONDS = 0.4
"""After so long, a face's earlier answers count for 1/e of what is told of it."""

_AHEAD = 4
"""Frames that are read, or wait to be written, beside the one that is worked on."""

T = TypeVar("T")


@dataclass(frozen=True)
class SeenFace:
    """A face in a frame. probabilities: float32 (7,), smoothed over time, in EMOTIONS order, sum 1.

    pixels: what the model saw, float32 (48, 48) in [0, 1].
    """

    track: int
    box: FoundFace
    probabilities: NDArray[np.float32]
    pixels: NDArray[np.float32]

    @property
    def emotion(self) -> int:
        return int(self.probabilities.argmax())


class Smoothing:
    """A running mean for each track, which forgets by the time that has passed and not by the number of frames."""

    def __init__(self, seconds: float) -> None:
        """seconds: 0 tells each frame's own answer."""
        self._seconds = seconds
        self._told: dict[int, tuple[float, NDArray[np.float32]]] = {}

    def __call__(self, track: int, seconds: float, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        """answer: float32 (7,), sum 1. Returns the same kind."""
        if track in self._told and self._seconds > 0:
            then, before = self._told[track]
            kept = math.exp(-max(seconds - then, 0.0) / self._seconds)
            answer = (answer + kept * (before - answer)).astype(np.float32)
        self._told[track] = (seconds, answer)
        return answer


class VideoPredictor:
    """Takes the frames of one video in their order."""

    def __init__(
        self, model: Any, settings: RunSettings, tracker: FaceTracker, *, tta: bool, smoothing_seconds: float
    ) -> None:
        """settings: of the run that trained the model, whose noise reduction and contrast are applied."""
        self._model, self._settings, self._tracker, self._tta = model, settings, tracker, tta
        self._smoothing = Smoothing(smoothing_seconds)

    def see(self, frame: Frame) -> list[SeenFace]:
        """The faces of the next frame, in the order of their tracks."""
        followed = self._tracker.update(frame.picture)
        if not followed:
            return []
        grey = np.asarray(cv2.cvtColor(frame.picture, cv2.COLOR_BGR2GRAY), np.uint8)
        pixels = np.stack([prepare_face(crop_face(grey, face.box), self._settings) for face in followed])
        answers = predict_views(self._model, pixels[..., None], tta=self._tta).mean(axis=0)
        return [
            SeenFace(face.track, face.box, self._smoothing(face.track, frame.seconds, answer), seen)
            for face, answer, seen in zip(followed, answers, pixels, strict=True)
        ]


def read_ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The items in their order, taken by a thread some ahead of whoever asks for them."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as reader:
        pending: list[Future[Any]] = [reader.submit(next, source, end) for _ in range(_AHEAD)]
        try:
            while (item := pending.pop(0).result()) is not end:
                pending.append(reader.submit(next, source, end))
                yield item
        finally:
            for future in pending:
                future.cancel()


class WriteBehind:
    """Calls a function with one thing after the other in a thread of its own, some behind whoever gives them."""

    def __init__(self, write: Callable[[T], None]) -> None:
        self._write, self._pool, self._pending = write, ThreadPoolExecutor(max_workers=1), list[Future[None]]()

    def __call__(self, item: Any) -> None:
        """Waits where too many are pending. Raises what the function raised."""
        self._pending.append(self._pool.submit(self._write, item))
        if len(self._pending) > _AHEAD:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Waits until all is done. Raises what the function raised."""
        self._pool.shutdown(wait=True)
        for future in self._pending:
            future.result()


def row_of(frame: Frame, face: SeenFace) -> dict[str, Any]:
    """The values of COLUMNS. Probabilities to six places, seconds to three, pixels to one."""
    shares = [round(float(value), 6) for value in face.probabilities]
    row: dict[str, Any] = {"frame": frame.number, "seconds": round(frame.seconds, 3), "track": face.track}
    row |= {"emotion": EMOTIONS[face.emotion], "confidence": shares[face.emotion]}
    row |= {f"probability_{emotion}": share for emotion, share in zip(EMOTIONS, shares, strict=True)}
    return row | {name: round(getattr(face.box, name), 1) for name in ("left", "top", "width", "height")}
