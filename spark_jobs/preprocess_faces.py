"""preprocess_faces: turn the usable images of raw_faces into what the model sees, one Parquet folder a split.

    spark-submit spark_jobs/preprocess_faces.py --run-dir runs/<slug>

Content and order depend on the data, the settings and their seed alone, not on the number of cores.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from fer_tasks.cleaning import EXCLUSION_REASONS, SplitRoles, split_roles
from fer_tasks.emotions import EMOTIONS, NUM_PIXELS, SPLITS
from fer_tasks.errors import DatasetError
from fer_tasks.faces_table import face_writer
from fer_tasks.preprocessing import SETTINGS_READ, Preprocessing
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import run_job, spark_session

log = logging.getLogger(__name__)

RAW_FACES = (
    "position bigint, image_id string, source string, usage string, label int, height int, width int, pixels binary"
)
FACES = "image_id string, label int, augmentation string, split string"

POSITIONS_A_FILE = 8192
"""Fixed, so that the files are the same on every machine; about 19 MB of faces."""

STALE = "Clear check_data_quality and let it run again: its tables do not belong to this raw_faces."


def assign_splits(images: DataFrame, roles: SplitRoles, *, validation_share: float, seed: int) -> DataFrame:
    """Adds `split`. Where no usage is the validation split, it is taken out of Training."""
    names = F.create_map(*(F.lit(item) for pair in roles.by_usage().items() for item in pair))
    split = F.element_at(names, F.col("usage"))
    if roles.validation is not None:
        return images.withColumn("split", split)
    chosen = choose_validation(images.where(split == "train"), share=validation_share, seed=seed)
    return images.join(F.broadcast(chosen.withColumn("is_chosen", F.lit(True))), "image_id", "left").withColumn(
        "split", F.when((split == "train") & F.col("is_chosen"), "validation").otherwise(split)
    )


def choose_validation(training: DataFrame, *, share: float, seed: int) -> DataFrame:
    """Column image_id: of each emotion `share` of its different pictures, one at least and never all of them.

    Images with equal pixels are chosen together, under the lowest of their labels where these differ.
    """
    pictures = training.groupBy("image_id").agg(F.min("label").alias("label"))
    of_label = Window.partitionBy("label")
    wanted = F.greatest(F.lit(1), F.round(F.count("*").over(of_label) * share))
    return (
        pictures.withColumn("wanted", F.least(wanted, F.count("*").over(of_label) - 1))
        .withColumn("rank", F.row_number().over(of_label.orderBy(_lot(seed, "validation"), "image_id")))
        .where(F.col("rank") <= F.col("wanted"))
        .select("image_id")
    )


def add_copies(images: DataFrame, *, num_positions: int, max_copies: int, seed: int) -> DataFrame:
    """Repeats training images until each emotion is as frequent as the largest, or has max_copies of each image.

    `copy_number` is 0 for an original and counts its repetitions from 1; each lies num_positions after the one before.
    """
    training = images.where(F.col("split") == "train").select("position", "image_id", "label")
    sizes = {row["label"]: row["count"] for row in training.groupBy("label").count().collect()}
    if not sizes:
        return images.withColumn("copy_number", F.lit(0))
    missing = {label: max(sizes.values()) - size for label, size in sizes.items()}
    every = F.create_map(*(F.lit(item) for label, size in sizes.items() for item in (label, missing[label] // size)))
    extra = F.create_map(*(F.lit(item) for label, size in sizes.items() for item in (label, missing[label] % size)))
    rank = F.row_number().over(Window.partitionBy("label").orderBy(_lot(seed, "copies"), "position"))
    label = F.col("label")
    copies = training.select(
        "position",
        F.least(F.lit(max_copies), every[label] + (rank <= extra[label]).cast("int")).alias("copies"),
    ).where(F.col("copies") > 0)
    numbers = F.sequence(F.lit(0), F.coalesce("copies", F.lit(0)))
    repeated = images.join(F.broadcast(copies), "position", "left").withColumn("copy_number", F.explode(numbers))
    return repeated.withColumn("position", F.col("position") + F.col("copy_number") * num_positions)


def write_faces(images: DataFrame, folder: Path, settings: RunSettings, *, num_positions: int) -> None:
    """Write the table faces: in each split's folder files ordered by name, and rows in them, by position."""
    num_files = math.ceil(num_positions / POSITIONS_A_FILE)
    columns = ["position", "image_id", "source", "label", "copy_number", "height", "width", "pixels", "split"]
    (
        images.select(columns)
        .repartitionById(num_files, F.floor(F.col("position") / POSITIONS_A_FILE).cast("int"))
        .sortWithinPartitions("position")
        .mapInArrow(face_writer(str(folder), settings), "split string")
        .count()
    )


def _lot(seed: int, purpose: str) -> Column:
    """A number drawn for each picture; the same in every run with this seed."""
    return F.sha2(F.concat(F.lit(f"{seed}:{purpose}:"), F.col("image_id")), 256)


@dataclass(frozen=True)
class Intake:
    """What came in. num_positions is one more than the highest position."""

    images_read: int
    num_positions: int
    quarantined: int
    excluded: dict[str, int]
    roles: SplitRoles


