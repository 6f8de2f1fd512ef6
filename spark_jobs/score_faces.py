"""score_faces: the champion's emotions of every planned image, and the images that it cannot be asked about.

    spark-submit spark_jobs/score_faces.py --run-dir runs/<slug>

Needs the plan and the champion's file of the run, which plan_scoring leaves. Images and run folder must stand at the
same path on the driver and on every executor. The same images and model give the same tables on any number of cores,
to the rounding of the arithmetic.
"""

import logging
import math
from datetime import datetime
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from fer_tasks import scoring_plan
from fer_tasks.data_profile import MEASURES
from fer_tasks.emotions import PROBABILITIES
from fer_tasks.face_scoring import ANSWERS, PLANNED, face_scorer
from fer_tasks.run_directory import utc_now
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.spark_runtime import run_job, spark_session

log = logging.getLogger(__name__)

IMAGES_A_TASK = 2000
"""At most: some seconds of work, so that a lost executor costs little. Fewer where cores would be left without."""

SCORES = ("path", "image_id", "emotion", "confidence", *PROBABILITIES, *MEASURES, "file_version", "position")
REFUSED = ("path", "image_id", "reason", "file_version", "position")


def read_plan(spark: SparkSession, run_dir: ScoringDirectory, *, num_images: int) -> DataFrame:
    """The planned images in their order, cut into equal parts, as many as every core gets equally many of."""
    cores = spark.sparkContext.defaultParallelism
    num_tasks = cores * max(1, math.ceil(num_images / (cores * IMAGES_A_TASK)))
    part = F.floor(F.col("position") * num_tasks / max(num_images, 1)).cast("int")
    planned = spark.read.schema(PLANNED).parquet(str(run_dir.plan))
    return planned.repartitionById(num_tasks, part).sortWithinPartitions("position")


def score(planned: DataFrame, run_dir: ScoringDirectory) -> DataFrame:
    """A row a planned image, of ANSWERS."""
    plan, settings = scoring_plan.load(run_dir), ScoringSettings.load(run_dir)
    scorer = face_scorer(plan.source, str(run_dir.champion_model), plan.model, settings)
    return planned.mapInArrow(scorer, from_arrow_schema(ANSWERS))


def scores_of(answered: DataFrame, scored_at: datetime) -> DataFrame:
    """The table scores: a row an image that the champion has predicted."""
    return answered.where(F.col("reason").isNull()).select(*SCORES, F.lit(scored_at).alias("scored_at"))


def refusals_of(answered: DataFrame, scored_at: datetime) -> DataFrame:
    """The table refused: a row an image that could not be scored, with the reason."""
    return answered.where(F.col("reason").isNotNull()).select(*REFUSED, F.lit(scored_at).alias("scored_at"))


def main(run_dir_path: str) -> None:
    run_dir = ScoringDirectory(run_dir_path)
    with run_dir.attempt("score_faces"):
        spark = spark_session("score_faces")
        settings = ScoringSettings.load(run_dir)
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(settings.batch_rows))
        planned = read_plan(spark, run_dir, num_images=scoring_plan.load(run_dir).num_planned)
        answered = score(planned, run_dir).persist(StorageLevel.MEMORY_AND_DISK)
        scored_at = datetime.fromisoformat(utc_now())
        num_scored = _write(scores_of(answered, scored_at), run_dir, run_dir.scores)
        num_refused = _write(refusals_of(answered, scored_at), run_dir, run_dir.refused)
        answered.unpersist()
        log.info("%d images scored, %d refused", num_scored, num_refused)


def _write(table: DataFrame, run_dir: ScoringDirectory, path: Path) -> int:
    """Number of rows, counted while writing."""
    counts = Observation(path.stem)
    with run_dir.replacing(path) as folder:
        table.observe(counts, F.count(F.lit(1)).alias("rows")).write.parquet(str(folder))
        num_rows: int = counts.get["rows"]
    return num_rows


if __name__ == "__main__":
    run_job(main)
