"""Emotions of faces: in pictures, in crops of faces, in folders of them, in a video, to a CSV or lines of JSON.

    python -m fer_tasks.predict PATH... [--output predictions.csv] [--annotate out.png] [--tta] [--model DIR|champion]

A picture with no side above 128 pixels is taken as the crop of a face; in a larger one the faces are searched. --crops
and --detect decide that for all. PATH may be a pattern, or - for a list of paths on the standard input.

Columns: path, emotion, confidence, a probability an emotion, error, the reason where there is no prediction, and for a
face that was found, its number and box. Exit status 2 when a file has no prediction, unless --keep-going.

    python -m fer_tasks.predict VIDEO [--output emotions.csv] [--annotate out.mp4] [--plot emotions.html]

A row for each frame and face: frame, seconds, track (the number of the face), emotion, confidence, the probabilities,
smoothed over time, and its box. VIDEO may be the number of a camera, such as 0, which Ctrl-C ends.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.champion_comparison import note_on_training
from fer_tasks.cpu_model import Form, load_cpu_model
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.face_detection import FaceDetector, FoundFace, crop_face
from fer_tasks.face_filters import prepare_face
from fer_tasks.image_decoding import decode
from fer_tasks.model import load_model
from fer_tasks.named_model import MODEL_HELP, model_folder
from fer_tasks.picture_files import find_images, read_picture
from fer_tasks.prediction_rows import Prediction, format_of, write_rows
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.training_network import use_cores
from fer_tasks.video import SMOOTHING_SECONDS
from fer_tasks.video_command import predict_video, video_source
from fer_tasks.views import NUM_VIEWS, predict_views

MAX_CROP_SIDE = 128
"""A picture with a longer side is searched for faces unless told otherwise: crops of faces are rarely larger, and a
face in a smaller picture has fewer pixels than the network wants."""

MANY_FACES = 5000
"""From so many on (a view of --tta counts as one), Keras, which takes a quarter less time a face in large batches, has
made good for its seconds of starting."""

NO_FACE = "no face was found; if the picture is the crop of a face, add --crops"

_BATCH = 256
_BATCHES_AHEAD = 2

Finder = Callable[[NDArray[np.uint8]], list[FoundFace] | None]
"""From grey pixels to the faces in them, or None for a picture that is a crop as a whole."""

_Row = tuple[Path, FoundFace | None, NDArray[np.float32] | str]


def whole_picture(pixels: NDArray[np.uint8]) -> list[FoundFace] | None:
    """The Finder of --crops."""
    return None


class FaceFinder:
    """The Finder that loads the detector when the first picture needs it."""

    def __init__(self, *, max_crop_side: int = MAX_CROP_SIDE) -> None:
        self._max_crop_side = max_crop_side
        self._detector: FaceDetector | None = None

    def __call__(self, pixels: NDArray[np.uint8]) -> list[FoundFace] | None:
        if max(pixels.shape) <= self._max_crop_side:
            return None
        self._detector = self._detector or FaceDetector()
        return self._detector.find(pixels)


def predict_files(
    files: Iterable[Path], model: Any, settings: RunSettings, *, tta: bool, find: Finder = whole_picture
) -> Iterator[Prediction]:
    """The prediction for each face of each file, in order. Files are read and prepared beside the model's work.

    settings: of the run that trained the model, whose noise reduction and contrast are applied.
    """
    batches = _batched(iter(files))
    with ThreadPoolExecutor(max_workers=1) as reader:
        read = partial(_read_batch, settings=settings, find=find)
        pending = [reader.submit(read, batch) for batch in itertools.islice(batches, _BATCHES_AHEAD)]
        while pending:
            rows = pending.pop(0).result()
            pending += [reader.submit(read, batch) for batch in itertools.islice(batches, 1)]
            yield from _predict_batch(rows, model, tta=tta)


def prepared_faces(
    pixels: NDArray[np.uint8], boxes: Iterable[FoundFace] | None, settings: RunSettings
) -> list[tuple[FoundFace | None, NDArray[np.float32]]]:
    """Each face with its box, float32 (48, 48) in [0, 1]. boxes: what a Finder says of the grey pixels."""
    if boxes is None:
        return [(None, prepare_face(pixels, settings))]
    return [(box, prepare_face(crop_face(pixels, box), settings)) for box in boxes]


def load_model_folder(folder: Path) -> tuple[Any, RunSettings]:
    """Model and settings of a run's folder, or of the pretrained one.

    Raises TrainingError when the model is missing or unreadable, and DatasetError without settings.json.
    """
    model = load_model(RunDirectory(folder).model)
    return model, load_settings(folder)


def load_settings(folder: Path) -> RunSettings:
    """Of a run's folder. Raises DatasetError without settings.json."""
    run_dir = RunDirectory(folder)
    if not run_dir.settings_json.is_file():
        raise DatasetError(f"{folder} has no settings.json, which says how faces are prepared; give a run's folder.")
    return run_dir.load_settings()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        num_errors = _predict(options)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 2 if num_errors and not options.keep_going else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="picture, folder, pattern, or -")
    parser.add_argument("--output", type=Path, help="CSV to write, or lines of JSON (.jsonl); printed without it")
    parser.add_argument(
        "--annotate", type=Path, metavar="FILE", help="picture or video with boxes and bars; folder for several"
    )
    parser.add_argument("--explain", type=Path, metavar="FOLDER", help="LIME map of each face, as a PNG in that folder")
    sort = parser.add_mutually_exclusive_group()
    sort.add_argument("--crops", action="store_true", help="every picture is a face as a whole")
    sort.add_argument("--detect", action="store_true", help="faces are searched in every picture, also in small ones")
    parser.add_argument("--tta", action="store_true", help="average over flips and crops: slower, more accurate")
    parser.add_argument("--model", default="pretrained", metavar="DIR", help=MODEL_HELP)
    parser.add_argument(
        "--runtime", choices=("litert", "int8", "keras"),
        help="litert answers as keras does; int8, the usual one of videos, is much faster and a little off",
    )  # fmt: skip
    parser.add_argument(
        "--plot", type=Path, action="append", default=[], metavar="FILE",
        help="of a video: its emotions over time, as .html or .png; may be given twice",
    )  # fmt: skip
    parser.add_argument(
        "--smoothing", type=float, default=SMOOTHING_SECONDS, metavar="SECONDS", help="of a video, over time; 0: none"
    )
    parser.add_argument("--seconds", type=float, help="of a video or a camera: end after so many")
    parser.add_argument("--keep-going", action="store_true", help="exit status 0 although files have no prediction")
    return parser


