"""What preprocess_faces leaves, and what that depends on."""

from dataclasses import dataclass
from typing import Any

from fer_tasks.result_basis import ReusableStep
from fer_tasks.reuse import results_of

SETTINGS_READ = (
    "seed",
    "validation_share",
    "drop_leaked",
    "denoise",
    "contrast",
    "balance_emotions",
    "max_copies",
)


PREPROCESS_FACES = ReusableStep(
    name="preprocess_faces",
    module="spark_jobs.preprocess_faces",
    settings=SETTINGS_READ,
    inputs=results_of("ingest_dataset", "check_data_quality"),
    artefacts=("faces", "preprocessing_json"),
)


@dataclass(frozen=True)
class Preprocessing:
    """Record preprocessing.json: what became of every image, split by split.

    images_read = quarantined + all excluded + all faces written - augmented_copies.
    roles: {published usage: split}. faces_per_split counts the copies, which are all in train.
    shared_by_evaluation_splits: different pictures that stand in both validation and test.
    bytes_per_pixel: of the Parquet files, over all pixels written.
    """

    images_read: int
    quarantined: int
    excluded: dict[str, int]
    roles: dict[str, str]
    validation_is_carved: bool
    faces_per_split: dict[str, int]
    faces_per_split_and_emotion: dict[str, dict[str, int]]
    augmented_copies: int
    shared_by_evaluation_splits: int
    bytes_per_pixel: float
    settings: dict[str, Any]
