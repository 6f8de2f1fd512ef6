"""Ingest and preprocess faces in FER-2013's CSV form: ours, at any size, against plain PySpark and plain pandas.

    python benchmarks/preprocessing.py [--csv fer2013.csv] [--copies 10] [--master 'local[2]'] [--only-ours]
    python benchmarks/preprocessing.py [--csv fer2013.csv] [--copies 10] --workers 2 --only-ours

Without --csv, 8,000 faces of noise are written in the same form. --copies multiplies the faces: each copy has the
pixels of its original, rotated by its number, so that no two are duplicates. Each way turns pixel text into pixels,
measures every face, and writes pixels / 255 to Parquet, one folder a split; ours also looks for duplicates, leaks and
defects between the two steps, which is timed apart. Times are after the JVM's start. --workers starts a standalone
cluster whose workers have one processor each, to which they and what they start are bound; a first pass over the faces
as they came, not counted, warms its JVMs up. Peak memory is sampled twice a second: of all JVMs together (with
`local[n]` driver and executor are one), of the largest one, and of all Python workers together. The last line is JSON.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import psutil  # noqa: E402

from benchmarks.csv_ingestion import measured, timed, write_noise  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.spark_runtime import SPARK_CONF, package_archive, submit_environment  # noqa: E402
from launcher.processes import stop  # noqa: E402


class PeakMemory(threading.Thread):
    """Samples the processes below this one until stopped. jvm, workers: bytes at their highest, all together."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jvm = self.largest_jvm = self.workers = self.main = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.5):
            sizes = {"java": 0, "python": 0}
            for process in psutil.Process().children(recursive=True):
                try:
                    kind, size = "java" if "java" in process.name() else "python", process.memory_info().rss
                    sizes[kind] += size
                    self.largest_jvm = max(self.largest_jvm, size if kind == "java" else 0)
                except psutil.NoSuchProcess:
                    continue
            self.jvm, self.workers = max(self.jvm, sizes["java"]), max(self.workers, sizes["python"])
            self.main = max(self.main, psutil.Process().memory_info().rss)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--workers", type=int, help="of a cluster of its own, instead of --master")
    parser.add_argument("--bind", default="taskset --cpu-list {number}", help="the command that starts a worker's")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--folder", type=Path, help="for what is written; a disk with room for it")
    options = parser.parse_args()
    os.environ.update(submit_environment())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        csv = once = options.csv or write_noise(folder / "noise.csv", 8000)
        if options.copies > 1:
            csv = multiply(once, folder / "copies.csv", options.copies)
        with master(options, folder) as address, session(address) as spark:
            while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= (options.workers or 0):
                time.sleep(0.5)  # the driver is one of them
            if options.workers:
                ours(once, folder / "warm-up")
            found = ours(csv, folder / "run")
            if not options.only_ours:
                found["plain_pyspark_seconds"] = timed(lambda: row_udfs(spark, csv, folder / "udfs"))
        if not options.only_ours:
            found["plain_pandas_seconds"] = timed(lambda: single_process(csv, folder / "pandas"))
            work = found["ingest_seconds"] + found["preprocess_seconds"]
            for peer in ("pyspark", "pandas"):
                found[f"speedup_over_{peer}"] = found[f"plain_{peer}_seconds"] / work
    for field, value in found.items():
        print(f"{field:<28} {value:>14,.2f}")
    print(json.dumps({field: round(value, 3) for field, value in found.items()}))


