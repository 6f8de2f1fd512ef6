"""Requests with a body: turned away before it is read where possible, and otherwise counted while it comes.

Nothing of a refused body is kept. A client that sends on all the same may do so for half a second, in which what comes
is dropped, so that it gets to read the answer instead of finding its connection reset.
"""

import asyncio
import contextlib
import time
from typing import Any

from service.limits import ServiceLimits
from service.refusals import Refusal, refusal
from service.slots import Slots

MULTIPART = b"multipart/form-data"
FORM_BYTES = 64 * 1024
"""What the form around the pictures may take beside them."""

_MAX_MB = {"/v1/predict": "max_upload_mb", "/v1/predict/batch": "max_batch_mb", "/v1/explain": "max_upload_mb"}
"""The routes that take a body, and the setting that bounds it. No other route reads one."""

_LINGER_SECONDS = 0.5


class UploadGuard:
    """ASGI: gives each upload a place, or refuses it with 408, 413, 415 or 429."""

    def __init__(self, app: Any, limits: ServiceLimits, slots: Slots) -> None:
        self._app, self._limits, self._slots = app, limits, slots

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in _MAX_MB:
            await self._app(scope, receive, send)
            return
        limits = self._limits
        max_bytes = getattr(limits, _MAX_MB[scope["path"]]) * 1_000_000 + FORM_BYTES
        body = _Body(receive, send, max_bytes=max_bytes, seconds=limits.timeout_seconds)
        try:
            body.check_headers(dict(scope["headers"]))
            with self._slots.place():
                await self._app(scope, body.receive, body.send)
        except Refusal as objection:
            await objection.response()(scope, body.receive, body.send)


class _Body:
    """receive and send of one request, with a limit to what comes and to how long it takes."""

    def __init__(self, receive: Any, send: Any, *, max_bytes: int, seconds: float) -> None:
        self._receive, self._send = receive, send
        self._max_bytes, self._seconds = max_bytes, seconds
        self._deadline = time.monotonic() + seconds
        self._num_bytes = 0
        self._is_complete = False

    def check_headers(self, headers: dict[bytes, bytes]) -> None:
        """Raises Refusal (413, 415) for what the headers give away."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large(f"a body of {int(length):,} bytes")
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != MULTIPART:
            came = f"content of the type {kind.decode('latin-1')[:100]}" if kind else "content without a type"
            raise refusal(
                415, "not_a_form", came=came, expected="multipart/form-data with the picture as a file",
                to_do="Send the picture as a form's file, as curl -F does.",
            )  # fmt: skip

    async def receive(self) -> Any:
        """Raises Refusal: 413 as soon as too much has come, 408 when it takes too long."""
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise refusal(
                408, "upload_too_slow", came=f"{self._num_bytes:,} bytes in {self._seconds:g} s",
                expected="the whole body in that time", to_do="Send a smaller picture, or raise the service's timeout.",
            ) from None  # fmt: skip
        self._note(message)
        if self._num_bytes > self._max_bytes:
            raise self._too_large(f"a body of more than {self._max_bytes:,} bytes")
        return message

    async def send(self, message: Any) -> None:
        """An answer to a request that was not read to its end closes the connection, after a while."""
        if self._is_complete:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
        elif message.get("more_body"):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._is_complete:
                    self._note(await self._receive())

    def _note(self, message: Any) -> None:
        self._num_bytes += len(message.get("body", b""))
        self._is_complete = message["type"] == "http.disconnect" or not message.get("more_body")

    def _too_large(self, came: str) -> Refusal:
        return refusal(
            413, "upload_too_large", came=came, expected=f"at most {self._max_bytes:,} bytes with the form around it",
            to_do="Make the picture smaller, or raise FER_SERVICE_MAX_UPLOAD_MB or FER_SERVICE_MAX_BATCH_MB.",
        )  # fmt: skip
