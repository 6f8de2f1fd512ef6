"""Scoring images with the champion on Spark against one process: images a second a core.

    python benchmarks/scoring.py [--images 12000] [--cores 2] [--precision float32] [--rounds 5]

Both ways do the same work with the same code: read a PNG file, decode, measure and prepare it, and let the network that
comes with the project (on one thread a process) say its emotion. One process does so without Spark; the job then runs
on local[cores], its Python workers and their networks being there from a small job right before: Spark ends workers
that had nothing to do for a minute. The target is 90% of one process's images a second times the cores. As many such
processes side by side tell how much of that the machine has. The job has all images and its planning and committing in
its time; a process without Spark has a quarter of the images, so that a round stays under two minutes and what is
compared ran in the same ones. What the small job takes in a running JVM, and what it takes the first time, with the
JVM's start and TensorFlow's import in each worker, is told beside it. Shares are medians of the rounds' own. The last
line is JSON.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from fer_tasks.cpu_model import export  # noqa: E402
from fer_tasks.emotions import EMOTIONS  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.model import load_model  # noqa: E402
from fer_tasks.scored_model import ScoredModel  # noqa: E402
from fer_tasks.scoring_directory import ScoringDirectory  # noqa: E402
from fer_tasks.scoring_settings import ScoringSettings  # noqa: E402
from fer_tasks.scoring_source import list_images, open_source  # noqa: E402
from fer_tasks.spark_runtime import SPARK_CONF, submit_environment  # noqa: E402

CHAMPION = ScoredModel("pretrained", 1, None, None, None, EMOTIONS, "none", "none", None, ())

ONE_PROCESS = """
import sys
sys.path.insert(0, {project!r} + "/benchmarks")
from scoring import one_process
one_process({folder!r}, {model_file!r}, {precision!r}, {batch_rows})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16", "int8"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(submit_environment())
    settings = ScoringSettings(precision=options.precision)
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder) / "images", options.images)
        write_noise(Path(folder) / "quarter", options.images // 4)
        put_champion(ScoringDirectory(Path(folder) / "run"), options.precision)
        compare(Path(folder), settings, options.cores, options.rounds)


def put_champion(run_dir: ScoringDirectory, precision: str) -> None:
    """Where plan_scoring leaves it."""
    run_dir.root.mkdir()
    shutil.copyfile(PRETRAINED / "model.keras", run_dir.champion_model)
    if precision == "int8":
        export(load_model(run_dir.champion_model), run_dir.champion_int8, "int8")


def write_noise(folder: Path, number: int) -> None:
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (number, 48, 48), np.uint8)
    for index, face in enumerate(pixels):
        cv2.imwrite(str(folder / f"{index:06}.png"), cv2.GaussianBlur(face, (5, 5), 0))


def compare(folder: Path, settings: ScoringSettings, cores: int, rounds: int) -> None:
    images = planned(folder / "images")
    few = images[: cores * settings.batch_rows]
    started = time.perf_counter()
    spark = session(cores)
    on_spark(folder, few, settings)
    first = time.perf_counter() - started
    alone, beside, warming, spread = [], [], [], []
    for _ in range(rounds):
        alone.append(in_processes(folder / "quarter", settings, number=1))
        beside.append(in_processes(folder / "quarter", settings, number=cores))
        warming.append(on_spark(folder, few, settings))
        spread.append(len(images) / on_spark(folder, images, settings))
    spark.stop()
    linear = [speed / (one * cores) for speed, one in zip(spread, alone, strict=True)]
    of_beside = [speed / apart for speed, apart in zip(spread, beside, strict=True)]
    for name, speeds in (
        ("one process, one thread", alone),
        (f"{cores} processes side by side", beside),
        (f"Spark, {cores} cores", spread),
    ):
        print(f"{name:30}{statistics.median(speeds):9.0f} images/s  {of_rounds(speeds, '.0f')}")
    for name, shares in ((f"of one process times {cores}", linear), ("of those side by side", of_beside)):
        print(f"{name:30}{statistics.median(shares):9.0%}           {of_rounds(shares, '.0%')}")
    print(f"{f'JVM, imports, {len(few)} images':30}{first:9.1f} s")
    print(f"{'the same in a running JVM':30}{statistics.median(warming):9.1f} s")
    answer = {
        "share_of_linear": round(statistics.median(linear), 3),
        "share_of_side_by_side": round(statistics.median(of_beside), 3),
        "images_per_second": round(statistics.median(spread)),
        "cores": cores,
    }
    print(json.dumps(answer))


def of_rounds(figures: list[float], form: str) -> str:
    return f"(rounds: {', '.join(f'{figure:{form}}' for figure in figures)})"


def session(cores: int) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{cores}]")
    for key, value in SPARK_CONF.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def planned(folder: Path) -> list[dict[str, Any]]:
    images, _ = list_images(open_source(str(folder)))
    return [{"position": number, **image._asdict()} for number, image in enumerate(images)]


def on_spark(folder: Path, images: list[dict[str, Any]], settings: ScoringSettings) -> float:
    """Seconds of reading, scoring and writing the two tables, as the job does it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fer_tasks.scoring_plan import ScoringPlan
    from spark_jobs import score_faces

    run_dir = ScoringDirectory(folder / "run")
    settings.save(run_dir)
    pq.write_table(pa.Table.from_pylist(images), run_dir.plan)
    counts = {"num_found": len(images), "num_known": 0, "num_planned": len(images), "num_ignored": 0}
    source = open_source(str(folder / "images"))
    plan = ScoringPlan(source, False, CHAMPION, **counts, ignored_examples=(), planned_at="")
    run_dir.save_json(run_dir.plan_json, plan)
    start = time.perf_counter()
    score_faces.main(str(run_dir))
    return time.perf_counter() - start


def in_processes(folder: Path, settings: ScoringSettings, *, number: int) -> float:
    """Images a second of `one_process` in so many processes at a time, each with all images, without their start."""
    script = ONE_PROCESS.format(
        project=str(PROJECT),
        folder=str(folder),
        model_file=str(ScoringDirectory(folder.parent / "run").champion_model),
        precision=settings.precision,
        batch_rows=settings.batch_rows,
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(number)
    ]
    return sum(float(process.communicate()[0].split()[-1]) for process in started)


def one_process(folder: str, model_file: str, precision: str, batch_rows: int) -> None:
    """Print the images a second, Parquet written, from the second batch on: the first one builds the graph."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fer_tasks.face_scoring import face_scorer

    images = planned(Path(folder))
    scorer = face_scorer(open_source(folder), model_file, CHAMPION, ScoringSettings(precision=precision))
    batches = [
        pa.RecordBatch.from_pylist(images[start : start + batch_rows]) for start in range(0, len(images), batch_rows)
    ]
    list(scorer(batches[:1]))
    start = time.perf_counter()
    table = pa.Table.from_batches(scorer(batches))
    with tempfile.TemporaryDirectory() as target:
        pq.write_table(table, Path(target) / "scores.parquet", compression="zstd")
    print(len(images) / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
