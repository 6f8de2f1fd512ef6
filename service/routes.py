"""POST /v1/predict, /v1/predict/batch and /v1/explain."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Response, UploadFile

from service.answers import Answer, BatchAnswer, Emotion, ModelTag, Picture
from service.engine import Engine, HasEngine
from service.face_map import face_map
from service.recognition import Detect, answer, answer_batch
from service.refusals import REFUSALS, Refusal, refusal

router = APIRouter(prefix="/v1", tags=["emotions"])

_MODEL_HEADERS = {
    "X-Model-Source": {"schema": {"type": "string"}, "description": "`champion` or `pretrained`"},
    "X-Model-Version": {"schema": {"type": "string"}, "description": "missing for the pretrained weights"},
}
_MAP_HEADERS = {
    "X-Emotion": {"schema": {"type": "string"}, "description": "which emotion is explained"},
    "X-Probability": {"schema": {"type": "number"}, "description": "what the model says of it"},
    "X-Reliable": {"schema": {"type": "boolean"}, "description": "false: the map is grey, do not rely on it"},
}
_JSON: dict[int | str, dict[str, Any]] = {200: {"headers": _MODEL_HEADERS}, **REFUSALS}
_PNG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The face and beside it its regions.",
        "headers": _MODEL_HEADERS | _MAP_HEADERS,
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    **REFUSALS,
}

PictureFile = Annotated[UploadFile, File(description="A JPEG, PNG, BMP, WebP or GIF image; of a GIF, the first frame.")]
HowToDetect = Annotated[
    Detect,
    Query(
        description="Whether faces are searched: `auto` takes a picture with no side above 128 pixels as the crop of a "
        "face, `never` every picture."
    ),
]


@router.post("/predict", summary="Faces and emotions of a picture", responses=_JSON)
async def predict(picture: PictureFile, engine: HasEngine, response: Response, detect: HowToDetect = "auto") -> Answer:
    """Finds the faces and says for each how probable the seven emotions are."""
    data = await _bytes_of(picture, engine)
    found = await engine.slots.work(lambda _: answer(data, engine.watch.current(), engine.limits, detect))
    _count(engine, [found])
    response.headers.update(_headers_of(found.model))
    return found


@router.post("/predict/batch", summary="Faces and emotions of several pictures", responses=_JSON)
async def predict_batch(
    pictures: Annotated[list[UploadFile], File(description="As for /v1/predict.", min_length=1)],
    engine: HasEngine,
    response: Response,
    detect: HowToDetect = "auto",
) -> BatchAnswer:
    """As /v1/predict, for several pictures. One that cannot be read has a `problem`; the others are answered."""
    limits = engine.limits
    if len(pictures) > limits.max_batch:
        raise refusal(
            413, "batch_too_large", came=f"{len(pictures)} pictures", expected=f"at most {limits.max_batch}",
            to_do="Send them in several batches, or raise FER_SERVICE_MAX_BATCH.",
        )  # fmt: skip
    files = [(picture.filename or "", await _bytes_or_refusal(picture, engine)) for picture in pictures]
    found = await engine.slots.work(
        lambda deadline: answer_batch(files, engine.watch.current(), limits, detect, deadline=deadline)
    )
    _count(engine, [item.picture for item in found.pictures if item.picture])
    response.headers.update(_headers_of(found.model))
    return found


@router.post("/explain", summary="What a face's emotion was seen by", responses=_PNG, response_class=Response)
async def explain(
    picture: PictureFile,
    engine: HasEngine,
    face: Annotated[int, Query(ge=0, le=100_000, description="Its number from the left, from 0.")] = 0,
    emotion: Annotated[Emotion | None, Query(description="Which one; the predicted one unless given.")] = None,
    detect: HowToDetect = "auto",
) -> Response:
    """LIME's map of one face: which of its regions speak for the emotion (blue) and which against it (orange)."""
    data = await _bytes_of(picture, engine)
    served = engine.watch.current()
    found = await engine.slots.work(
        lambda _: face_map(data, served, engine.limits, detect=detect, face=face, emotion=emotion)
    )
    facts = {
        "X-Emotion": found.emotion,
        "X-Probability": f"{found.probability:.6f}",
        "X-Reliable": str(found.is_reliable).lower(),
    }
    return Response(found.png, media_type="image/png", headers=_headers_of(served.tag) | facts)


async def _bytes_of(picture: UploadFile, engine: Engine) -> bytes:
    """Raises Refusal (413) for a file over the limit: a body is a little more than its file."""
    allowed = engine.limits.max_upload_mb * 1_000_000
    if picture.size is None or picture.size > allowed:
        raise refusal(
            413, "upload_too_large", came=f"a file of {picture.size or 0:,} bytes", expected=f"at most {allowed:,}",
            to_do="Make the picture smaller, or raise FER_SERVICE_MAX_UPLOAD_MB.",
        )  # fmt: skip
    return await picture.read()


async def _bytes_or_refusal(picture: UploadFile, engine: Engine) -> bytes | Refusal:
    try:
        return await _bytes_of(picture, engine)
    except Refusal as objection:
        return objection


def _count(engine: Engine, pictures: Iterable[Picture]) -> None:
    for picture in pictures:
        engine.meters.pictures.inc()
        for face in picture.faces:
            engine.meters.faces.labels(face.emotion).inc()


def _headers_of(model: ModelTag) -> dict[str, str]:
    version = {} if model.version is None else {"X-Model-Version": str(model.version)}
    return {"X-Model-Source": model.source, **version}
