"""One drawn face: 48x48 grey pixels whose expression is composed from facial action units (AU).

The units are those of the Facial Action Coding System, the combination that defines each emotion that of EMFACS:
P. Ekman and W. V. Friesen, "Facial Action Coding System", Consulting Psychologists Press, 1978; W. V. Friesen and
P. Ekman, "EMFACS-7: Emotional Facial Action Coding System", 1983.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.face_parts import NUM_UNITS, Floats, Person, Shape, face_shapes

EXPRESSIONS: Mapping[str, Mapping[int, float]] = {
    "angry": {4: 1.0, 5: 0.5, 7: 0.7, 23: 1.0},
    "disgust": {9: 1.0, 15: 0.8, 16: 0.8},
    "fear": {1: 0.9, 2: 0.5, 4: 0.6, 5: 0.9, 7: 0.4, 20: 1.0, 26: 0.35},
    "happy": {6: 0.9, 12: 1.0},
    "sad": {1: 0.9, 4: 0.6, 15: 1.0},
    "surprise": {1: 0.9, 2: 1.0, 5: 0.8, 26: 0.9},
    "neutral": {},
}
"""Emotion -> {action unit: intensity in 0..1}.

1, 2 inner and outer brow raiser; 4 brow lowerer; 5 upper lid raiser; 6 cheek raiser; 7 lid tightener; 9 nose
wrinkler; 12, 15 lip corner puller and depressor; 16 lower lip depressor; 20 lip stretcher; 23 lip tightener;
26 jaw drop.
"""

_LIPS_PART = 25  # comes with any emotion, so it tells none from another
_UNITS = sorted({unit for units in EXPRESSIONS.values() for unit in units})
_MOVED = 10.0  # grey levels by which a pixel must change to count as carrying the expression
_ENLARGED = 4  # drawn this much larger, then reduced by area, which antialiases
_SUBPIXEL = 4  # fractional bits of the coordinates given to cv2


@dataclass(frozen=True)
class DrawnFace:
    """`pixels` uint8 (48, 48) in 0..255; `mask` bool (48, 48), True where the expression stands; `emotion` 0..6."""

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    emotion: int


def draw_face(emotion: int, rng: np.random.Generator) -> DrawnFace:
    """A random person showing `emotion` (0..6), in a random pose and light.

    The mask holds the pixels in which this face, before noise, differs from the same face, pose and light with
    every action unit at zero, dilated by one pixel. A neutral face has no such pixels: its mask is the union of
    those of the six emotions on this face, the brows, eyes, nose and mouth that would move. IndexError beyond 0..6.
    """
    name = EMOTIONS[emotion]
    scene = _Scene(rng)
    shown, still = scene.render(_random_intensities(name, rng)), scene.render(_intensities({}))
    views = [shown]
    if not EXPRESSIONS[name]:
        views = [scene.render(_intensities(units)) for units in EXPRESSIONS.values() if units]
    moved = (np.abs(np.stack(views) - still) > _MOVED).max(axis=0).astype(np.uint8)
    mask = cv2.dilate(moved, np.ones((3, 3), np.uint8)) > 0
    return DrawnFace(pixels=_photograph(shown, rng), mask=mask, emotion=emotion)


class _Scene:
    """A person in a pose and a light, which stay while the expression changes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.person, self.background = Person(rng), rng.uniform(20.0, 235.0)
        self.roll, self.yaw = rng.normal(0.0, 0.08), rng.uniform(-0.25, 0.25)
        self.scale, self.shift = rng.uniform(1.0, 1.2), rng.uniform(-2.0, 2.0, 2)
        self.gain, self.offset = rng.uniform(0.6, 1.1), rng.uniform(-35.0, 35.0)
        direction, strength = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.0, 50.0)
        ramp = np.linspace(-1.0, 1.0, IMAGE_SIDE)
        self.gradient = strength * (np.cos(direction) * ramp[None, :] + np.sin(direction) * ramp[:, None])

    def render(self, units: Floats) -> Floats:
        """The lit face float64 (48, 48) in 0..255, without blur or noise; `units` float64 (2, 27) in 0..1."""
        shapes = face_shapes(self.person, units)
        canvas = np.full((_ENLARGED * IMAGE_SIDE,) * 2, self.background, dtype=np.uint8)
        placed = self._place(np.concatenate([shape.points for shape in shapes]))
        start = 0
        for shape in shapes:
            self._draw(canvas, placed[start : start + len(shape.points)], shape)
            start += len(shape.points)
        face = cv2.resize(canvas, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_AREA)
        lit: Floats = 128.0 + self.gain * (face - 128.0) + self.offset + self.gradient
        return lit.clip(0.0, 255.0)

    def _place(self, points: Floats) -> npt.NDArray[np.int32]:
        """Canvas coordinates int32 (n, 2): yaw moves points round an upright cylinder, then roll, scale, shift."""
        radius, x = 1.5 * self.person.width, points[:, 0]
        turned = points.copy()
        turned[:, 0] = np.cos(self.yaw) * x + np.sin(self.yaw) * np.sqrt(radius**2 - x * x)
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        rolled = turned @ np.array([[cosine, sine], [-sine, cosine]])
        placed: Floats = (self.scale * rolled + self.shift + IMAGE_SIDE / 2) * _ENLARGED * 2**_SUBPIXEL
        return placed.astype(np.int32)

    def _draw(self, canvas: npt.NDArray[np.uint8], points: npt.NDArray[np.int32], shape: Shape) -> None:
        if shape.width > 0:
            thickness = max(1, round(shape.width * _ENLARGED * self.scale))
            cv2.polylines(canvas, [points], False, (shape.grey,), thickness, cv2.LINE_8, _SUBPIXEL)
            return
        before = canvas.copy() if shape.within is not None else canvas
        cv2.fillPoly(canvas, [points], (shape.grey,), cv2.LINE_8, _SUBPIXEL)
        if shape.within is not None:
            inside = np.zeros_like(canvas)
            cv2.fillPoly(inside, [self._place(shape.within)], (255,), cv2.LINE_8, _SUBPIXEL)
            np.copyto(canvas, before, where=inside < 128)


def _intensities(units: Mapping[int, float]) -> Floats:
    intensities = np.zeros((2, NUM_UNITS))
    for unit, intensity in units.items():
        intensities[:, unit] = intensity
    return intensities


def _random_intensities(name: str, rng: np.random.Generator) -> Floats:
    """The emotion's units, stronger or weaker, with faint unrelated ones and a little asymmetry."""
    intensities = _intensities(EXPRESSIONS[name]) * rng.uniform(0.55, 1.0) * rng.uniform(0.8, 1.2, NUM_UNITS)
    intensities[:, _UNITS] += rng.uniform(0.0, 0.22, len(_UNITS)) * (rng.random(len(_UNITS)) < 0.4)
    if rng.random() < 0.35:
        intensities[:, _LIPS_PART] += rng.uniform(0.3, 1.0)
    return np.clip(intensities * rng.normal(1.0, 0.08, (2, NUM_UNITS)), 0.0, 1.0)


def _photograph(face: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur, sensor noise and JPEG artefacts; uint8 (48, 48)."""
    blurred = cv2.GaussianBlur(face, (0, 0), rng.uniform(0.2, 0.8))
    noisy = np.clip(blurred + rng.normal(0.0, rng.uniform(2.0, 8.0), face.shape), 0.0, 255.0).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
