"""What is done to the pixels of a face: resize, noise reduction, contrast, changed copies, and the one normalisation.

Faces here are uint8 (48, 48) grey levels until `normalise`, the only place that turns grey levels into [0, 1].
preprocess_faces and everything that predicts on a raw image call `prepare_face`, so that both see the same picture.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.settings import RunSettings

Grey = NDArray[np.uint8]

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)

_MAX_SHIFT_PIXELS = 4
_MAX_ROTATION_DEGREES = 12.0
_MAX_BRIGHTNESS_CHANGE = 0.25


def _nlmeans(face: Grey) -> Any:
    # OpenCV's windows of 7 and 21 pixels are made for photographs; a 48-pixel face has few alike patches that far off.
    return cv2.fastNlMeansDenoising(face, None, h=6, templateWindowSize=5, searchWindowSize=11)


_DENOISE: dict[str, Callable[[Grey], Any]] = {
    "none": lambda face: face,
    "median": lambda face: cv2.medianBlur(face, 3),
    "gaussian": lambda face: cv2.GaussianBlur(face, (3, 3), 0),
    "nlmeans": _nlmeans,
}
_CONTRAST: dict[str, Callable[[Grey], Any]] = {
    "none": lambda face: face,
    "equalize": cv2.equalizeHist,
    "clahe": lambda face: cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(face),
}


def prepare_face(pixels: Grey, settings: RunSettings) -> NDArray[np.float32]:
    """The model's input for a grey image of any size: uint8 (h, w) -> float32 (48, 48) in [0, 1]."""
    return normalise(filter_face(pixels, settings))


def filter_face(pixels: Grey, settings: RunSettings) -> Grey:
    """uint8 (h, w) -> uint8 (48, 48), with the noise reduction and contrast that the settings ask for."""
    face: Grey = _CONTRAST[settings.contrast](_DENOISE[settings.denoise](resize(pixels)))
    return face


def normalise(faces: Grey) -> NDArray[np.float32]:
    """Grey levels of any shape -> float32 in [0, 1], the same shape, at most 256 distinct values."""
    return _LEVELS[faces]


def grey_levels(faces: NDArray[np.float32]) -> Grey | None:
    """The inverse of `normalise`, a quarter of the size; None where a value is none that `normalise` makes."""
    levels = np.empty(faces.shape, np.uint8)
    for start in range(0, len(faces), 64):  # in parts, whose temporary arrays stay in the processor's cache
        part, found = faces[start : start + 64], levels[start : start + 64]
        with np.errstate(invalid="ignore"):  # of a NaN, which the comparison finds
            found[...] = np.rint(part * np.float32(255)).astype(np.uint8)
        if not (found.astype(np.float32) / np.float32(255) == part).all():  # `normalise`, thrice as fast as its table
            return None
    return levels


def resize(pixels: Grey) -> Grey:
    """uint8 (h, w) -> uint8 (48, 48). A side that is too long is averaged down, one too short interpolated up."""
    height, width = pixels.shape
    smaller = (min(width, IMAGE_SIDE), min(height, IMAGE_SIDE))
    if smaller != (width, height):
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if smaller != (IMAGE_SIDE, IMAGE_SIDE):
        pixels = cv2.resize(pixels, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_CUBIC).astype(
            np.uint8, copy=False
        )
    return pixels


def change_face(face: Grey, *, seed: int, image_id: str, copy_number: int) -> tuple[Grey, str]:
    """A changed copy of a uint8 (48, 48) face, and in words what was done to it.

    Mirrored or not, shifted, rotated, made brighter or darker. The choices depend on the three arguments alone.
    """
    digest = hashlib.sha256(f"{seed}:{image_id}:{copy_number}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    is_flipped = bool(random.random() < 0.5)
    right, down = (int(shift) for shift in random.integers(-_MAX_SHIFT_PIXELS, _MAX_SHIFT_PIXELS + 1, size=2))
    degrees = round(float(random.uniform(-_MAX_ROTATION_DEGREES, _MAX_ROTATION_DEGREES)), 1)
    brightness = round(float(random.uniform(1 - _MAX_BRIGHTNESS_CHANGE, 1 + _MAX_BRIGHTNESS_CHANGE)), 2)

    centre = (IMAGE_SIDE - 1) / 2
    motion = cv2.getRotationMatrix2D((centre, centre), degrees, 1.0)
    motion[:, 2] += (right, down)
    copy = np.ascontiguousarray(face[:, ::-1]) if is_flipped else face
    copy = cv2.warpAffine(
        copy, motion, (IMAGE_SIDE, IMAGE_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8, copy=False)
    copy = np.clip(np.rint(copy * brightness), 0, 255).astype(np.uint8)
    changes = f"shift {right:+d} {down:+d}, rotate {degrees:+.1f}, brightness x{brightness:.2f}"
    return copy, f"flip, {changes}" if is_flipped else changes
