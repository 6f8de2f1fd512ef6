"""How a Spark task lets the champion predict: batches of the plan -> a row an image, scored or refused."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_tasks.cpu_model import CpuModel, crop_side
from fer_tasks.data_profile import MEASURES
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE, NUM_EMOTIONS, NUM_PIXELS, PROBABILITIES
from fer_tasks.face_filters import prepare_face
from fer_tasks.face_rows import FaceRow
from fer_tasks.image_decoding import measure
from fer_tasks.inference_network import inference_network
from fer_tasks.model import choose_precision, import_keras, load_model
from fer_tasks.scored_model import ScoredModel
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_source import ImageSource, read_images
from fer_tasks.views import predict_views

PLANNED = "position bigint, path string, file_version string, member binary"
ANSWERS = pa.schema(
    {
        "path": pa.string(),
        "image_id": pa.string(),
        "emotion": pa.string(),
        "confidence": pa.float32(),
        **dict.fromkeys(PROBABILITIES, pa.float32()),
        **dict.fromkeys(MEASURES, pa.float64()),
        "reason": pa.string(),
        "file_version": pa.string(),
        "position": pa.int64(),
    }
)
"""A row an image. `reason` is null for a scored one, all from `emotion` to the measures for a refused one."""

Batches = Iterable[pa.RecordBatch]


def face_scorer(
    source: ImageSource, model_file: str, model: ScoredModel, settings: ScoringSettings
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """For mapInArrow: batches of PLANNED -> batches of ANSWERS, in the same order.

    model_file: a path that every worker can read; its export to int8, where that is asked for, has the suffix .tflite.
    """

    def score(batches: Batches) -> Iterator[pa.RecordBatch]:
        network = network_of_worker(model_file, settings.precision)
        for batch in batches:
            listed = batch.to_pylist()
            rows = read_images(source, listed, max_megapixels=settings.max_image_megapixels)
            answered = score_batch(rows, network, model, settings)
            versions = pa.array([row["file_version"] for row in listed], pa.string())
            yield answered.append_column("file_version", versions).select(ANSWERS.names)

    return score


@cache
def network_of_worker(model_file: str, precision: str) -> Any:
    """Loaded once a process, which Spark keeps for later tasks. On one thread: Spark has a task a core.

    In int8 without TensorFlow, whose import takes longer than a thousand answers.
    """
    file = Path(model_file)
    if precision == "int8":
        return CpuModel(file.with_suffix(".tflite"), crop_side=crop_side(file))
    import_keras()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # where something was computed before, as in a test
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
    return inference_network(load_model(file), choose_precision(precision))


def score_batch(rows: Iterable[FaceRow], network: Any, model: ScoredModel, settings: ScoringSettings) -> pa.RecordBatch:
    """Columns of ANSWERS without file_version. Each image is reduced to a face as it is read, so that one large image
    is held at a time."""
    answers: list[dict[str, Any]] = []
    faces: list[NDArray[np.float32]] = []
    for row in rows:
        answer = {"path": row.source, "position": row.position, **_described(row)}
        answer["reason"] = refusal(row, settings.min_image_side)
        if answer["reason"] is None and row.image is not None:
            faces.append(prepare_face(row.image.pixels, model.filters))
        answers.append(answer)
    probabilities = iter(_probabilities(faces, network, model, tta=settings.test_time_augmentation))
    for answer in answers:
        if answer["reason"] is None:
            answer |= _scores(next(probabilities))
        else:
            answer |= dict.fromkeys(MEASURES)
    return pa.RecordBatch.from_pylist(answers, schema=ANSWERS.remove(ANSWERS.get_field_index("file_version")))


def refusal(row: FaceRow, min_image_side: int) -> str | None:
    """Why the image is no face to score, in words; None where it is one. The rules are those of training."""
    if row.image is None:
        return " ".join((row.decode_error or "").split())[:300]
    pixels = row.image.pixels
    height, width = pixels.shape
    if height == 1 and width > 1:  # a line of a CSV: see face_rows
        return f"expected {NUM_PIXELS} pixels ({IMAGE_SIDE}x{IMAGE_SIDE}), got {width}"
    if min(height, width) < min_image_side:
        return f"{width}x{height} pixels, smallest side allowed: {min_image_side}"
    if pixels.min() == pixels.max():
        return f"constant image: every pixel has grey level {pixels.min()}"
    return None


def _described(row: FaceRow) -> dict[str, Any]:
    if row.image is None:
        return {"image_id": row.image_id}
    measured = measure(row.image.pixels[None])
    values = {column: float(getattr(measured, measure_name)[0]) for column, measure_name in MEASURES.items()}
    return {"image_id": row.image_id, **values}


def _probabilities(
    faces: Sequence[NDArray[np.float32]], network: Any, model: ScoredModel, *, tta: bool
) -> NDArray[np.float32]:
    """float32 (n, 7), columns in EMOTIONS order, whatever order the model has them in."""
    if not faces:
        return np.empty((0, NUM_EMOTIONS), np.float32)
    answered: NDArray[np.float32] = predict_views(network, np.stack(faces)[..., None], tta=tta).mean(axis=0)
    return answered[:, [model.emotions.index(emotion) for emotion in EMOTIONS]]


def _scores(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {
        "emotion": EMOTIONS[best],
        "confidence": float(probabilities[best]),
        **dict(zip(PROBABILITIES, probabilities.tolist(), strict=True)),
    }
