"""What the service counts and times, in Prometheus form."""

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from service.answers import ModelDescription

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """One set an application; a process may hold several."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        ProcessCollector(registry=own)
        self.requests = Counter("fer_requests", "Answered requests.", ["path", "method", "status"], registry=own)
        self.seconds = Histogram(
            "fer_request_seconds", "From the first byte to the answer.", ["path"], buckets=_SECONDS, registry=own
        )
        self.faces = Counter("fer_faces", "Classified faces by their emotion.", ["emotion"], registry=own)
        self.pictures = Counter("fer_pictures", "Pictures that were looked at.", registry=own)
        self.inside = Gauge(
            "fer_requests_inside", "Requests with a body: uploading, waiting or worked on.", registry=own
        )
        self.working = Gauge("fer_slots_in_use", "Requests that are worked on.", registry=own)
        self.model = Gauge("fer_model_info", "1 for the model that serves.", ["source", "version"], registry=own)
        self.exchanges = Counter("fer_model_exchanges", "Models that began to serve.", registry=own)
        self.failed_looks = Counter("fer_failed_looks", "Looks at the registry that failed.", registry=own)

    def serves(self, model: "ModelDescription") -> None:
        self.model.clear()
        self.model.labels(model.source, "" if model.version is None else str(model.version)).set(1)
        self.exchanges.inc()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


class Measured:
    """ASGI: counts and times every request. Unknown addresses share a label: they are without number."""

    def __init__(self, app: Any, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._meters.requests.labels(path, method, status).inc()
            self._meters.seconds.labels(path).observe(time.monotonic() - start)
