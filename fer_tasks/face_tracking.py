"""The same face from frame to frame: searched now and then, followed by optical flow between.

A search costs many times what following does, so it is made every few frames, and at once when a face was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.face_detection import FaceDetector, FoundFace, Point

DETECT_EVERY_SECONDS = 0.4
"""A face that comes into the picture is found so much later at most."""

SEARCHED_SIDE = 640
"""Of a frame reduced for the search, in pixels: faces are found from about 16 pixels on, there."""

MAX_MISSES = 2
"""Searches in a row that may overlook a face before it counts as gone."""

_FLOW_SIDE = 640
_MIN_OVERLAP = 0.3
_NUM_POINTS = 30
_MIN_POINTS = 6
_MAX_RETURN = 1.0
"""Pixels by which a point, followed to the next frame and back, may miss where it came from (Kalal et al. 2010)."""

_MAX_GROWTH = 1.25

_Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class TrackedFace:
    """track: the same number in each frame for the same face, from 1, in the order of appearance."""

    track: int
    box: FoundFace


@dataclass
class _Track:
    number: int
    box: FoundFace
    misses: int = 0
    is_lost: bool = False


class FaceTracker:
    """Takes the frames of a video in their order."""

    def __init__(self, *, detect_every: int = 10, detector: FaceDetector | None = None) -> None:
        """detect_every: so many frames after a search comes the next."""
        self._detector = detector or FaceDetector(longest_side=SEARCHED_SIDE)
        self._detect_every = detect_every
        self._countdown = 0
        self._tracks: list[_Track] = []
        self._num_tracks = 0
        self._former: _Grey | None = None

    def update(self, picture: NDArray[np.uint8]) -> list[TrackedFace]:
        """picture: the next frame, uint8 (h, w, 3), blue, green, red. The faces in it, by their numbers."""
        shrink = min(1.0, _FLOW_SIDE / max(picture.shape[:2]))
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        small = np.asarray(cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        if self._former is not None and self._former.shape == small.shape:
            self._follow(self._former, small, shrink)
        self._former = small
        if self._countdown <= 0:
            self._search(picture)
            self._countdown = self._detect_every
        self._countdown -= 1
        return [TrackedFace(track.number, track.box) for track in self._tracks if not track.is_lost]

    def _follow(self, former: _Grey, now: _Grey, shrink: float) -> None:
        seen = [track for track in self._tracks if not track.is_lost]
        for track, motion in zip(seen, _motions(former, now, [track.box for track in seen], shrink), strict=True):
            if motion is None:
                track.is_lost, self._countdown = True, 0
            else:
                track.box = _moved(track.box, motion)

    def _search(self, picture: NDArray[np.uint8]) -> None:
        found = self._detector.find(picture)
        pairs = _same_faces([track.box for track in self._tracks], found)
        for number, track in enumerate(self._tracks):
            if number in pairs:
                track.box, track.misses, track.is_lost = found[pairs[number]], 0, False
            else:
                track.misses += 1
        self._tracks = [track for track in self._tracks if track.misses <= MAX_MISSES]
        for number, box in enumerate(found):
            if number not in pairs.values():
                self._num_tracks += 1
                self._tracks.append(_Track(self._num_tracks, box))


def overlap(one: FoundFace, other: FoundFace) -> float:
    """Intersection over union of the boxes, in [0, 1]."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    common = max(width, 0.0) * max(height, 0.0)
    return common / (one.width * one.height + other.width * other.height - common)


def _same_faces(before: Sequence[FoundFace], found: Sequence[FoundFace]) -> dict[int, int]:
    """{number of a face before: number of the one found that it is}, so that all overlap most together."""
    from scipy.optimize import linear_sum_assignment

    if not before or not found:
        return {}
    shares = np.array([[overlap(one, other) for other in found] for one in before])
    pairs = zip(*linear_sum_assignment(shares, maximize=True), strict=True)
    return {int(one): int(other) for one, other in pairs if shares[one, other] >= _MIN_OVERLAP}


def _motions(former: _Grey, now: _Grey, boxes: Sequence[FoundFace], shrink: float) -> list[Any]:
    """How each box moved, turned and grew: float64 (2, 3) in pixels of the frame, None for what cannot be followed.

    former, now: reduced by `shrink`.
    """
    points = [_points_in(former, box, shrink) for box in boxes]
    if sum(map(len, points)) == 0:
        return [None] * len(boxes)
    start = np.concatenate(points)
    flow: Any = cv2.calcOpticalFlowPyrLK  # whose types know no points to come
    end, status, _ = flow(former, now, start, None, winSize=(15, 15), maxLevel=3)
    back, returned, _ = flow(now, former, end, None, winSize=(15, 15), maxLevel=3)
    followed = (status & returned).ravel() & (np.linalg.norm(back - start, axis=1) <= _MAX_RETURN)
    ends = np.cumsum([len(part) for part in points])[:-1]
    parts = zip(*(np.split(values, ends) for values in (start, end, followed.astype(bool))), strict=True)
    return [_motion(one[good] / shrink, other[good] / shrink, len(good)) for one, other, good in parts]


def _points_in(grey: _Grey, box: FoundFace, shrink: float) -> NDArray[np.float32]:
    """float32 (n, 2): x and y of corners in the face, which are the easiest to follow."""
    left, top = max(0, round(box.left * shrink)), max(0, round(box.top * shrink))
    part = grey[top : round((box.top + box.height) * shrink), left : round((box.left + box.width) * shrink)]
    found = cv2.goodFeaturesToTrack(part, _NUM_POINTS, 0.01, 3) if part.size else None
    return np.asarray(np.empty((0, 2)) if found is None else found[:, 0] + (left, top), np.float32)


def _motion(start: NDArray[np.float32], end: NDArray[np.float32], num_asked: int) -> Any:
    """num_asked: points that were to be followed; less than half of them are not believed."""
    if len(start) < max(_MIN_POINTS, num_asked / 2):
        return None
    motion, _ = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=3)
    if motion is None or not 1 / _MAX_GROWTH < np.hypot(motion[0, 0], motion[1, 0]) < _MAX_GROWTH:
        return None
    return motion


def _moved(box: FoundFace, motion: NDArray[np.float64]) -> FoundFace:
    def move(x: float, y: float) -> Point:
        to_x, to_y = motion @ (x, y, 1.0)
        return float(to_x), float(to_y)

    x, y = move(box.x, box.y)
    growth = float(np.hypot(motion[0, 0], motion[1, 0]))
    width, height = box.width * growth, box.height * growth
    eyes = (move(*box.eyes[0]), move(*box.eyes[1]))
    return replace(box, left=x - width / 2, top=y - height / 2, width=width, height=height, eyes=eyes)
