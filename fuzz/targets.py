"""One function a reader. It returns for any bytes, or raises what is a defect: anything but a PipelineError.

The readers run as in ingest_dataset, up to the Arrow batches that Spark takes.
"""

import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from fer_tasks import dataset_archive, face_rows
from fer_tasks.dataset_csv import CsvColumns, cut
from fer_tasks.dataset_source import DatasetSource, open_dataset
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.face_rows import FaceRow
from fer_tasks.image_decoding import decode, decode_colour
from fer_tasks.pixel_text import parse_pixels
from fer_tasks.settings import RunSettings

MAX_MEGAPIXELS = 1
MAX_MEMBERS = 40
"""So many members of a zip are read: more of them would only take longer."""

_PNG = b"\x89PNG\r\n\x1a\n"
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def read_csv(data: bytes) -> None:
    """A CSV of pixel texts, also cut into chunks of a few lines."""
    path = _put("faces.csv", data)
    try:
        columns = _columns(path)
    except PipelineError:
        return
    _check_csv(path, columns)


def read_zip(data: bytes) -> None:
    """A zip of images or of a CSV."""
    path = _put("faces.zip", data)
    try:
        source = open_dataset(str(path))
        if source.kind == "zip":
            _check_rows(face_rows.image_rows(source, _positions(source), max_megapixels=MAX_MEGAPIXELS))
        elif source.columns is not None:
            _check_csv(_extract(source), source.columns)
    except PipelineError:
        return


def read_image(data: bytes) -> None:
    """An image, in grey and in colour; a PNG also with its checksums put right, which no chance would do."""
    for content in (data, _with_checksums(data)) if data.startswith(_PNG) else (data,):
        for decoder in (decode, decode_colour):
            try:
                decoder(content, max_megapixels=MAX_MEGAPIXELS)
            except DatasetError as error:
                refusal = str(error)
                assert "\n" not in refusal


def read_pixel_text(data: bytes) -> None:
    """Pixel texts, of which those in one block are parsed together: each must come out as it would alone."""
    texts = data.split(b"\n")
    together = parse_pixels(texts)
    for text, parsed in zip(texts, together, strict=True):
        [alone] = parse_pixels([text])
        assert str(alone) == str(parsed)
        assert isinstance(parsed, str) or [int(token.lstrip(b"0") or b"0") for token in text.split()] == parsed.tolist()


def read_conf(data: bytes) -> None:
    """A trigger's conf."""
    try:
        params = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        settings = RunSettings.from_params(params if isinstance(params, dict) else {"dataset": params})
    except PipelineError as error:
        refusal = str(error)
        assert len(refusal) < 10_000
        return
    assert RunSettings.from_params(settings.to_params()) == settings


TARGETS: dict[str, Callable[[bytes], None]] = {
    "csv": read_csv,
    "zip": read_zip,
    "image": read_image,
    "pixel_text": read_pixel_text,
    "conf": read_conf,
}


def _columns(path: Path) -> CsvColumns:
    """Columns of a file that is taken for a CSV."""
    source = open_dataset(str(path))
    if source.columns is None or source.kind != "csv":
        raise DatasetError("a zip under the name of a CSV, which is the other target's")
    return source.columns


def _put(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def _positions(source: DatasetSource) -> range:
    return range(min(len(source.members), MAX_MEMBERS))


def _extract(source: DatasetSource) -> Path:
    folder = _FOLDER / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before = sorted(_FOLDER.iterdir())
    try:
        return dataset_archive.extract(source.path, source.members[0], folder)
    finally:
        assert sorted(_FOLDER.iterdir()) == before  # nothing is written beside the folder
        assert len(list(folder.rglob("*"))) <= 1


def _check_csv(path: Path, columns: CsvColumns) -> None:
    chunks = cut(path, chunk_bytes=100)
    _check_rows(row for chunk in chunks for row in face_rows.csv_rows(path, columns, chunk))


def _check_rows(rows: Iterable[FaceRow]) -> None:
    seen = list(rows)
    positions = [row.position for row in seen]
    assert positions == sorted(set(positions))
    assert all((row.image is None) != (row.decode_error is None) for row in seen)
    assert sum(batch.num_rows for batch in face_rows.batches(seen)) == len(seen)


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the CRC that belongs to them, as far as it has whole chunks."""
    parts, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunk = data[at + 4 : at + 8 + length]
        if len(chunk) < 4 + length:
            break
        parts.append(struct.pack(">I", length) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        at += 12 + length
    return b"".join([*parts, data[at:]])
