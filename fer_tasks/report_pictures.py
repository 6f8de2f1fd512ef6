"""The report's pictures: faces as PNG data URIs, and the galleries of images that the run leaves out."""

import base64
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.errors import ReportError
from fer_tasks.report_page import Gallery, Thumbnail
from fer_tasks.report_text import percent
from fer_tasks.run_directory import RunDirectory

MAX_QUARANTINED = 24
MAX_GROUPS = 12
MAX_SOURCES = 4
MAX_MISTAKES = 10
"""How many thumbnails the report shows of each sort, and how many sources of a group it names."""

_MAX_TEXT = 200
_THUMBNAIL_SIDE = 64
_EXCLUSIONS = {
    "leaked": "Leaked groups: a training image also stands in validation or test",
    "conflicting": "Conflicting groups: equal training images with different labels",
    "duplicate": "Duplicate groups: equal training images, of which one is kept",
}
_RAW_COLUMNS = ["position", "source", "image_id", "usage_text", "label_text", "height", "width", "pixels"]


def face_picture(face: NDArray[np.float32], *, side: int = 2 * IMAGE_SIDE) -> str:
    """A face (float32, square, in [0, 1]) enlarged to side x side, as a PNG data URI."""
    import cv2

    grey = np.clip(np.rint(face * 255), 0, 255).astype(np.uint8)
    return _png_uri(np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_LANCZOS4)))


def thumbnail_picture(pixels: bytes | None, height: int | None, width: int | None) -> str | None:
    """The image (uint8 gray, row by row) with at most 64 pixels a side, as a PNG data URI.

    None where there is no picture to show: nothing decoded, or pixels that do not fill a rectangle one can look at.
    Raises ReportError when the number of bytes contradicts height and width.
    """
    import cv2

    if pixels is None or not height or not width or min(height, width) * 16 < max(height, width):
        return None
    if len(pixels) != height * width:
        raise ReportError(f"A raw face has {len(pixels)} bytes of pixels for {height} x {width}; run the ingest again.")
    image = np.frombuffer(pixels, np.uint8).reshape(height, width)
    shrink = _THUMBNAIL_SIDE / max(height, width)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return _png_uri(image)


def quarantine_galleries(run_dir: RunDirectory) -> tuple[Gallery, ...]:
    """The quarantined images in the data set's order, each with its reason and source; nothing if there are none."""
    import pyarrow.parquet as pq

    reasons = pq.read_table(run_dir.quarantine, columns=["source", "reason"]).to_pylist()
    reason_of = {row["source"]: row["reason"] for row in reasons}
    rows = _raw_rows(run_dir, "source", reason_of, limit=MAX_QUARANTINED)
    shown = tuple(_thumbnail([row], reason=reason_of[row["source"]]) for row in rows)
    return (Gallery("Quarantined images", len(reasons), shown),) if reasons else ()


def exclusion_galleries(run_dir: RunDirectory) -> tuple[Gallery, ...]:
    """One gallery a reason of exclusion; a thumbnail stands for all images with the same pixels, wherever they are."""
    import pyarrow.parquet as pq

    rows = pq.read_table(run_dir.exclusions, columns=["image_id", "reason"]).to_pylist()
    galleries = []
    for reason, title in _EXCLUSIONS.items():
        groups = list(dict.fromkeys(row["image_id"] for row in rows if row["reason"] == reason))
        if groups:
            galleries.append(Gallery(title, len(groups), _groups(run_dir, groups[:MAX_GROUPS])))
    return tuple(galleries)


