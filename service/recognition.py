"""From a picture's bytes to its faces, and from faces to the answer."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.face_detection import FoundFace
from fer_tasks.image_decoding import decode
from fer_tasks.predict import MAX_CROP_SIDE, FaceFinder, Finder, prepared_faces, whole_picture
from service.answers import Answer, BatchAnswer, BatchItem, Box, Face, ModelTag, Picture
from service.limits import ServiceLimits
from service.refusals import Refusal, refusal, unreadable
from service.served_model import ServedModel

Detect = Literal["auto", "always", "never"]

MAX_JPEG_SCANS = 32
"""A progressive JPEG has about ten. Each scan is decoded over the whole picture, and a few bytes are enough for one."""


@dataclass(frozen=True)
class SeenPicture:
    """faces: each with its box and float32 (48, 48) in [0, 1]."""

    width: int
    height: int
    faces_found: int
    faces: tuple[tuple[FoundFace | None, NDArray[np.float32]], ...]


class _Finders(threading.local):
    """One detector a thread, since it is no good for two."""

    def __init__(self) -> None:
        self.auto = FaceFinder(max_crop_side=MAX_CROP_SIDE)
        self.always = FaceFinder(max_crop_side=0)


_finders = _Finders()


def look_at(data: bytes, served: ServedModel, limits: ServiceLimits, detect: Detect) -> SeenPicture:
    """Raises Refusal for what is no picture, damaged, or too large."""
    try:
        _refuse_many_scans(data)
        pixels = decode(data, max_megapixels=limits.max_megapixels).pixels
    except DatasetError as error:
        raise unreadable(error, limits.max_megapixels) from error
    boxes = _finder(detect)(pixels)
    faces = prepared_faces(pixels, _largest(boxes, limits.max_faces), served.settings)
    height, width = pixels.shape
    return SeenPicture(width, height, len(faces) if boxes is None else len(boxes), tuple(faces))


def answer(data: bytes, served: ServedModel, limits: ServiceLimits, detect: Detect) -> Answer:
    """Raises Refusal as `look_at` does."""
    seen = look_at(data, served, limits, detect)
    (picture,) = _pictures([seen], served)
    return Answer(model=served.tag, **picture.model_dump())


def answer_batch(
    files: Sequence[tuple[str, bytes | Refusal]],
    served: ServedModel,
    limits: ServiceLimits,
    detect: Detect,
    *,
    deadline: float,
) -> BatchAnswer:
    """files: name and bytes of each, or why there are none. Bad pictures are told of, the others answered.

    Raises TimeoutError after the deadline (time.monotonic).
    """
    seen: list[SeenPicture | Refusal] = []
    for _, data in files:
        if time.monotonic() > deadline:
            raise TimeoutError
        try:
            seen.append(data if isinstance(data, Refusal) else look_at(data, served, limits, detect))
        except Refusal as objection:
            seen.append(objection)
    found = iter(_pictures([picture for picture in seen if isinstance(picture, SeenPicture)], served))
    items = [
        BatchItem(file_name=name, picture=None, problem=picture.problem)
        if isinstance(picture, Refusal)
        else BatchItem(file_name=name, picture=next(found), problem=None)
        for (name, _), picture in zip(files, seen, strict=True)
    ]
    return BatchAnswer(model=ModelTag(**served.tag.model_dump()), pictures=items)


def _finder(detect: Detect) -> Finder:
    if detect == "never":
        return whole_picture
    return _finders.always if detect == "always" else _finders.auto


def _largest(boxes: list[FoundFace] | None, count: int) -> list[FoundFace] | None:
    """In the order in which they came."""
    if boxes is None or len(boxes) <= count:
        return boxes
    smallest = sorted(box.height for box in boxes)[-count]
    return [box for box in boxes if box.height >= smallest][:count]


def _refuse_many_scans(data: bytes) -> None:
    """The mark of a scan cannot stand inside one, where a byte 255 is followed by 0."""
    num_scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0
    if num_scans > MAX_JPEG_SCANS:
        raise refusal(
            422, "too_many_scans", came=f"a JPEG of {num_scans} scans", expected=f"at most {MAX_JPEG_SCANS}",
            to_do="Save the picture anew, as a JPEG or PNG.",
        )  # fmt: skip


def _pictures(seen: Sequence[SeenPicture], served: ServedModel) -> list[Picture]:
    """All faces of all pictures are classified together."""
    pixels = [face for picture in seen for _, face in picture.faces]
    rows = iter(served.classify(np.stack(pixels)[..., None]) if pixels else ())
    return [
        Picture(
            width=picture.width,
            height=picture.height,
            faces_found=picture.faces_found,
            faces=[_face(box, next(rows)) for box, _ in picture.faces],
        )
        for picture in seen
    ]


def _face(box: FoundFace | None, probabilities: NDArray[np.float32]) -> Face:
    """Probabilities to six places, pixels to one, as in the command's rows."""
    values = [round(min(1.0, max(0.0, float(value))), 6) for value in probabilities]
    best = int(probabilities.argmax())
    facts = {
        "box": box and {side: round(getattr(box, side), 1) for side in Box.model_fields},
        "detection_score": box and round(box.score, 4),
        "emotion": EMOTIONS[best],
        "confidence": values[best],
        "probabilities": dict(zip(EMOTIONS, values, strict=True)),
    }
    return Face.model_validate(facts)
