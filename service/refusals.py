"""Errors as the service tells them: as JSON that says what came, what was expected, and what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from fer_tasks.errors import DatasetError, ImageFormatError, ImageTooLargeError

RETRY_AFTER_SECONDS = 1


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": "image_too_large",
                "came": "the image is 12000x9000, 108.0 megapixels; allowed: 25",
                "expected": "an image of at most 25 megapixels",
                "to_do": "Make the picture smaller, or raise FER_SERVICE_MAX_MEGAPIXELS.",
            }
        }
    )

    error: str = Field(description="Short name of the error, which stays the same from version to version.")
    came: str = Field(description="What the service got.")
    expected: str = Field(description="What it takes.")
    to_do: str = Field(description="What to do about it.")


_REFUSED = {
    400: "The body is no readable form.",
    403: "A page of another origin asks.",
    408: "The upload took too long.",
    413: "The upload, the picture or the batch is too large.",
    415: "The body is no form, or the file is no JPEG, PNG, BMP, WebP or GIF image.",
    421: "The service is called by a name that it does not know.",
    422: "A field is missing or wrong, or the picture is damaged.",
    429: "Too many requests are waiting; Retry-After says when to come again.",
    503: "No model is ready yet, or no slot became free in time.",
    504: "The work took too long.",
}
_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": _CONTENT} for status, text in _REFUSED.items()
}
"""For /openapi.json: what every route that takes a picture may refuse with."""


class Refusal(HTTPException):
    """A Problem on its way to the client. status: 4xx, or 503 and 504."""

    def __init__(self, status: int, problem: Problem) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else None
        super().__init__(status, problem.came, headers)
        self.problem = problem

    def response(self) -> JSONResponse:
        return JSONResponse(self.problem.model_dump(), self.status_code, self.headers)


def refusal(status: int, error: str, *, came: str, expected: str, to_do: str) -> Refusal:
    return Refusal(status, Problem(error=error, came=came, expected=expected, to_do=to_do))


def unreadable(error: DatasetError, max_megapixels: int) -> Refusal:
    """What `image_decoding.decode` has against an upload: 413, 415 or 422."""
    if isinstance(error, ImageTooLargeError):
        return refusal(
            413, "image_too_large", came=str(error), expected=f"an image of at most {max_megapixels} megapixels",
            to_do="Make the picture smaller, or raise FER_SERVICE_MAX_MEGAPIXELS.",
        )  # fmt: skip
    if isinstance(error, ImageFormatError):
        return refusal(
            415, "not_an_image", came=str(error), expected="a JPEG, PNG, BMP, WebP or GIF image",
            to_do="Send the bytes of such a file, whatever it is called.",
        )  # fmt: skip
    return refusal(
        422, "damaged_image", came=str(error), expected="a whole image file",
        to_do="Check that the file opens elsewhere, and send all of it.",
    )  # fmt: skip


def tell(request: Any, error: Exception) -> JSONResponse:
    """Any error of the framework or of this service; for FastAPI's exception handlers."""
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, RequestValidationError):
        return _invalid(error).response()
    if isinstance(error, HTTPException):
        return _of_framework(error)
    return refusal(
        500, "internal_error", came="a request that the service failed at", expected="an answer",
        to_do="Look into the service's log; this is a fault of its own.",
    ).response()  # fmt: skip


def _invalid(error: RequestValidationError) -> Refusal:
    """A field that is missing or wrong. What it held is not repeated: it may be a whole picture."""
    told = [f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}" for entry in error.errors()]
    return refusal(
        422, "invalid_request", came="; ".join(told)[:500] or "an invalid request",
        expected="the fields that /openapi.json names", to_do="Correct the named fields.",
    )  # fmt: skip


def _of_framework(error: HTTPException) -> JSONResponse:
    known: Mapping[int, tuple[str, str, str]] = {
        400: ("bad_request", "a multipart/form-data body", "Send the picture as a form's file, as curl -F does."),
        404: ("not_found", "an address that /openapi.json names", "Correct the address."),
        405: ("method_not_allowed", "a method that /openapi.json names", "Use one of those in the header Allow."),
    }
    name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    fallback = (name, "a request that /openapi.json describes", "Correct the request.")
    code, expected, to_do = known.get(error.status_code, fallback)
    made = refusal(error.status_code, code, came=str(error.detail), expected=expected, to_do=to_do)
    return JSONResponse(made.problem.model_dump(), error.status_code, error.headers)