def mistake_galleries(run_dir: RunDirectory) -> tuple[Gallery, ...]:
    """The test images about which the model was surest and wrong; then those of them that the champion has right."""
    import pyarrow.parquet as pq

    columns = ["position", "image_id", "label", "predicted", "confidence"]
    rows = pq.read_table(run_dir.predictions, columns=columns).to_pylist()
    mistakes = [row for row in rows if row["predicted"] != row["label"]]
    mistakes.sort(key=lambda row: (-row["confidence"], row["position"]))
    galleries = [("All mistakes, the surest first", mistakes)]
    if run_dir.champion_predictions.exists():
        theirs = pq.read_table(run_dir.champion_predictions, columns=["position", "predicted"]).to_pylist()
        guess_of = {row["position"]: row["predicted"] for row in theirs}
        lost = [row for row in mistakes if guess_of.get(row["position"]) == row["label"]]
        galleries.append(("Lost: mistakes that the champion does not make", lost))
    return tuple(_mistakes(run_dir, title, found) for title, found in galleries if found)


def _mistakes(run_dir: RunDirectory, title: str, mistakes: list[Mapping[str, Any]]) -> Gallery:
    """The first MAX_MISTAKES of them. Raises ReportError where raw_faces holds other images at their positions."""
    shown = mistakes[:MAX_MISTAKES]
    face_at = {row["position"]: row for row in _rows_at(run_dir, [row["position"] for row in shown])}
    if any(face_at.get(row["position"], {}).get("image_id") != row["image_id"] for row in shown):
        raise ReportError(f"{run_dir.raw_faces} does not hold the images of {run_dir.predictions.name}.")
    return Gallery(
        title,
        len(mistakes),
        tuple(
            _thumbnail(
                [face_at[row["position"]]],
                reason=f"{EMOTIONS[row['label']]}, taken for {EMOTIONS[row['predicted']]} "
                f"with {percent(row['confidence'])}",
            )
            for row in shown
        ),
    )


def _groups(run_dir: RunDirectory, image_ids: list[str]) -> tuple[Thumbnail, ...]:
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in _raw_rows(run_dir, "image_id", image_ids):
        members.setdefault(row["image_id"], []).append(row)
    return tuple(
        _thumbnail(members[image_id], reason=f"{len(members[image_id])} equal images")
        for image_id in image_ids
        if image_id in members
    )


def _raw_rows(
    run_dir: RunDirectory, column: str, values: Collection[str], *, limit: int | None = None
) -> list[Mapping[str, Any]]:
    """Rows of raw_faces whose `column` is one of `values`, by position; pixels are read only for those kept."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pc.field(column).isin(pa.array(list(values), pa.string()))
    positions = sorted(pq.read_table(run_dir.raw_faces, columns=["position"], filters=wanted)["position"].to_pylist())
    return _rows_at(run_dir, positions[:limit])


def _rows_at(run_dir: RunDirectory, positions: list[int]) -> list[Mapping[str, Any]]:
    """Rows of raw_faces at these positions, in their order."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    kept = pc.field("position").isin(pa.array(positions, pa.int64()))
    rows = pq.read_table(run_dir.raw_faces, columns=_RAW_COLUMNS, filters=kept).to_pylist()
    return sorted(rows, key=lambda row: row["position"])


def _thumbnail(rows: list[Mapping[str, Any]], *, reason: str) -> Thumbnail:
    first = rows[0]
    more = [f"and {len(rows) - MAX_SOURCES} more"] if len(rows) > MAX_SOURCES else []
    return Thumbnail(
        picture=thumbnail_picture(first["pixels"], first["height"], first["width"]),
        size=f"{first['width']} x {first['height']}" if first["height"] else "not decoded",
        lines=(*(_origin(row) for row in rows[:MAX_SOURCES]), *more),
        reason=clipped(reason),
    )


def _origin(row: Mapping[str, Any]) -> str:
    told = [text for text in (row["usage_text"], row["label_text"]) if text is not None]
    return clipped(f"{row['source']} ({', '.join(told)})" if told else row["source"])


def clipped(text: str) -> str:
    """At most 200 characters: the data set decides what stands in a name, not how long the page gets."""
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 41]}…{text[-40:]}"


def _png_uri(image: NDArray[np.uint8]) -> str:
    import cv2

    is_written, png = cv2.imencode(".png", image)
    if not is_written:
        raise ReportError(f"An image of shape {image.shape} could not be written as PNG.")
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
