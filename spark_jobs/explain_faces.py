"""explain_faces: LIME with its evidence for every face of a split, as one Parquet table. No step of the DAG.

    spark-submit spark_jobs/explain_faces.py --run-dir runs/<slug> [--split test]

Needs faces.parquet and model.keras of the run. The same data, settings and model give the same table on any number of
cores, to the rounding of the arithmetic.
"""

import logging
import math

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from fer_tasks.dataset import split_files
from fer_tasks.errors import TrainingError
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import run_job, spark_session
from fer_tasks.split_explanations import EXPLANATIONS, face_explainer

log = logging.getLogger(__name__)

FACES = "position bigint, image_id string, source string, label int, augmentation string, pixels array<float>"

FACES_A_TASK = 64
"""Some seconds of work: enough tasks to keep all cores busy to the end, and so few that starting them is cheap."""


def read_faces(spark: SparkSession, run_dir: RunDirectory, split: str) -> DataFrame:
    """The faces of a split as the model learned or judged them, without changed copies."""
    files = [str(file) for file in split_files(run_dir, split)]
    return spark.read.schema(FACES).parquet(*files).where(F.col("augmentation").isNull())


def explain(faces: DataFrame, model: str, settings: RunSettings, *, num_tasks: int) -> DataFrame:
    """A row a face, of EXPLANATIONS."""
    return (
        faces.select("position", "image_id", "source", "label", "pixels")
        .repartition(num_tasks, "position")
        .sortWithinPartitions("position")
        .mapInArrow(face_explainer(model, settings), from_arrow_schema(EXPLANATIONS))
    )


def main(run_dir_path: str, split: str = "test") -> None:
    run_dir = RunDirectory(run_dir_path)
    with run_dir.attempt("explain_faces"):
        if not run_dir.model.is_file():
            raise TrainingError(f"There is no model at {run_dir.model}; let train_model of this run finish first.")
        spark = spark_session("explain_faces")
        faces = read_faces(spark, run_dir, split)
        num_tasks = max(1, math.ceil(faces.count() / FACES_A_TASK))
        explained = explain(faces, str(run_dir.model), run_dir.load_settings(), num_tasks=num_tasks)
        target = run_dir.face_explanations / f"split={split}"
        with run_dir.replacing(target) as folder:
            explained.write.parquet(str(folder))
        written = spark.read.parquet(str(target))
        num_faces, reliable = written.agg(F.count("*"), F.count_if("is_reliable")).first()
        log.info("%d faces of %s explained, %d of them reliably: %s", num_faces, split, reliable, target)


if __name__ == "__main__":
    run_job(main, split=("test", "validation", "train"))
