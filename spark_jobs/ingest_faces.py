"""ingest_dataset: decode, hash and measure every image of the data set, also the unreadable ones, into raw_faces.

    spark-submit spark_jobs/ingest_faces.py --run-dir runs/<slug>

Data set and run folder must stand at the same path on the driver and on every executor.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from fer_tasks import dataset_archive, face_rows
from fer_tasks.dataset_csv import CsvColumns, cut
from fer_tasks.dataset_source import DatasetSource, fingerprint, open_dataset, printable
from fer_tasks.errors import DatasetError
from fer_tasks.ingestion import Ingestion
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import run_job, spark_session

log = logging.getLogger(__name__)


def read_images(spark: SparkSession, source: DatasetSource, *, max_megapixels: int) -> DataFrame:
    """One measured row a member of an image folder or zip, in their order."""

    def decode(parts: Iterable[Any]) -> Iterator[Any]:
        positions = (position for part in parts for position in part["id"].to_pylist())
        return face_rows.batches(face_rows.image_rows(source, positions, max_megapixels=max_megapixels))

    num_images = len(source.members)
    num_tasks = math.ceil(num_images / _amount_a_task(spark, num_images, least=500, most=20_000))
    return spark.range(0, num_images, 1, num_tasks).mapInArrow(decode, face_rows.MEASURED)


def read_csv(spark: SparkSession, path: Path, columns: CsvColumns) -> DataFrame:
    """One measured row a line of a CSV file that is not blank, in their order."""
    chunk_bytes = _amount_a_task(spark, path.stat().st_size, least=4 * 2**20, most=64 * 2**20)
    chunks = cut(path, chunk_bytes=chunk_bytes)

    def parse(parts: Iterable[Any]) -> Iterator[Any]:
        wanted = (chunks[index] for part in parts for index in part["id"].to_pylist())
        return face_rows.batches(chain.from_iterable(face_rows.csv_rows(path, columns, chunk) for chunk in wanted))

    return spark.range(0, len(chunks), 1, max(len(chunks), 1)).mapInArrow(parse, face_rows.MEASURED)


def name_usage_and_label(
    measured: DataFrame, *, usage_names: Mapping[str, str], label_names: Mapping[str, int]
) -> DataFrame:
    """The table raw_faces: `usage` and `label` where the data set's spelling is known, null elsewhere."""
    return measured.select(
        "position",
        "source",
        "image_id",
        "usage_text",
        "label_text",
        _look_up(usage_names, F.col("usage_text")).alias("usage"),
        _look_up(label_names, F.col("label_text")).cast("int").alias("label"),
        "height",
        "width",
        "channels",
        (F.col("height") * F.col("width")).alias("num_pixels"),
        "minimum",
        "maximum",
        "mean",
        "standard_deviation",
        "sharpness",
        "decode_error",
        "pixels",
    )


def ingest(run_dir: RunDirectory) -> Ingestion:
    """Write raw_faces and return its record. Raises DatasetError when the data set cannot be read or has no image."""
    clock = time.monotonic()
    settings = run_dir.load_settings()
    source = _draw_sample(run_dir, settings) if settings.is_sample else open_dataset(settings.dataset)
    log.info("%s: %s, %d files ignored", source.path, source.kind, len(source.ignored))
    with ThreadPoolExecutor(max_workers=1) as pool:
        digest = pool.submit(fingerprint, source)
        measured = _read(run_dir, source=source, max_megapixels=settings.max_image_megapixels)
        num_images, num_undecodable = _write(measured, run_dir, source)
        dataset_sha256 = digest.result()
    log.info("%d images, %d of them undecodable", num_images, num_undecodable)
    return Ingestion(
        kind="sample" if settings.is_sample else source.kind.replace("zipped_csv", "zip"),
        path="sample" if settings.is_sample else str(source.path),
        dataset_sha256=dataset_sha256,
        num_images=num_images,
        num_undecodable=num_undecodable,
        num_ignored_files=len(source.ignored),
        ignored_examples=tuple(map(printable, source.ignored[:10])),
        seconds=time.monotonic() - clock,
    )


def main(run_dir_path: str) -> None:
    """Run the step in a run's folder. Raises DatasetError, leaving neither raw_faces nor its record behind."""
    run_dir = RunDirectory(run_dir_path)
    with run_dir.attempt("ingest_dataset"):
        run_dir.save_json(run_dir.ingestion_json, ingest(run_dir))


def _draw_sample(run_dir: RunDirectory, settings: RunSettings) -> DatasetSource:
    from fer_tasks.sample_faces import write_sample

    with run_dir.replacing(run_dir.sample_folder) as folder:
        write_sample(folder, num_images=settings.sample_images, seed=settings.seed)
    return open_dataset(str(run_dir.sample_folder))


def _read(run_dir: RunDirectory, *, source: DatasetSource, max_megapixels: int) -> DataFrame:
    spark = spark_session("ingest_dataset")
    if source.columns is None:
        return read_images(spark, source, max_megapixels=max_megapixels)
    if source.kind == "zipped_csv":
        source = _unpack(run_dir, source)
    return read_csv(spark, source.path, source.columns)


def _unpack(run_dir: RunDirectory, source: DatasetSource) -> DatasetSource:
    """Spark's tasks read a CSV from the middle, which a compressed one does not allow."""
    with run_dir.replacing(run_dir.unpacked_folder, is_scratch=True) as folder:
        folder.mkdir()
        name = dataset_archive.extract(source.path, source.members[0], folder).name
    return replace(source, path=run_dir.unpacked_folder / name)


def _write(measured: DataFrame, run_dir: RunDirectory, source: DatasetSource) -> tuple[int, int]:
    """Write raw_faces; (number of images, of undecodable ones), counted while writing."""
    counts = Observation("counts")
    named = name_usage_and_label(measured, usage_names=source.usage_names(), label_names=source.label_names())
    faces = named.observe(counts, F.count(F.lit(1)).alias("images"), F.count("decode_error").alias("undecodable"))
    with run_dir.replacing(run_dir.raw_faces) as folder:
        faces.write.parquet(str(folder))
        num_images = counts.get["images"]
        if not num_images:
            raise DatasetError("The data set holds no image; expected a line or a file a face. Give another one.")
    run_dir.remove(run_dir.unpacked_folder)
    return num_images, counts.get["undecodable"]


def _amount_a_task(spark: SparkSession, total: int, *, least: int, most: int) -> int:
    """Share of `total` for one task: two tasks a core, unless they got too small or too large."""
    return min(most, max(least, math.ceil(total / (2 * spark.sparkContext.defaultParallelism))))


def _look_up(names: Mapping[str, Any], text: Column) -> Column:
    """The value under the trimmed, lower-case text; null where there is none."""
    table = F.create_map(*(F.lit(item) for pair in names.items() for item in pair))
    return F.try_element_at(table, F.lower(F.trim(text)))


if __name__ == "__main__":
    run_job(main)