def take_in(run_dir: RunDirectory) -> Intake:
    """Count what raw_faces, quarantine and exclusions hold."""
    schema = pa.schema({"position": pa.int64(), "usage": pa.string()})
    images = ds.dataset(str(run_dir.raw_faces), schema=schema, format="parquet").to_table()
    reasons = pq.read_table(run_dir.exclusions, columns=["reason"])["reason"].to_pandas().value_counts()
    return Intake(
        images_read=images.num_rows,
        num_positions=1 + (pc.max(images["position"]).as_py() or 0),
        quarantined=pq.read_metadata(run_dir.quarantine).num_rows,
        excluded={reason: int(reasons.get(reason, 0)) for reason in EXCLUSION_REASONS},
        roles=split_roles(images["usage"].unique().to_pylist()),
    )


def drop_cleaned(raw: DataFrame, intake: Intake, run_dir: RunDirectory) -> DataFrame:
    """The images that neither quarantine nor exclusions name.

    Raises DatasetError when nothing is left, or when the three tables do not belong together.
    """
    tables = [
        raw.sparkSession.read.schema("source string").parquet(str(run_dir.quarantine)),
        raw.sparkSession.read.schema("source string").parquet(str(run_dir.exclusions)),
    ]
    usable = raw.join(F.broadcast(tables[0].unionByName(tables[1])), "source", "left_anti")
    is_unfit = F.col("label").isNull() | F.col("usage").isNull() | F.col("height").isNull()
    found = usable.agg(F.count("*").alias("left"), F.count_if(is_unfit).alias("unfit")).first()
    expected = intake.images_read - intake.quarantined - sum(intake.excluded.values())
    if found["left"] != expected or found["unfit"]:
        raise DatasetError(
            f"Expected {expected:,} usable images after cleaning, got {found['left']:,}; {found['unfit']:,} have no "
            f"pixels, label or split. {STALE}"
        )
    if not expected:
        raise DatasetError("Cleaning leaves no image; expected some of each split. See the reasons in the quarantine.")
    return usable


def preprocess(spark: SparkSession, run_dir: RunDirectory) -> Preprocessing:
    """Write faces and return its record. Raises DatasetError when a split is empty or a training image leaked."""
    settings = run_dir.load_settings()
    raw = spark.read.schema(RAW_FACES).parquet(str(run_dir.raw_faces))
    intake = take_in(run_dir)
    images = assign_splits(
        drop_cleaned(raw, intake, run_dir), intake.roles, validation_share=settings.validation_share, seed=settings.seed
    )
    num_positions = intake.num_positions
    if settings.balance_emotions:
        images = add_copies(images, num_positions=num_positions, max_copies=settings.max_copies, seed=settings.seed)
        num_positions *= 1 + settings.max_copies
    else:
        images = images.withColumn("copy_number", F.lit(0))
    with run_dir.replacing(run_dir.faces) as folder:
        write_faces(images, folder, settings, num_positions=num_positions)
        # by its subfolders, since Spark warns of a path whose name starts with a dot
        written = spark.read.schema(FACES).option("basePath", str(folder)).parquet(*map(str, folder.glob("split=*")))
        return _record(written, folder, intake=intake, settings=settings)


def _record(written: DataFrame, folder: Path, *, intake: Intake, settings: RunSettings) -> Preprocessing:
    cells = written.groupBy("split", "label").agg(F.count("*").alias("faces"), F.count("augmentation").alias("copies"))
    table = {split: dict.fromkeys(EMOTIONS, 0) for split in SPLITS}
    num_copies = 0
    for cell in cells.collect():
        table[cell["split"]][EMOTIONS[cell["label"]]] = cell["faces"]
        num_copies += cell["copies"]
    faces_per_split = {split: sum(emotions.values()) for split, emotions in table.items()}
    _check_not_empty(faces_per_split)
    num_bytes = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    return Preprocessing(
        images_read=intake.images_read,
        quarantined=intake.quarantined,
        excluded=intake.excluded,
        roles=intake.roles.by_usage(),
        validation_is_carved=intake.roles.validation is None,
        faces_per_split=faces_per_split,
        faces_per_split_and_emotion=table,
        augmented_copies=num_copies,
        shared_by_evaluation_splits=_shared_pictures(written, drop_leaked=settings.drop_leaked),
        bytes_per_pixel=num_bytes / (sum(faces_per_split.values()) * NUM_PIXELS),
        settings={name: getattr(settings, name) for name in SETTINGS_READ},
    )


def _check_not_empty(faces_per_split: dict[str, int]) -> None:
    if empty := [split for split, num_faces in faces_per_split.items() if not num_faces]:
        raise DatasetError(
            f"No face is left for {' and '.join(empty)}; expected some in each of {', '.join(SPLITS)}. "
            "Add images, or keep more of them with the Data quality settings."
        )


def _shared_pictures(written: DataFrame, *, drop_leaked: bool) -> int:
    """Pictures in both validation and test. Raises DatasetError when training shares one that should be dropped."""
    in_split = [F.max(F.col("split") == split).alias(split) for split in SPLITS]
    both = F.col("validation") & F.col("test")
    leaks = F.col("train") & (F.col("validation") | F.col("test"))
    found = written.groupBy("image_id").agg(*in_split).agg(F.count_if(both), F.count_if(leaks)).first()
    if drop_leaked and found[1]:
        raise DatasetError(f"{found[1]:,} pictures stand in train and in an evaluation split. {STALE}")
    return int(found[0])


def main(run_dir_path: str) -> None:
    run_dir = RunDirectory(run_dir_path)
    with run_dir.attempt("preprocess_faces"):
        record = preprocess(spark_session("preprocess_faces"), run_dir)
        run_dir.save_json(run_dir.preprocessing_json, record)
        log.info("%s faces written, %.2f bytes a pixel", record.faces_per_split, record.bytes_per_pixel)


if __name__ == "__main__":
    run_job(main)
