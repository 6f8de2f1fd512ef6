"""The page at `/`, with its style sheet, script and icon: files of the service's own origin."""

from pathlib import Path

from fastapi import APIRouter, Response

from service.protection import PAGE_POLICY

FOLDER = Path(__file__).resolve().parent / "page"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    return _file("index.html", "text/html; charset=utf-8", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/page.css")
async def style() -> Response:
    return _file("page.css", "text/css; charset=utf-8", {})


@router.get("/page.js")
async def script() -> Response:
    return _file("page.js", "text/javascript; charset=utf-8", {})


@router.get("/icon.svg")
async def icon() -> Response:
    return _file("icon.svg", "image/svg+xml", {})


def _file(name: str, media_type: str, headers: dict[str, str]) -> Response:
    return Response(
        (FOLDER / name).read_bytes(), media_type=media_type, headers={"Cache-Control": "no-cache", **headers}
    )
