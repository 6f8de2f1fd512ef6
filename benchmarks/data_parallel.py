"""One model trained by several processes that take the mean of their weights, against one process: accuracy and time.

    python benchmarks/data_parallel.py --run-dir runs/<run> [--epochs 8] [--workers 2] [--seed 1]

Local SGD (Stich 2019, https://arxiv.org/abs/1805.09767): each worker goes once an epoch through its own share of the
training faces, with its share of the batch, and after each epoch all take the mean of their weights, momenta and
running averages. The workers are the tasks of a Spark barrier stage, with one core each; they meet at the barrier and
exchange files through a folder that all see, as the runs folder of a cluster is seen. The peer is the same training in
one process on all cores. Both follow preset `fer2013` for --epochs and are judged on the run's validation faces; its
test split is not read. The last line is JSON: points gained, how many times as fast, MB that each worker writes an
epoch, and the share of the time that the exchange takes.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import numpy as np  # noqa: E402

from fer_tasks.dataset import Faces, load_split  # noqa: E402
from fer_tasks.model import choose_precision, predict_probabilities  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.spark_runtime import SPARK_CONF, submit_environment  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.run_dir:
        parser.exit(message="It needs a run whose faces are ready: give it with --run-dir.\n")
    params = {"dataset": "faces", "preset": "fer2013", "epochs": options.epochs, "patience": options.epochs}
    settings = RunSettings.from_params({**params, "seed": options.seed})
    with get_context("spawn").Pool(1) as process:
        alone = process.apply(train, (options.run_dir, settings, 0, 1, None, None))
    together = on_spark(options.run_dir, settings, options.workers)
    print(f"{'':24}{'accuracy':>10}{'seconds':>10}{'of it exchange':>16}")
    for name, result in (("one process", alone), (f"{options.workers} processes", together)):
        print(f"{name:24}{result['accuracy']:10.1%}{result['seconds']:10.1f}{result['exchange']:16.1f}")
    print(
        json.dumps(
            {
                "points_gained": round(100 * (together["accuracy"] - alone["accuracy"]), 1),
                "times_as_fast": round(alone["seconds"] / together["seconds"], 2),
                "megabytes_an_epoch": round(together["megabytes"], 1),
                "share_of_exchange": round(together["exchange"] / together["seconds"], 3),
            }
        )
    )


def on_spark(run: Path, settings: RunSettings, num_workers: int) -> dict[str, float]:
    """Of the first worker."""
    os.environ.update(submit_environment())
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{num_workers}]").appName("data_parallel")
    for key, value in SPARK_CONF.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    with tempfile.TemporaryDirectory() as folder:

        def work(_: Iterator[int]) -> Iterator[dict[str, float]]:
            from pyspark import BarrierTaskContext

            context = BarrierTaskContext.get()
            yield train(run, settings, context.partitionId(), num_workers, Path(folder), context.barrier)

        shares = session.sparkContext.parallelize(range(num_workers), num_workers).barrier().mapPartitions(work)
        results: list[dict[str, float]] = shares.collect()
    session.stop()
    return results[0]


def train(
    run: Path, settings: RunSettings, rank: int, num_workers: int, folder: Path | None, meet: Callable[[], None] | None
) -> dict[str, float]:
    """One worker. folder, meet: where all exchange their values and wait for one another; None for one alone."""
    if num_workers > 1:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
    from fer_tasks import training
    from fer_tasks.model import build_model, import_keras
    from fer_tasks.training_batches import TrainingBatches
    from fer_tasks.training_network import trained_side, use_cores

    use_cores()
    import_keras().utils.set_random_seed(settings.seed)
    settings = replace(settings, batch_size=settings.batch_size // num_workers)
    faces, validation = load_split(RunDirectory(run), "train"), load_split(RunDirectory(run), "validation")
    batches = TrainingBatches(share_of(faces, rank, num_workers), settings)
    model = training.compiled_network(settings, choose_precision(settings.precision), batches, initial=None)
    values = [*model.network.variables, *model.average, *model.optimizer.variables]
    exchanged = [variable for variable in values if "float" in str(variable.dtype)]
    started, exchange = time.monotonic(), 0.0
    for epoch in range(1, settings.epochs + 1):
        model.trust.assign(settings.self_distillation * (epoch - 1) / settings.epochs)
        training.fit_epoch(model, batches, epoch)
        if folder and meet:
            before = time.monotonic()
            take_the_mean(exchanged, folder, rank, num_workers, meet)
            exchange += time.monotonic() - before
    seconds = time.monotonic() - started
    finished = build_model(settings.architecture, crop_side=trained_side(settings), width=settings.network_width)
    for variable, average in zip(finished.variables, model.average, strict=True):
        variable.assign(average)
    right = predict_probabilities(finished, validation.pixels).argmax(axis=1) == validation.labels
    megabytes = sum(4 * variable.numpy().size for variable in exchanged) / 1e6
    return {"accuracy": float(right.mean()), "seconds": seconds, "exchange": exchange, "megabytes": megabytes}


def share_of(faces: Faces, rank: int, num_workers: int) -> Faces:
    """Every `num_workers`-th face; all shares are of one size, so that all workers take as many steps."""
    rows = slice(rank, len(faces) // num_workers * num_workers, num_workers)
    return Faces(**{name: np.ascontiguousarray(column[rows]) for name, column in vars(faces).items()})


def take_the_mean(variables: list[Any], folder: Path, rank: int, num_workers: int, meet: Callable[[], None]) -> None:
    np.savez(folder / f"{rank}.npz", *(variable.numpy() for variable in variables))
    meet()
    sums = [np.zeros(variable.shape, np.float32) for variable in variables]
    for other in range(num_workers):
        with np.load(folder / f"{other}.npz") as arrays:
            for total, name in zip(sums, arrays.files, strict=True):
                total += arrays[name]
    meet()  # nobody writes before all have read
    for variable, total in zip(variables, sums, strict=True):
        variable.assign(total / num_workers)


if __name__ == "__main__":
    main()
