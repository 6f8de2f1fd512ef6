"""The CSV form of FER-2013: its header in both spellings, and where to cut a big file so that lines keep their number.

A face is one line; a line break inside quotes is not supported.
"""

import csv
import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_tasks.errors import DatasetError

COLUMNS = ("emotion", "pixels", "usage")
HEADER_BYTES = 2**16
MAX_LINE_BYTES = 8 * 2**20
"""A face of 48x48 takes at most 9,216 bytes; a file whose lines are longer than this is no data set of faces."""

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CsvColumns:
    """Indices of the three columns, None for an unwanted one that is not there; how many columns the file has."""

    emotion: int | None
    pixels: int
    usage: int | None
    count: int


@dataclass(frozen=True)
class Chunk:
    """Bytes [start, end) of a file: whole lines, the first of them number `first_line` (the header is line 1)."""

    start: int
    end: int
    first_line: int


def read_columns(path: Path, wanted: Sequence[str] = COLUMNS) -> CsvColumns:
    """Columns of a CSV file. Raises DatasetError when it is empty, header only, or lacks a wanted column."""
    with path.open("rb") as file:
        return parse_header(file.read(HEADER_BYTES), path.name, wanted)


def parse_header(start: bytes, name: str, wanted: Sequence[str] = COLUMNS) -> CsvColumns:
    """Columns from the first HEADER_BYTES of the CSV called `name`. Blanks, case, order and a BOM do not matter."""
    if not start.strip():
        raise DatasetError(
            f"The CSV {name!r} is empty; expected the header {','.join(_spelled(wanted))} and a line a face."
        )
    if start.startswith(_WIDE_BOMS):
        raise DatasetError(f"The CSV {name!r} is in UTF-16; save it as UTF-8.")
    line, _, rest = start.removeprefix(_BOM).partition(b"\n")
    if b"\r" in line.rstrip(b"\r"):
        raise DatasetError(f"The CSV {name!r} ends its lines with CR only; save it with LF or CRLF line ends.")
    columns = _find_columns(line.rstrip(b"\r").decode("utf-8", "replace"), name, wanted)
    if not rest.strip() and len(start) < HEADER_BYTES:
        raise DatasetError(f"The CSV {name!r} holds its header only; expected a line a face below it.")
    return columns


def _find_columns(header: str, name: str, wanted: Sequence[str]) -> CsvColumns:
    spelled = next(csv.reader([header[:1000]], skipinitialspace=True), [])
    found = [column.strip().lower() for column in spelled]
    problems = []
    for column in wanted:
        if column not in found:
            close = difflib.get_close_matches(column, found, n=1)
            problems.append(
                f"{column!r} is missing" + (f" (is {spelled[found.index(close[0])]!r} it?)" if close else "")
            )
    problems += [f"{column!r} stands there {n} times" for column, n in Counter(found).items() if n > 1]
    if problems:
        shown = header if len(header) <= 80 else header[:80] + "..."
        raise DatasetError(
            f"The CSV {name!r} begins with {shown!r}: {', '.join(problems)}. "
            f"Expected a first line with the {_told(wanted)}, separated by commas; correct the header."
        )
    emotion, usage = (found.index(column) if column in found else None for column in ("emotion", "usage"))
    return CsvColumns(emotion, found.index("pixels"), usage, len(found))


def _spelled(columns: Sequence[str]) -> list[str]:
    return ["Usage" if column == "usage" else column for column in columns]


def _told(columns: Sequence[str]) -> str:
    *names, last = _spelled(columns)
    return f"columns {', '.join(names)} and {last}" if names else f"column {last}"


def cut(path: Path, *, chunk_bytes: int) -> list[Chunk]:
    """The lines below the header in chunks of at least chunk_bytes (the last may be shorter), in one pass.

    Raises DatasetError for a line longer than MAX_LINE_BYTES.
    """
    starts, offset, newlines = list[Chunk](), 0, 0
    with path.open("rb") as file:
        while block := file.read(MAX_LINE_BYTES):
            wanted = starts[-1].start + chunk_bytes if starts else 0
            while (at := block.find(b"\n", max(wanted - offset, 0))) >= 0:
                line = newlines + block.count(b"\n", 0, at + 1) + 1
                starts.append(Chunk(offset + at + 1, 0, line))
                wanted = starts[-1].start + chunk_bytes
            offset, newlines = offset + len(block), newlines + _count_lines(block, newlines, path)
    return _close(starts, offset)


def _count_lines(block: bytes, newlines: int, path: Path) -> int:
    count = block.count(b"\n")
    if not count and len(block) == MAX_LINE_BYTES:
        raise DatasetError(
            f"Line {newlines + 1} of {str(path)!r} is longer than {MAX_LINE_BYTES:,} bytes; a face takes about 9,000. "
            "Expected a line a face; check the file."
        )
    return count


def _close(starts: Sequence[Chunk], size: int) -> list[Chunk]:
    ends = [chunk.start for chunk in starts[1:]] + [size]
    closed = [Chunk(chunk.start, end, chunk.first_line) for chunk, end in zip(starts, ends, strict=True)]
    return [chunk for chunk in closed if chunk.end > chunk.start]
