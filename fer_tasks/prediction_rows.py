"""Predictions as rows of a CSV, or as lines of JSON."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.face_detection import FoundFace
from fer_tasks.visible_text import harmless_cell, visible

Format = Literal["csv", "jsonl"]

COLUMNS = (
    "path", "emotion", "confidence", *(f"probability_{emotion}" for emotion in EMOTIONS), "error",
    "face", "left", "top", "width", "height",
)  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """probabilities: float32 (7,), in EMOTIONS order, sum 1; None where `error` says why there is none.

    face: its number in the picture, from 0. box: None where the picture was taken as the crop of a face. pixels: what
    the model saw, float32 (48, 48) in [0, 1].
    """

    path: Path
    probabilities: NDArray[np.float32] | None
    error: str = ""
    face: int = 0
    box: FoundFace | None = None
    pixels: NDArray[np.float32] | None = None

    @property
    def emotion(self) -> int | None:
        return None if self.probabilities is None else int(self.probabilities.argmax())


def format_of(output: Path | None) -> Format:
    """By the name's ending; CSV for the standard output. Raises DatasetError for another ending."""
    if output is None or output.suffix.lower() == ".csv":
        return "csv"
    if output.suffix.lower() in (".jsonl", ".ndjson"):
        return "jsonl"
    raise DatasetError(f"--output is {output}; let its name end in .csv, or in .jsonl for lines of JSON.")


class RowWriter:
    """Writes rows of a CSV, below its header, or lines of JSON without the values that are empty texts."""

    def __init__(self, file: TextIO, columns: Sequence[str], form: Format = "csv") -> None:
        self._file, self._form = file, form
        self._csv = csv.DictWriter(file, columns, lineterminator="\n")
        if form == "csv":
            self._csv.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        """In a CSV, probabilities and the confidence have six places."""
        if self._form == "csv":
            self._csv.writerow({name: _cell(name, value) for name, value in row.items()})
        else:
            self._file.write(json.dumps({name: value for name, value in row.items() if value != ""}) + "\n")


def write_rows(predictions: Iterable[Prediction], file: TextIO, form: Format = "csv") -> int:
    """Write a row, or a line of JSON, for each, and tell each error on stderr. Returns the number of errors."""
    writer, num_errors = RowWriter(file, COLUMNS, form), 0
    for item in predictions:
        if item.error:
            num_errors += 1
            print(visible(f"{item.path}: {item.error}"), file=sys.stderr)
        writer.write(row_of(item))
    return num_errors


def _cell(name: str, value: Any) -> Any:
    """Of texts that a spreadsheet would take for a formula, a path gets `./`, which leaves it one, others `'`."""
    if _is_share(name) and value != "":
        return f"{value:.6f}"
    if not isinstance(value, str):
        return value
    text = visible(value)  # also a CR, which csv does not quote
    return text if harmless_cell(text) == text else f"./{text}" if name == "path" else harmless_cell(text)


def row_of(item: Prediction) -> dict[str, Any]:
    """The values of COLUMNS; empty text where there is none. Probabilities to six places, pixels to one."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= {"path": str(item.path), "error": item.error}
    if item.probabilities is not None and item.emotion is not None:
        values = [round(float(value), 6) for value in item.probabilities]
        row |= {"emotion": EMOTIONS[item.emotion], "confidence": values[item.emotion]}
        row |= {f"probability_{emotion}": value for emotion, value in zip(EMOTIONS, values, strict=True)}
    if item.box is not None:
        sides = {name: round(getattr(item.box, name), 1) for name in ("left", "top", "width", "height")}
        row |= {"face": item.face, **sides}
    return row


def _is_share(column: str) -> bool:
    return column == "confidence" or column.startswith("probability_")
