"""check_data_quality: judge the measured images with Great Expectations, and say which of them are not used and why.

Reads the measurements of raw_faces, never the pixels. What is found is what is acted on: quarantine and exclusions
come from the same plan that the expectations judge, and preprocess_faces drops exactly these rows.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fer_tasks.cleaning import (
    EXCLUSION_REASONS,
    CleaningPlan,
    count_defects,
    count_per_split_and_emotion,
    plan_cleaning,
)
from fer_tasks.emotions import EMOTIONS, USAGES
from fer_tasks.errors import DataQualityError
from fer_tasks.expectation_outcome import ExpectationOutcome, judge, quiet_great_expectations
from fer_tasks.face_expectations import SUITE_NAME, face_expectations
from fer_tasks.ingestion import Ingestion
from fer_tasks.quality_table import quality_table
from fer_tasks.result_basis import ReusableStep
from fer_tasks.reuse import results_of, reuse_or_run
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

_log = logging.getLogger(__name__)

MEASUREMENTS_SCHEMA = pa.schema(
    {
        "position": pa.int64(),
        "source": pa.string(),
        "image_id": pa.string(),
        "usage_text": pa.string(),
        "label_text": pa.string(),
        "usage": pa.string(),
        "label": pa.int32(),
        "height": pa.int32(),
        "width": pa.int32(),
        "channels": pa.int32(),
        "num_pixels": pa.int32(),
        "minimum": pa.int32(),
        "maximum": pa.int32(),
        "mean": pa.float64(),
        "sharpness": pa.float64(),
        "decode_error": pa.string(),
    }
)
"""The columns of raw_faces that are judged."""

REASONS_SCHEMA = pa.schema({"image_id": pa.string(), "source": pa.string(), "reason": pa.string()})
"""Columns of quarantine and exclusions."""


@dataclass(frozen=True)
class DataQuality:
    """Record data_quality.json. Counts are of the images as they came; an image with an unknown split or label is in
    none of the images_per counts. exclusions: {reason: images}. blocking: sentences, empty when passed."""

    passed: bool
    blocking: list[str]
    counts: dict[str, int]
    images_per_split: dict[str, int]
    images_per_emotion: dict[str, int]
    images_per_split_and_emotion: dict[str, dict[str, int]]
    exclusions: dict[str, int]
    expectations: list[ExpectationOutcome]
    suite: str
    great_expectations_version: str
    settings: dict[str, Any]


SETTINGS_READ = (
    "dataset_sha256",
    "max_quarantine_share",
    "min_images_per_emotion",
    "min_image_side",
    "drop_leaked",
    "drop_duplicates",
    "drop_conflicting",
    "data_docs",
)

CHECK_DATA_QUALITY = ReusableStep(
    name="check_data_quality",
    module="fer_tasks.data_quality",
    settings=SETTINGS_READ,
    inputs=results_of("ingest_dataset"),
    artefacts=("quarantine", "exclusions", "data_docs_folder", "data_quality_json"),
)

_REMEDIES = {
    "images_present": "Check the setting dataset.",
    "quarantine_share": "quarantine.parquet lists them; repair the data set or raise max_quarantine_share.",
    "splits_present": "Add usable images for the missing ones.",
    "emotions_in_training": "Add usable training images of the missing ones.",
    "validation_possible": "Add training images.",
    "fingerprint": "Fetch the right data set, or change or empty the setting dataset_sha256.",
    "no_leak_after_cleaning": "The cleaning plan let a leak pass, which is a defect of this program; please report it.",
}


def load_measurements(raw_faces: Path) -> pd.DataFrame:
    """The judged columns of raw_faces in position order; texts stay in Arrow's memory, whole numbers with gaps are
    floats."""
    table = ds.dataset(str(raw_faces), schema=MEASUREMENTS_SCHEMA, format="parquet").to_table().sort_by("position")
    text = pd.ArrowDtype(pa.string())
    images: pd.DataFrame = table.to_pandas(types_mapper=lambda kind: text if kind == pa.string() else None)
    return images


def summarise(
    images: pd.DataFrame, plan: CleaningPlan, outcomes: list[ExpectationOutcome], settings: RunSettings
) -> DataQuality:
    """The record of the check."""
    import great_expectations as gx

    blocking = [
        _blocking_sentence(outcome, plan) for outcome in outcomes if outcome.severity == "block" and not outcome.passed
    ]
    usages, labels = images["usage"].value_counts(), images["label"].value_counts()
    excluded = pd.Series(plan.exclusion_reason, dtype=object).value_counts()
    return DataQuality(
        passed=not blocking,
        blocking=blocking,
        counts=count_defects(images, plan),
        images_per_split={usage: int(usages.get(usage, 0)) for usage in USAGES},
        images_per_emotion={emotion: int(labels.get(label, 0)) for label, emotion in enumerate(EMOTIONS)},
        images_per_split_and_emotion=count_per_split_and_emotion(images),
        exclusions={reason: int(excluded.get(reason, 0)) for reason in EXCLUSION_REASONS},
        expectations=outcomes,
        suite=SUITE_NAME,
        great_expectations_version=gx.__version__,
        settings={name: getattr(settings, name) for name in SETTINGS_READ},
    )


def _blocking_sentence(outcome: ExpectationOutcome, plan: CleaningPlan) -> str:
    words = f"{outcome.description} Found: {outcome.observed}."
    if outcome.name == "quarantine_share":
        reasons = pd.Series(plan.quarantine_reason, dtype=object).value_counts().head(3)
        words += " Most often: " + ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items()) + "."
    return f"{words} {_REMEDIES.get(outcome.name, 'Ingest the data set again.')}"


def run(run_dir: RunDirectory) -> DataQuality:
    """Write quarantine, exclusions and data_quality.json, or take over those of a former run that passed.

    Raises DataQualityError, when all is written, if the data set is refused.
    """
    reuse_or_run(CHECK_DATA_QUALITY, run_dir, lambda: _check(run_dir))
    return run_dir.load_json(run_dir.data_quality_json, DataQuality)


def _check(run_dir: RunDirectory) -> None:
    with run_dir.attempt("check_data_quality"):
        quiet_great_expectations()
        settings = run_dir.load_settings()
        images = load_measurements(run_dir.raw_faces)
        _log.info("Judging %s images", f"{len(images):,}")
        plan = plan_cleaning(images, settings)
        ingestion = run_dir.load_json(run_dir.ingestion_json, Ingestion)
        table = quality_table(images, plan, ingestion.dataset_sha256)
        outcomes = _judge_with_pages(run_dir, table, face_expectations(settings, plan.roles), settings.data_docs)
        quality = summarise(images, plan, outcomes, settings)
        _save_reasons(run_dir, run_dir.quarantine, images, plan.quarantine_reason)
        _save_reasons(run_dir, run_dir.exclusions, images, plan.exclusion_reason)
        run_dir.save_json(run_dir.data_quality_json, quality)
        _tell(quality)
        if not quality.passed:
            raise DataQualityError("The data set was refused. " + " ".join(quality.blocking))


def _judge_with_pages(
    run_dir: RunDirectory, table: pd.DataFrame, expectations: list[Any], data_docs: bool
) -> list[ExpectationOutcome]:
    if not data_docs:
        return judge(table, expectations, None)
    with run_dir.replacing(run_dir.data_docs_folder) as folder:
        return judge(table, expectations, folder)


def _save_reasons(run_dir: RunDirectory, path: Path, images: pd.DataFrame, reason: Any) -> None:
    chosen = images[["image_id", "source"]].assign(reason=reason)[pd.notna(reason)]
    with run_dir.replacing(path) as temporary:
        pq.write_table(pa.Table.from_pandas(chosen, schema=REASONS_SCHEMA, preserve_index=False), temporary)


def _tell(quality: DataQuality) -> None:
    for outcome in quality.expectations:
        if not outcome.passed:
            _log.info("%s: %s Found: %s.", outcome.severity, outcome.description, outcome.observed)
    counts, excluded = quality.counts, sum(quality.exclusions.values())
    _log.info("%s images, %s quarantined, %s left out of training", counts["images"], counts["quarantined"], excluded)
