"""Ingesting FER-2013's CSV: ours against a Python UDF a row, and against pandas with OpenCV in one process.

    python benchmarks/csv_ingestion.py [--csv fer2013.csv] [--rows 8000]

Without --csv, faces of noise are written in the same form. Each way turns pixel text into pixels, measures every face
(minimum, maximum, mean, deviation, sharpness) and writes Parquet. Times are from a warm SparkSession, the best of two.
The last line is JSON: how many times as fast ours is.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.spark_runtime import SPARK_CONF, submit_environment  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--rows", type=int, default=8000, help="of the CSV of noise")
    options = parser.parse_args()
    os.environ.update(submit_environment())
    with tempfile.TemporaryDirectory() as folder:
        csv = options.csv or write_noise(Path(folder) / "noise.csv", options.rows)
        compare(csv, Path(folder))


def compare(csv: Path, folder: Path) -> None:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]")
    for key, value in SPARK_CONF.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: ours(csv, folder / "ours"),
        "a Python UDF a row": lambda: row_udf(spark, csv, folder / "udf"),
        "pandas and OpenCV": lambda: single_process(csv, folder / "pandas.parquet"),
    }
    seconds = {name: min(timed(way) for _ in range(2)) for name, way in ways.items()}
    spark.stop()
    for name, value in seconds.items():
        print(f"{name:<20} {value:8.2f} s")
    print(
        json.dumps(
            {
                "speedup_over_row_udf": round(seconds["a Python UDF a row"] / seconds["ours"], 2),
                "speedup_over_pandas": round(seconds["pandas and OpenCV"] / seconds["ours"], 2),
            }
        )
    )


def timed(way: Callable[[], None]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def write_noise(path: Path, rows: int) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (rows, 48 * 48))
    with path.open("w") as file:
        file.write("emotion,pixels,Usage\n")
        for number, row in enumerate(pixels):
            file.write(f"{number % 7},{' '.join(map(str, row))},{'PublicTest' if number % 10 == 0 else 'Training'}\n")
    return path


def ours(csv: Path, folder: Path) -> None:
    from spark_jobs.ingest_faces import ingest

    run_dir = RunDirectory(folder)
    run_dir.save_json(run_dir.settings_json, RunSettings(dataset=str(csv)).to_params())
    ingest(run_dir)


def row_udf(spark: object, csv: Path, folder: Path) -> None:
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, FloatType

    parse = F.udf(lambda text: [float(value) for value in text.split()], ArrayType(FloatType()))
    measure = F.udf(lambda values: measured(np.array(values, np.uint8).reshape(48, 48)), ArrayType(FloatType()))
    table = spark.read.csv(str(csv), header=True)  # type: ignore[attr-defined]
    faces = table.withColumn("values", parse("pixels")).drop("pixels").withColumn("measured", measure("values"))
    faces.write.mode("overwrite").parquet(str(folder))


def single_process(csv: Path, path: Path) -> None:
    table = pd.read_csv(csv)
    faces = [np.array(text.split(), np.uint8).reshape(48, 48) for text in table["pixels"]]
    table["measured"] = [measured(face) for face in faces]
    table["values"] = [face.tobytes() for face in faces]
    table.drop(columns="pixels").to_parquet(path)


def measured(face: np.ndarray) -> list[float]:
    laplacian = cv2.Laplacian(face, cv2.CV_64F)
    return [float(value) for value in (face.min(), face.max(), face.mean(), face.std(), laplacian.var())]


if __name__ == "__main__":
    main()
