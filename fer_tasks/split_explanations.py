"""The explanations of many faces as Arrow batches, and how a Spark task computes them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.explained_network import ExplainedNetwork, network_to_explain
from fer_tasks.face_regions import region_names
from fer_tasks.model import import_keras, load_model
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.settings import RunSettings
from fer_tasks.surrogates import surrogates

_KEPT = {"position": pa.int64(), "image_id": pa.string(), "source": pa.string(), "label": pa.int32()}
_EVIDENCE = (
    "held_out_r2",
    "top5_overlap",
    "rank_correlation",
    "weight_correlation",
    "deletion",
    "insertion",
    "random_order",
    "gradient_agreement",
)
EXPLANATIONS = pa.schema(
    {
        **_KEPT,
        "predicted": pa.int32(),
        "probability": pa.float64(),
        "prediction": pa.float64(),
        "r2": pa.float64(),
        "region_names": pa.list_(pa.string()),
        "weights": pa.list_(pa.float64()),
        **dict.fromkeys(_EVIDENCE, pa.float64()),
        "is_reliable": pa.bool_(),
        "doubts": pa.list_(pa.string()),
    }
)
"""A row a face, for the emotion that it is taken for; the fields are those of `Surrogate` and its `Evidence`."""


def face_explainer(model: str, settings: RunSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For mapInArrow: batches of the table faces -> batches of EXPLANATIONS.

    model: path of a model file that every worker can read.
    """

    def explain(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        network = network_of_worker(model, settings.precision)
        for batch in batches:
            yield explain_batch(batch, network, settings)

    return explain


@cache
def network_of_worker(model: str, precision: str) -> ExplainedNetwork:
    """Loaded once a process, which Spark keeps for later tasks. On one thread: Spark has a task a core."""
    import_keras()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # where something was computed before, as in a test
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
    return network_to_explain(load_model(Path(model)), precision, num_threads=1)


def explain_batch(batch: pa.RecordBatch, network: ExplainedNetwork, settings: RunSettings) -> pa.RecordBatch:
    """batch: `position`, `image_id`, `source`, `label` and `pixels` of the table faces."""
    faces = np.array(batch.column("pixels").to_pylist(), np.float32).reshape(-1, IMAGE_SIDE, IMAGE_SIDE)
    labels = network.probabilities(faces[..., None]).argmax(axis=1).tolist()
    rows = [_row(face, label, network, settings) for face, label in zip(faces, labels, strict=True)]
    kept = batch.select(list(_KEPT)).to_pylist()
    return pa.RecordBatch.from_pylist([old | new for old, new in zip(kept, rows, strict=True)], schema=EXPLANATIONS)


def _row(face: Any, label: int, network: ExplainedNetwork, settings: RunSettings) -> dict[str, Any]:
    around = Neighbourhood.of(face, network, settings)
    (surrogate,) = surrogates(around, [label], settings=settings)
    names = list(region_names(around.segments, settings))
    found = asdict(surrogate)
    evidence = found.pop("evidence")
    return {**found, **evidence, "predicted": EMOTIONS.index(surrogate.emotion), "region_names": names}
