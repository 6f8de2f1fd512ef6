"""The JSON of every answer, with examples for /openapi.json."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fer_tasks.emotions import EMOTIONS
from service.refusals import Problem

Emotion = Literal["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
"""EMOTIONS, as a type; a test holds the two together."""

Share = Annotated[float, Field(ge=0, le=1)]

_PROBABILITIES = dict(zip(EMOTIONS, (0.01, 0.0, 0.02, 0.91, 0.01, 0.03, 0.02), strict=True))
_MODEL = {"source": "champion", "name": "fer-classifier", "version": 7, "sha256": "f601b4cfe773"}
_FACE = {
    "box": {"left": 41.5, "top": 60.0, "width": 92.3, "height": 118.4},
    "detection_score": 0.98,
    "emotion": "happy",
    "confidence": 0.91,
    "probabilities": _PROBABILITIES,
}
_PICTURE = {"width": 640, "height": 480, "faces_found": 1, "faces": [_FACE]}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": value})


class Box(BaseModel):
    """In pixels of the upright picture, which it may leave."""

    left: float
    top: float
    width: float
    height: float


class Face(BaseModel):
    """One face, as the model sees it."""

    model_config = _example(_FACE)

    box: Box | None = Field(description="null where the picture was taken as the crop of a face.")
    detection_score: Share | None = Field(description="How sure the detector is that this is a face.")
    emotion: Emotion
    confidence: Share = Field(description="Probability of that emotion.")
    probabilities: dict[Emotion, Share] = Field(description="Of all seven; they sum to 1.")


class Picture(BaseModel):
    """What was found in one picture. No face is an answer, not an error."""

    width: int = Field(description="Of the upright picture: its EXIF orientation is applied.")
    height: int
    faces_found: int = Field(description="More than `faces` holds where FER_SERVICE_MAX_FACES was reached.")
    faces: list[Face] = Field(description="From left to right.")


class ModelTag(BaseModel):
    """Which model answered."""

    source: Literal["champion", "pretrained"] = Field(
        description="`pretrained`: the registry has no champion, and the weights that come with the project serve."
    )
    name: str = Field(description="Of the registered model.")
    version: int | None = Field(description="In the registry; null for the pretrained weights.")
    sha256: str | None = Field(description="Of the model's file; null where the registry does not know it.")


class ModelDescription(ModelTag):
    """The model that serves, and what is known of it."""

    model_config = _example(
        _MODEL
        | {
            "metrics": {"accuracy": 0.71, "macro_f1": 0.68, "num_images": 3589},
            "run_folder": "scheduled__2026-11-22",
            "promoted_at": "2026-11-22T05:46:42+00:00",
            "serving_since": "2026-11-22T05:46:47+00:00",
            "note": "",
            "problem": "",
        }
    )

    metrics: dict[str, float] = Field(description="On the test images of its own run, where they are on record.")
    run_folder: str | None = Field(description="The run that trained it.")
    promoted_at: str | None = Field(description="UTC, ISO 8601.")
    serving_since: str = Field(description="UTC, ISO 8601.")
    note: str = Field(description="What one should know of it, in words.")
    problem: str = Field(description="Why a newer champion does not serve, or why the registry was not reached.")


class Answer(Picture):
    """What was found, and by which model."""

    model_config = _example({"model": _MODEL, **_PICTURE})

    model: ModelTag


class BatchItem(BaseModel):
    """One picture of a batch: what was found in it, or why it has no answer."""

    file_name: str
    picture: Picture | None
    problem: Problem | None


class BatchAnswer(BaseModel):
    """The pictures in the order in which they came, all answered by one model."""

    model_config = _example(
        {"model": _MODEL, "pictures": [{"file_name": "photo.jpg", "picture": _PICTURE, "problem": None}]}
    )

    model: ModelTag
    pictures: list[BatchItem]


class Health(BaseModel):
    """status: `alive`, or `ready`."""

    model_config = _example({"status": "ready"})

    status: Literal["alive", "ready"]
