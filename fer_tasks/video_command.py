"""What python -m fer_tasks.predict does with a video or a camera: rows, an annotated copy, and a plot over time."""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fer_tasks import emotion_timeline
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.face_tracking import DETECT_EVERY_SECONDS, FaceTracker
from fer_tasks.prediction_rows import RowWriter, format_of
from fer_tasks.settings import RunSettings
from fer_tasks.video import COLUMNS, SeenFace, VideoPredictor, WriteBehind, read_ahead, row_of
from fer_tasks.video_frames import (
    VIDEO_SUFFIXES,
    Frame,
    FrameReader,
    FrameWriter,
    camera_number,
    check_video_name,
)

NO_FACE = "no face was found"


def video_source(options: argparse.Namespace) -> Path | int | None:
    """The video or the number of the camera that the command line means; None where it means pictures.

    Raises DatasetError for several, and for options that go with the other kind only, or name files of another kind.
    """
    sources = [_source(path) for path in options.paths]
    if all(source is None for source in sources):
        for name in ("plot", "seconds"):
            if getattr(options, name):
                raise DatasetError(f"--{name} goes with a video or a camera; {options.paths[0]} is neither.")
        return None
    if len(sources) > 1:
        raise DatasetError(f"{len(sources)} paths came, a video among them; give one video alone.")
    for name in ("crops", "detect", "explain"):
        if getattr(options, name):
            raise DatasetError(f"--{name} goes with pictures; {options.paths[0]} is a video or a camera.")
    _check_outputs(options)
    return sources[0]


def _check_outputs(options: argparse.Namespace) -> None:
    format_of(options.output)
    emotion_timeline.check_names(options.plot)
    if options.annotate is not None:
        check_video_name(options.annotate)


def predict_video(options: argparse.Namespace, source: Path | int, model: Any, settings: RunSettings) -> int:
    """Write all that is asked for. Returns the number of errors: 1 where no face was found.

    A keyboard interrupt ends it in good order. Raises DatasetError where the source cannot be read, or an output be
    written.
    """
    reader = FrameReader(source)
    timelines, num_rows = emotion_timeline.Timelines(), 0
    with ExitStack() as stack:
        annotate = _annotator(stack, options.annotate, reader)
        file = stack.enter_context(options.output.open("w", newline="", encoding="utf-8")) if options.output else None
        rows = RowWriter(file or sys.stdout, COLUMNS, format_of(options.output))
        with contextlib.suppress(KeyboardInterrupt):
            for frame, faces in _seen(reader, options, model, settings):
                for face in faces:
                    rows.write(row_of(frame, face))
                num_rows += len(faces)
                timelines.add(frame, faces)
                annotate((frame, faces))
    if options.plot:
        page = timelines.page(f"camera {source}" if isinstance(source, int) else source.name)
        for path in options.plot:
            emotion_timeline.write(page, path)
    if num_rows == 0:
        print(f"{source}: {NO_FACE}", file=sys.stderr)
    return int(num_rows == 0)


def _source(path: Path) -> Path | int | None:
    return path if path.suffix.lower() in VIDEO_SUFFIXES else camera_number(path)


def _seen(
    reader: FrameReader, options: argparse.Namespace, model: Any, settings: RunSettings
) -> Iterator[tuple[Frame, list[SeenFace]]]:
    tracker = FaceTracker(detect_every=max(1, round(DETECT_EVERY_SECONDS * reader.frames_per_second)))
    predictor = VideoPredictor(model, settings, tracker, tta=options.tta, smoothing_seconds=options.smoothing)
    frames: Iterable[Frame] = reader
    if options.seconds is not None:
        frames = itertools.takewhile(lambda frame: frame.seconds < options.seconds, reader)
    with contextlib.closing(read_ahead(frames)) as ahead:
        for frame in ahead:
            yield frame, predictor.see(frame)


def _annotator(stack: ExitStack, path: Path | None, reader: FrameReader) -> Any:
    """What takes each frame with its faces; nothing comes of it without a path."""
    if path is None:
        return lambda _: None
    from fer_tasks.annotation import draw_face

    writer = FrameWriter(path, reader.frames_per_second, reader.size)
    stack.callback(writer.close)

    def write(seen: tuple[Frame, list[SeenFace]]) -> None:
        frame, faces = seen
        for face in faces:
            draw_face(frame.picture, face.box, face.probabilities, f"{face.track} {EMOTIONS[face.emotion]}")
        writer.write(frame.picture)

    behind = WriteBehind(write)
    stack.callback(behind.close)
    return behind
