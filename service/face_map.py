"""The LIME map of one face of a picture, as a PNG."""

from dataclasses import dataclass

import cv2

from fer_tasks.explain import draw, explain_face
from service.answers import Emotion
from service.limits import ServiceLimits
from service.recognition import Detect, SeenPicture, look_at
from service.refusals import refusal
from service.served_model import ServedModel


@dataclass(frozen=True)
class FaceMap:
    """png: 768x384 pixels, the face and beside it the regions, which are grey where the map is not reliable."""

    png: bytes
    emotion: str
    probability: float
    is_reliable: bool


def face_map(
    data: bytes, served: ServedModel, limits: ServiceLimits, *, detect: Detect, face: int, emotion: Emotion | None
) -> FaceMap:
    """face: its number from the left, from 0. Raises Refusal as `look_at` does, and (422) where there is none."""
    seen = look_at(data, served, limits, detect)
    if face >= len(seen.faces):
        raise _no_such_face(face, seen)
    surrogate, around = explain_face(seen.faces[face][1], served.network, served.settings, emotion)
    png = cv2.imencode(".png", draw(around, surrogate))[1].tobytes()
    return FaceMap(png, surrogate.emotion, surrogate.probability, surrogate.evidence.is_reliable)


def _no_such_face(face: int, seen: SeenPicture) -> Exception:
    found = f"{len(seen.faces)} faces" if len(seen.faces) != 1 else "one face"
    return refusal(
        422, "no_such_face", came=f"face {face} of a picture with {found}",
        expected="the number of a face that /v1/predict names, from 0",
        to_do="Correct the number; where the picture is the crop of a face, add ?detect=never.",
    )  # fmt: skip
