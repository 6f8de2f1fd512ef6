"""The service as an ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import cv2
import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from fer_tasks.training_network import use_cores
from service import page_routes, routes, status_routes
from service.engine import Engine
from service.meters import Measured
from service.protection import Protected
from service.refusals import Problem, tell
from service.upload_guard import UploadGuard

_MAX_CONNECTIONS = 500
"""Below the 1,024 open files that a process usually has. Above it, uvicorn answers 503 by itself."""

_LONGEST_GOODBYE_SECONDS = 30

_DESCRIPTION = """Finds the faces in pictures and says how probable seven emotions are for each.

Every error is JSON with four fields: `error`, `came`, `expected` and `to_do`. A drawn or posed face is not a feeling;
inferring emotions of people at work or in education is prohibited in the European Union (AI Act, Article 5(1)(f)).
"""


def build_app(engine: Engine) -> Any:
    """The ASGI application. Its model watch runs from startup to shutdown."""
    app = FastAPI(
        title="Facial emotions",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.engine = engine
    app.openapi = partial(_described, app.openapi)  # type: ignore[method-assign]
    for module in (routes, status_routes, page_routes):
        app.include_router(module.router)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, tell)
    guarded = UploadGuard(app, engine.limits, engine.slots)
    return Protected(Measured(guarded, engine.meters), engine.limits)


def server_config(engine: Engine) -> uvicorn.Config:
    """How the application is served: one process, since the model and the limits are a process's own."""
    return uvicorn.Config(
        build_app(engine),
        host=engine.limits.host,
        port=engine.limits.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_LONGEST_GOODBYE_SECONDS,
    )


def _described(describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """FastAPI's OpenAPI file with the schema of errors, which its routes name by hand: `model` would announce an error
    of a route that answers with a PNG as a PNG."""
    document = describe()
    document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return document


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine: Engine = app.state.engine
    use_cores()
    cv2.setNumThreads(max(1, cv2.getNumberOfCPUs() // engine.limits.concurrency))
    engine.watch.start()
    yield
    engine.watch.stop()
    engine.slots.close()
