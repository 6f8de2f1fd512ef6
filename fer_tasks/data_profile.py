"""data_profile.json: the few numbers by which a later run sees whether data or predictions have drifted.

They go to the registry with the run's other records, so they outlive the run's folder.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.run_directory import RunDirectory

NUM_BINS = 64
_GREATEST = {"brightness": 256.0, "contrast": 128.0, "sharpness": 100_000.0}
"""Above the mean and the standard deviation of grey levels 0..255, and above nearly every variance of a Laplacian."""

MEASURES = {"brightness": "mean", "contrast": "standard_deviation", "sharpness": "sharpness"}
"""What is told of an image, and what image_decoding calls the measurement."""


@dataclass(frozen=True)
class DataProfile:
    """Counts over a run's images.

    labels      images of each emotion, in EMOTIONS order, over all splits; those that could be read and have a known
                label and split
    measures    {brightness, contrast, sharpness: NUM_BINS counts of the same images between the fixed `edges`}
    predicted   test images that the run's model takes for each emotion, in EMOTIONS order
    """

    labels: tuple[int, ...]
    measures: dict[str, tuple[int, ...]]
    predicted: tuple[int, ...]


def edges(measure: str) -> NDArray[np.float64]:
    """The NUM_BINS + 1 edges of a measure's bins, the same in every run, so that two runs can be compared.

    Even steps; of sharpness, whose values span orders of magnitude, even steps of log(1 + x).
    """
    if measure == "sharpness":
        return np.expm1(np.linspace(0.0, np.log1p(_GREATEST[measure]), NUM_BINS + 1))
    return np.linspace(0.0, _GREATEST[measure], NUM_BINS + 1)


def run(run_dir: RunDirectory, predicted: NDArray[Any]) -> DataProfile:
    """Write data_profile.json. predicted: int (n,), what the model says of the test images. Counts of images are 0
    where raw_faces is not there any more."""
    import pyarrow.dataset as ds

    classes = np.bincount(predicted, minlength=NUM_EMOTIONS)
    labels, measures = np.zeros(NUM_EMOTIONS, np.int64), {name: np.zeros(NUM_BINS, np.int64) for name in MEASURES}
    if run_dir.raw_faces.exists():
        is_known = ds.field("decode_error").is_null() & ds.field("label").is_valid() & ds.field("usage").is_valid()
        faces = ds.dataset(str(run_dir.raw_faces), format="parquet")
        for batch in faces.to_batches(columns=["label", *MEASURES.values()], filter=is_known):
            labels += np.bincount(batch["label"].to_numpy(), minlength=NUM_EMOTIONS)
            for name, column in MEASURES.items():
                measures[name] += histogram(name, batch[column].to_numpy())
    profile = DataProfile(_whole(labels), {name: _whole(counts) for name, counts in measures.items()}, _whole(classes))
    run_dir.save_json(run_dir.data_profile_json, profile)
    return profile


def histogram(measure: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 (NUM_BINS,): how many values lie between the edges; those beyond the last edge count in the last bin."""
    bins = edges(measure)
    return np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0].astype(np.int64)


def _whole(counts: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(count) for count in counts)
