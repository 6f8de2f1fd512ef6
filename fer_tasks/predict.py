"""Emotions of face crops: files, or folders and all that is in them, to a CSV.

    python -m fer_tasks.predict PATH... [--output predictions.csv] [--tta] [--model DIR] [--keep-going]

Columns: path, emotion, confidence, a probability an emotion, and error, the reason where a file could not be read.
Exit status 2 when one could not, unless --keep-going.
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset_source import IMAGE_SUFFIXES
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.face_filters import prepare_face
from fer_tasks.image_decoding import decode
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.views import predict_views

COLUMNS = ("path", "emotion", "confidence", *(f"probability_{emotion}" for emotion in EMOTIONS), "error")

_BATCH = 256
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Prediction:
    """probabilities: float32 (7,), in EMOTIONS order, sum 1; None where `error` says why the file was not read."""

    path: Path
    probabilities: NDArray[np.float32] | None
    error: str = ""


def find_images(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file named, and every image below every folder named, in the order of names.

    Raises DatasetError for a path that is not there and a folder without an image.
    """
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise DatasetError(f"There is nothing at {path}; give image files or folders of them.")
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not found:
            raise DatasetError(f"There is no image below {path}; expected {', '.join(sorted(IMAGE_SUFFIXES))} files.")
        yield from found


def predict_files(files: Iterable[Path], model: Any, settings: RunSettings, *, tta: bool) -> Iterator[Prediction]:
    """The prediction for each file, in order. Files are read and prepared beside the model's work.

    settings: of the run that trained the model, whose noise reduction and contrast are applied.
    """
    batches = _batched(iter(files))
    with ThreadPoolExecutor(max_workers=1) as reader:
        read = partial(_read_batch, settings=settings)
        pending = [reader.submit(read, batch) for batch in itertools.islice(batches, _BATCHES_AHEAD)]
        while pending:
            rows = pending.pop(0).result()
            pending += [reader.submit(read, batch) for batch in itertools.islice(batches, 1)]
            yield from _predict_batch(rows, model, tta=tta)


def load_model_folder(folder: Path) -> tuple[Any, RunSettings]:
    """Model and settings of a run's folder, or of the pretrained one.

    Raises TrainingError when the model is missing or unreadable, and DatasetError without settings.json.
    """
    run_dir = RunDirectory(folder)
    model = load_model(run_dir.model)
    if not run_dir.settings_json.is_file():
        raise DatasetError(f"{folder} has no settings.json, which says how faces are prepared; give a run's folder.")
    return model, run_dir.load_settings()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image of a face, or folder of them")
    parser.add_argument("--output", type=Path, help="CSV to write; without it, it is printed")
    parser.add_argument("--tta", action="store_true", help="average over flips and crops: slower, more accurate")
    parser.add_argument("--model", type=Path, default=PRETRAINED, metavar="DIR", help="a run's folder")
    parser.add_argument("--keep-going", action="store_true", help="exit status 0 although files could not be read")
    options = parser.parse_args(arguments)
    try:
        files = list(find_images(options.paths))
        model, settings = load_model_folder(options.model)
        predictions = predict_files(files, model, settings, tta=options.tta)
        if options.output is None:
            num_errors = write_csv(predictions, sys.stdout)
        else:
            with options.output.open("w", newline="", encoding="utf-8") as file:
                num_errors = write_csv(predictions, file)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 2 if num_errors and not options.keep_going else 0


def write_csv(predictions: Iterable[Prediction], file: TextIO) -> int:
    """Write them as COLUMNS and tell each error on stderr. Returns the number of errors."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    num_errors = 0
    for item in predictions:
        if item.probabilities is None:
            num_errors += 1
            print(f"{item.path}: {item.error}", file=sys.stderr)
            writer.writerow([item.path, *[""] * (len(EMOTIONS) + 2), item.error])
            continue
        emotion = int(item.probabilities.argmax())
        values = [f"{value:.6f}" for value in (item.probabilities[emotion], *item.probabilities)]
        writer.writerow([item.path, EMOTIONS[emotion], *values, ""])
    return num_errors


def _batched(files: Iterator[Path]) -> Iterator[tuple[Path, ...]]:
    """itertools.batched, which Python 3.11 lacks."""
    while batch := tuple(itertools.islice(files, _BATCH)):
        yield batch


def _read_batch(files: tuple[Path, ...], settings: RunSettings) -> list[tuple[Path, NDArray[np.float32] | str]]:
    """Each file with its face, float32 (48, 48), or the reason why there is none."""
    rows: list[tuple[Path, NDArray[np.float32] | str]] = []
    for file in files:
        try:
            image = decode(file.read_bytes(), max_megapixels=settings.max_image_megapixels)
            rows.append((file, prepare_face(image.pixels, settings)))
        except DatasetError as error:
            rows.append((file, str(error)))
        except OSError as error:
            rows.append((file, error.strerror or str(error)))
    return rows


def _predict_batch(
    rows: list[tuple[Path, NDArray[np.float32] | str]], model: Any, *, tta: bool
) -> Iterator[Prediction]:
    faces = [face for _, face in rows if not isinstance(face, str)]
    probabilities = iter(predict_views(model, np.stack(faces)[..., None], tta=tta).mean(axis=0) if faces else ())
    for path, face in rows:
        yield Prediction(path, None, face) if isinstance(face, str) else Prediction(path, next(probabilities))


if __name__ == "__main__":
    sys.exit(main())