def _predict(options: argparse.Namespace) -> int:
    """Returns the number of errors."""
    if (source := video_source(options)) is not None:
        return predict_video(options, source, *_load(options, "int8"))
    form = format_of(options.output)
    files = list(find_images(options.paths))
    if options.explain is not None:
        use_cores()
    is_many = len(files) * (NUM_VIEWS if options.tta else 1) >= MANY_FACES
    model, settings = _load(options, "keras" if is_many else "litert")
    find: Finder = whole_picture if options.crops else FaceFinder(max_crop_side=0 if options.detect else MAX_CROP_SIDE)
    predictions = predict_files(files, model, settings, tta=options.tta, find=find)
    if options.annotate is not None:
        from fer_tasks.annotation import annotated

        predictions = annotated(predictions, options.annotate, num_files=len(files), settings=settings)
    if options.explain is not None:
        from fer_tasks.explain import explained

        predictions = explained(predictions, options.explain, model=model, settings=settings)
    if options.output is None:
        return write_rows(predictions, sys.stdout, form)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        return write_rows(predictions, file, form)


def _load(options: argparse.Namespace, usual_runtime: str) -> tuple[Any, RunSettings]:
    model, settings = _load_for(options, options.runtime or usual_runtime)
    if settings.is_sample:
        print(f"Model {options.model}: {note_on_training(settings)}", file=sys.stderr)
    return model, settings


def _load_for(options: argparse.Namespace, runtime: str) -> tuple[Any, RunSettings]:
    folder = model_folder(options.model)
    if runtime == "keras" or options.explain is not None:  # which asks for gradients
        return load_model_folder(folder)
    form: Form = "int8" if runtime == "int8" else "float32"
    num_threads = 1 if form == "int8" else len(os.sched_getaffinity(0))  # half a millisecond is not worth sharing
    model = load_cpu_model(RunDirectory(folder).model, form, num_threads=num_threads)
    return model, load_settings(folder)


def _batched(files: Iterator[Path]) -> Iterator[tuple[Path, ...]]:
    """itertools.batched, which Python 3.11 lacks."""
    while batch := tuple(itertools.islice(files, _BATCH)):
        yield batch


def _read_batch(files: tuple[Path, ...], settings: RunSettings, find: Finder) -> list[_Row]:
    return [row for file in files for row in _read(file, settings, find)]


def _read(file: Path, settings: RunSettings, find: Finder) -> list[_Row]:
    """The faces of a file, float32 (48, 48), each with its box, or the reason why there is none."""
    try:
        pixels = decode(read_picture(file), max_megapixels=settings.max_image_megapixels).pixels
    except DatasetError as error:
        return [(file, None, str(error))]
    except OSError as error:
        return [(file, None, error.strerror or str(error))]
    faces = prepared_faces(pixels, find(pixels), settings)
    return [(file, box, face) for box, face in faces] or [(file, None, NO_FACE)]


def _predict_batch(rows: list[_Row], model: Any, *, tta: bool) -> Iterator[Prediction]:
    faces = [face for *_, face in rows if not isinstance(face, str)]
    probabilities = iter(predict_views(model, np.stack(faces)[..., None], tta=tta).mean(axis=0) if faces else ())
    number, former = 0, None
    for path, box, face in rows:
        number, former = (number + 1 if path is former else 0), path
        if isinstance(face, str):
            yield Prediction(path, None, face)
        else:
            yield Prediction(path, next(probabilities), face=number, box=box, pixels=face)


if __name__ == "__main__":
    sys.exit(main())
