"""Whom the service answers, and the headers that every answer carries.

It asks for no login. So a page of somebody else, open in the browser of whoever runs the service, must neither read
from it (another name for this address, known as DNS rebinding) nor let it work.
"""

from typing import Any

from service.limits import ServiceLimits
from service.refusals import Refusal, refusal

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    b"content-security-policy": API_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}


class Protected:
    """ASGI: refuses foreign names and pages, and adds the headers that an answer has not set itself."""

    def __init__(self, app: Any, limits: ServiceLimits) -> None:
        self._app = app
        self._hosts = {name.strip().lower() for name in limits.allowed_hosts.split(",")}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS.items() if name not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        objection = self._objection(dict(scope["headers"]), scope["method"])
        app = self._app if objection is None else objection.response()
        await app(scope, receive, with_headers)

    def _objection(self, headers: dict[bytes, bytes], method: str) -> Refusal | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if "*" not in self._hosts and name not in self._hosts:
            return refusal(
                421, "unknown_host", came=f"a request for the host {name[:100]!r}",
                expected=f"one of {', '.join(sorted(self._hosts))}", to_do="Add the name to FER_SERVICE_ALLOWED_HOSTS.",
            )  # fmt: skip
        if method == "POST" and headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            return refusal(
                403, "foreign_page", came="a request that a page of another origin sent",
                expected="requests of the service's own page, or of programs",
                to_do="Call the service from a program, or through a server of your own.",
            )  # fmt: skip
        return None
