"""Rows of the table raw_faces, read image by image from a data set and handed on as Arrow batches."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
import pyarrow as pa

from fer_tasks import dataset_archive
from fer_tasks.dataset_csv import Chunk, CsvColumns
from fer_tasks.dataset_source import DatasetSource, printable
from fer_tasks.emotions import IMAGE_SIDE, NUM_PIXELS
from fer_tasks.errors import DatasetError
from fer_tasks.image_decoding import DecodedImage, Pixels, decode, measure
from fer_tasks.picture_files import read_picture
from fer_tasks.pixel_text import parse_pixels

MAX_BATCH_ROWS = 512
MAX_BATCH_BYTES = 32 * 2**20
"""A batch is handed on when it reaches either, so that large images do not pile up."""

MEASURED = "position long, source string, usage_text string, label_text string, image_id string, height int, \
width int, channels int, minimum int, maximum int, mean double, standard_deviation double, sharpness double, \
decode_error string, pixels binary"
"""Schema of the batches, as Spark spells it: raw_faces without usage, label and num_pixels."""

_INT, _FLOAT, _TEXT = pa.int32(), pa.float64(), pa.string()
_TYPES = {"string": _TEXT, "int": _INT, "double": _FLOAT, "long": pa.int64(), "binary": pa.binary()}
_SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in (column.split() for column in MEASURED.split(", "))])


class FaceRow(NamedTuple):
    """One image of the data set: decoded, or with the reason and the bytes that could not be."""

    position: int
    source: str
    usage_text: str | None
    label_text: str | None
    image: DecodedImage | None
    decode_error: str | None = None
    undecoded: bytes = b""

    @property
    def image_id(self) -> str:
        """sha256 (hex) of the pixels, row by row; of the bytes or text where nothing could be decoded."""
        return sha256(self.image.pixels.tobytes() if self.image else self.undecoded).hexdigest()


def image_rows(source: DatasetSource, positions: Iterable[int], *, max_megapixels: int) -> Iterator[FaceRow]:
    """Rows of the members at `positions` of an image folder or of a zip of images."""
    with ExitStack() as stack:
        archive = stack.enter_context(ZipFile(source.path)) if source.kind == "zip" else None
        for position in positions:
            member = source.members[position]
            usage_text, label_text = map(printable, source.describe(member))
            data = b""
            try:
                data = dataset_archive.read_member(archive, member) if archive else read_picture(source.path / member)
                image = decode(data, max_megapixels=max_megapixels)
                yield FaceRow(position, printable(member), usage_text, label_text, image)
            except DatasetError as error:
                yield FaceRow(position, printable(member), usage_text, label_text, None, str(error), data)


def csv_rows(path: Path, columns: CsvColumns, chunk: Chunk) -> Iterator[FaceRow]:
    """Rows of the lines in `chunk` that are not blank; a line's position is its number among the data lines."""
    with path.open("rb") as file:
        file.seek(chunk.start)
        number, left, rest = chunk.first_line, chunk.end - chunk.start, b""
        while left > 0 and (block := file.read(min(left, 2**20))):
            left -= len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from rows_of_lines(enumerate(lines, number), path.name, columns)
            number += len(lines)
        yield from rows_of_lines([(number, rest)], path.name, columns)


def batches(rows: Iterable[FaceRow]) -> Iterator[pa.RecordBatch]:
    """The rows in their order, measured, in batches of bounded size with the schema MEASURED."""
    waiting: list[FaceRow] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += row.image.pixels.nbytes if row.image else len(row.undecoded)
        if len(waiting) >= MAX_BATCH_ROWS or size >= MAX_BATCH_BYTES:
            yield _to_batch(waiting)
            waiting, size = [], 0
    if waiting:
        yield _to_batch(waiting)


def rows_of_lines(lines: Iterable[tuple[int, bytes]], file_name: str, columns: CsvColumns) -> Iterator[FaceRow]:
    """lines: (number in the file, the header being 1, the line without LF); blank ones are left out."""
    numbered = [(number, line.rstrip(b"\r")) for number, line in lines if line.strip()]
    fields = [_fields(line) for _, line in numbered]
    texts = [cells[columns.pixels] if len(cells) == columns.count else b"" for cells in fields]
    for (line_number, line), cells, text, pixels in zip(numbered, fields, texts, parse_pixels(texts), strict=True):
        place = (line_number - 2, f"{file_name}:{line_number}")
        if len(cells) != columns.count:
            reason = f"fields in the line: {len(cells)}; expected: {columns.count}, separated by commas"
            yield FaceRow(*place, None, None, None, reason, line)
            continue
        described = (_text(cells, columns.usage), _text(cells, columns.emotion))
        if isinstance(pixels, str):
            yield FaceRow(*place, *described, None, pixels, text)
        else:
            yield FaceRow(*place, *described, DecodedImage(_to_face(pixels), 1))


def _fields(line: bytes) -> Sequence[bytes]:
    if b'"' not in line:
        return line.split(b",")
    text = line.decode("utf-8", "surrogateescape")
    try:
        return [cell.encode("utf-8", "surrogateescape") for cell in next(csv.reader([text], skipinitialspace=True))]
    except csv.Error:  # a quoted cell over 128 KiB, a bare CR
        return [line]


def _text(cells: Sequence[bytes], column: int | None) -> str | None:
    return None if column is None else cells[column].decode("utf-8", "backslashreplace").strip() or None


def _to_face(values: Pixels) -> Pixels:
    """(48, 48) where the count is right, else (1, number of values)."""
    return values.reshape(IMAGE_SIDE, IMAGE_SIDE) if len(values) == NUM_PIXELS else values.reshape(1, -1)


def _to_batch(rows: list[FaceRow]) -> pa.RecordBatch:
    records: list[dict[str, Any]] = [_describe(row) for row in rows]
    by_shape = defaultdict(list)
    for index, row in enumerate(rows):
        if row.image:
            by_shape[row.image.pixels.shape].append(index)
    for indices in by_shape.values():
        measured = measure(np.stack([rows[index].image.pixels for index in indices]))  # type: ignore[union-attr]
        for name, values in vars(measured).items():
            for index, value in zip(indices, values.tolist(), strict=True):
                records[index][name] = value
    return pa.RecordBatch.from_pylist(records, schema=_SCHEMA)


def _describe(row: FaceRow) -> dict[str, Any]:
    record = row._asdict()
    image, _ = record.pop("image"), record.pop("undecoded")
    record["image_id"] = row.image_id
    if image is None:
        return record
    height, width = image.pixels.shape
    pixels = image.pixels.tobytes()
    return {
        **record,
        "height": height,
        "width": width,
        "channels": image.channels,
        "pixels": pixels,
    }