@contextmanager
def master(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Its address."""
    if not options.workers:
        yield options.master
        return
    address, spark_class = f"spark://127.0.0.1:{free_port()}", str(Path(sys.executable).with_name("spark-class"))
    deploy, port = "org.apache.spark.deploy.", ["--port", address.rpartition(":")[2], "--webui-port", "0"]
    commands = [[spark_class, f"{deploy}master.Master", "--host", "127.0.0.1", *port]]
    for number in range(options.workers):
        size = ["--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(folder / "work")]
        bound = [*options.bind.format(number=number).split(), spark_class]
        commands.append([*bound, f"{deploy}worker.Worker", "--host", "127.0.0.1", *size, address])
    with (folder / "cluster.log").open("wb") as log:
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        yield address
    finally:
        stop(*processes)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def session(address: str) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(address).config("spark.submit.pyFiles", str(package_archive()))
    for key, value in SPARK_CONF.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.range(1).count()
    yield spark
    spark.stop()


def multiply(csv: Path, target: Path, copies: int) -> Path:
    """The whole file `copies` times, like faces far apart, each time with the pixels rotated by one more."""
    with target.open("w") as file:
        for copy in range(copies):
            with csv.open() as source:
                header = next(source)
                place = [name.strip() for name in header.split(",")].index("pixels")
                if not copy:
                    file.write(header)
                for line in source:
                    cells = line.rstrip("\n").split(",")
                    *first, rest = cells[place].strip('"').split(" ", copy)
                    cells[place] = " ".join([rest, *first])
                    file.write(",".join(cells) + "\n")
    return target


def ours(csv: Path, folder: Path) -> dict[str, float]:
    from fer_tasks import data_quality
    from spark_jobs import ingest_faces, preprocess_faces

    run_dir = RunDirectory(folder)
    settings = RunSettings(dataset=str(csv), reuse=False, max_quarantine_share=1.0, min_images_per_emotion=1)
    run_dir.save_json(run_dir.settings_json, settings.to_params())
    memory = PeakMemory()
    memory.start()
    seconds = {
        "ingest_seconds": timed(lambda: ingest_faces.main(str(run_dir))),
        "quality_seconds": timed(lambda: data_quality.run(run_dir)),
        "preprocess_seconds": timed(lambda: preprocess_faces.main(str(run_dir))),
    }
    memory.stop()
    images = json.loads(run_dir.ingestion_json.read_text())["num_images"]
    return {
        "images": images,
        **seconds,
        "images_per_second": images / (seconds["ingest_seconds"] + seconds["preprocess_seconds"]),
        "bytes_per_pixel": json.loads(run_dir.preprocessing_json.read_text())["bytes_per_pixel"],
        "peak_jvm_megabytes": memory.jvm / 2**20,
        "largest_jvm_megabytes": memory.largest_jvm / 2**20,
        "peak_workers_megabytes": memory.workers / 2**20,
        "peak_main_megabytes": memory.main / 2**20,
    }


def row_udfs(spark: Any, csv: Path, folder: Path) -> None:
    """As a first attempt is written: Python functions of a row, lists of floats."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, FloatType

    floats = ArrayType(FloatType())
    parse = F.udf(lambda text: [float(value) for value in text.split()], floats)
    measure = F.udf(lambda values: measured(np.array(values, np.uint8).reshape(48, 48)), floats)
    normalise = F.udf(lambda values: [value / 255 for value in values], floats)
    table = spark.read.csv(str(csv), header=True)
    table = table.select("emotion", "Usage", parse("pixels").alias("values")).withColumn("measured", measure("values"))
    table.write.mode("overwrite").parquet(str(folder / "raw"))
    raw = spark.read.parquet(str(folder / "raw"))
    faces = raw.select(F.col("emotion").cast("int"), "Usage", normalise("values").alias("pixels"))
    faces.write.mode("overwrite").partitionBy("Usage").parquet(str(folder / "faces"))


def single_process(csv: Path, folder: Path) -> None:
    table = pd.read_csv(csv)
    faces = [np.array(text.split(), np.uint8) for text in table["pixels"]]
    table["measured"] = [measured(face.reshape(48, 48)) for face in faces]
    table["pixels"] = [face.astype(np.float32) / 255 for face in faces]
    table.to_parquet(folder, partition_cols=["Usage"])


if __name__ == "__main__":
    main()
