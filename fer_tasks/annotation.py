"""Pictures with what was found in them: a box around each face, its emotion, and a bar for each probability."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.face_detection import FoundFace
from fer_tasks.image_decoding import decode_colour
from fer_tasks.picture_files import UniqueNames
from fer_tasks.prediction_rows import Prediction
from fer_tasks.settings import RunSettings

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

ACCENT: Colour = (140, 79, 29)  # blue, green, red: the report's accent
_BAR: Colour = (236, 188, 143)
_WHITE: Colour = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_PIXELS = 21  # height of a capital of the font at scale 1
_CROP_SIDE = 224  # a crop is enlarged to this, so that there is room for the bars
_PANEL_SHADE = 0.35


def annotated(
    predictions: Iterable[Prediction], target: Path, *, num_files: int, settings: RunSettings
) -> Iterator[Prediction]:
    """The predictions as they come, each picture drawn once its faces have passed. target: a .png or .jpg file, for
    one picture, or a folder, for `<name>.png` of each.

    Raises DatasetError where several pictures are to become one file, and OSError where it cannot be written.
    """
    is_file = target.suffix.lower() in (".png", ".jpg", ".jpeg")
    if is_file and num_files > 1:
        raise DatasetError(f"--annotate is {target}, but {num_files} pictures came; give a folder.")
    if not is_file:
        target.mkdir(parents=True, exist_ok=True)
    return _annotated(predictions, target, is_file, settings)


def _annotated(
    predictions: Iterable[Prediction], target: Path, is_file: bool, settings: RunSettings
) -> Iterator[Prediction]:
    names = UniqueNames(target)
    for _, group in itertools.groupby(predictions, key=lambda item: id(item.path)):
        faces = list(group)
        if faces[0].probabilities is not None:
            path = faces[0].path
            picture = decode_colour(path.read_bytes(), max_megapixels=settings.max_image_megapixels)
            write_picture(draw(picture, faces), target if is_file else names.path(path.stem))
        yield from faces


def draw(picture: Picture, faces: Iterable[Prediction]) -> Picture:
    """picture: uint8 (h, w, 3), blue, green, red. Returns a picture with the faces drawn, which leaves `picture` be."""
    drawn = picture.copy()
    for item in faces:
        if item.probabilities is None:
            continue
        if item.box is None:
            return _draw_crop(picture, item.probabilities)
        draw_face(drawn, item.box, item.probabilities, EMOTIONS[int(item.probabilities.argmax())])
    return drawn


def draw_face(picture: Picture, box: FoundFace, probabilities: NDArray[np.float32], name: str) -> None:
    """Draw into the picture: the box, below the name and the highest probability, and a bar for each."""
    left, top, right, bottom = (
        round(value) for value in (box.left, box.top, box.left + box.width, box.top + box.height)
    )
    scale = float(np.clip(box.height / 220, 0.4, 2.0))
    cv2.rectangle(picture, (left, top), (right, bottom), ACCENT, max(2, round(3 * scale)), cv2.LINE_AA)
    _draw_label(picture, f"{name} {probabilities.max():.0%}", left, top, scale)
    width = max(round(120 * scale), 70)
    at = right + 4 if right + 4 + width <= picture.shape[1] else left - 4 - width
    _draw_bars(picture, probabilities, (at, top), (width, max(bottom - top, 7 * 10)))


def write_picture(picture: Picture, path: Path) -> None:
    """Raises OSError where the file cannot be written."""
    path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())


def _draw_crop(picture: Picture, probabilities: NDArray[np.float32]) -> Picture:
    enlarge = _CROP_SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * enlarge)), max(1, round(picture.shape[0] * enlarge)))
    face = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    canvas = np.full((_CROP_SIDE, 2 * _CROP_SIDE, 3), 255, np.uint8)
    canvas[: size[1], : size[0]] = face
    _draw_bars(canvas, probabilities, (_CROP_SIDE + 8, 0), (_CROP_SIDE - 8, _CROP_SIDE))
    return canvas


def _draw_label(picture: Picture, text: str, left: int, top: int, scale: float) -> None:
    size = 0.8 * scale
    (width, height), _ = cv2.getTextSize(text, _FONT, size, max(1, round(2 * size)))
    pad = max(2, round(5 * scale))
    bottom = max(top, height + 2 * pad)
    cv2.rectangle(picture, (left, bottom - height - 2 * pad), (left + width + 2 * pad, bottom), ACCENT, cv2.FILLED)
    _write(picture, text, (left + pad, bottom - pad), size)


def _draw_bars(
    picture: Picture, probabilities: NDArray[np.float32], corner: tuple[int, int], size: tuple[int, int]
) -> None:
    """A dark panel with a bar for each emotion; what lies beyond the picture is cut off."""
    (left, top), (width, height) = corner, size
    panel = picture[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    panel[...] = (panel * _PANEL_SHADE).astype(np.uint8)
    row = height / len(EMOTIONS)
    letters = 0.5 * row / _TEXT_PIXELS
    for number, (emotion, share) in enumerate(zip(EMOTIONS, probabilities, strict=True)):
        middle = top + (number + 0.5) * row
        ends = (
            (left + 2, round(middle - 0.4 * row)),
            (left + 2 + round((width - 4) * float(share)), round(middle + 0.4 * row)),
        )
        cv2.rectangle(picture, *ends, ACCENT, cv2.FILLED)
        cv2.line(picture, (ends[1][0], ends[0][1]), ends[1], _BAR, 2)
        _write(picture, emotion, (left + 5, round(middle + 0.25 * row)), letters)


def _write(picture: Picture, text: str, baseline: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, baseline, _FONT, size, _WHITE, max(1, round(2 * size)), cv2.LINE_AA)
