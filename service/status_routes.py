"""GET /healthz, /readyz, /v1/model and /metrics."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.answers import Health, ModelDescription
from service.engine import HasEngine
from service.refusals import REFUSALS

router = APIRouter(tags=["status"])

_NOT_READY: dict[int | str, dict[str, Any]] = {status: REFUSALS[status] for status in (421, 503)}
_ALWAYS: dict[int | str, dict[str, Any]] = {421: REFUSALS[421]}


@router.get("/healthz", summary="Whether the process answers", responses=_ALWAYS)
async def healthz() -> Health:
    """Asks nothing of the model or the registry: restart the service when this fails."""
    return Health(status="alive")


@router.get("/readyz", summary="Whether a model is ready", responses=_NOT_READY)
async def readyz(engine: HasEngine) -> Health:
    """503 until a model is loaded and warmed up: send no requests until then."""
    engine.watch.current()
    return Health(status="ready")


@router.get("/v1/model", summary="The model that serves", responses=_NOT_READY)
async def model(engine: HasEngine) -> ModelDescription:
    """Its version, its SHA-256, its measures, and whether the registry's newest could not be loaded."""
    return engine.watch.current().description.model_copy(update={"problem": engine.watch.problem})


@router.get(
    "/metrics", summary="Counters and timers for Prometheus", responses=_ALWAYS, response_class=PlainTextResponse
)
async def metrics(engine: HasEngine) -> Response:
    return Response(engine.meters.text(), media_type=CONTENT_TYPE_LATEST)
