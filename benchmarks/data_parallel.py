"""One model trained by several processes that take the mean of their weights, against one process: accuracy and time.

    python benchmarks/data_parallel.py --run-dir runs/<run> [--epochs 8] [--width 0.5] [--workers 2] [--seeds 1 2]

Local SGD (Stich 2019, https://arxiv.org/abs/1805.09767): each worker goes through its own share of the training faces,
with its share of the batch, and every --steps-between steps all take the mean of their weights, momenta and running
averages. The workers are the tasks of a Spark barrier stage, which starts and ends them together, with one core each;
they exchange files through a folder that all see, as the runs folder of a cluster is seen. The peer is the same
training in one process on all cores. Both follow preset `fer2013` for --epochs and are judged on the run's validation
faces; its test split is not read. The last line is JSON: points gained on average over the seeds, the standard error of
one accuracy, how many times as fast, and the share of the time that the exchange takes.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
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

Result = dict[str, float]
"""accuracy on validation, 0 to 1; seconds of training; exchange, seconds of them; megabytes an exchange."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, help="a run whose faces are ready")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.5, help="network_width")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps-between", type=int, default=50, help="between two exchanges")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    if not options.run_dir:
        parser.exit(message="It needs a run whose faces are ready: give it with --run-dir.\n")
    params = {"dataset": "faces", "preset": "fer2013", "epochs": options.epochs, "patience": options.epochs}
    params["network_width"] = options.width
    alone, together = [], []
    for seed in options.seeds:
        settings = RunSettings.from_params({**params, "seed": seed})
        with get_context("spawn").Pool(1) as process:
            alone.append(process.apply(train, (options.run_dir, settings)))
        print(told(f"one process, seed {seed}", alone[-1]), flush=True)
        together.append(on_spark(options.run_dir, settings, options.workers, options.steps_between))
        print(told(f"{options.workers} processes, seed {seed}", together[-1]), flush=True)
    print(json.dumps(compared(alone, together)))


def told(name: str, result: Result) -> str:
    return f"{name:24}{result['accuracy']:8.1%}{result['seconds']:8.0f} s, exchange {result['exchange']:.1f} s"


def compared(alone: list[Result], together: list[Result]) -> dict[str, float]:
    def mean(results: list[Result], field: str) -> float:
        return statistics.mean(result[field] for result in results)

    accuracy = mean(alone, "accuracy")
    return {
        "points_gained": round(100 * (mean(together, "accuracy") - accuracy), 2),
        "standard_error_points": round(100 * (accuracy * (1 - accuracy) / alone[0]["judged"]) ** 0.5, 2),
        "times_as_fast": round(mean(alone, "seconds") / mean(together, "seconds"), 2),
        "share_of_exchange": round(mean(together, "exchange") / mean(together, "seconds"), 3),
        "megabytes_an_exchange": round(mean(together, "megabytes"), 1),
    }


def on_spark(run: Path, settings: RunSettings, num_workers: int, steps_between: int) -> Result:
    """Of the first worker."""
    os.environ.update(submit_environment())
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{num_workers}]").appName("data_parallel")
    for key, value in SPARK_CONF.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    with tempfile.TemporaryDirectory() as folder:

        def work(_: Iterator[int]) -> Iterator[Result]:
            from pyspark import BarrierTaskContext

            from benchmarks.data_parallel import Team, train  # in the worker, instead of a copy sent to it

            team = Team(Path(folder), BarrierTaskContext.get().partitionId(), num_workers)
            yield train(run, settings, team, steps_between)

        shares = session.sparkContext.parallelize(range(num_workers), num_workers).barrier().mapPartitions(work)
        results: list[Result] = shares.collect()
    session.stop()
    return results[0]


def train(run: Path, settings: RunSettings, team: "Team | None" = None, steps_between: int = 0) -> Result:
    """One worker of a team, or one process alone."""
    from fer_tasks import training
    from fer_tasks.model import build_model, import_keras
    from fer_tasks.training_batches import TrainingBatches
    from fer_tasks.training_network import trained_side, use_cores

    faces, validation = load_split(RunDirectory(run), "train"), load_split(RunDirectory(run), "validation")
    if team:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[team.rank % len(cores)]})
        settings = replace(settings, batch_size=settings.batch_size // team.size)
        faces = team.share_of(faces)
    use_cores()
    keras = import_keras()
    keras.utils.set_random_seed(settings.seed)
    batches = TrainingBatches(faces, settings)
    model = training.compiled_network(settings, choose_precision(settings.precision), batches, initial=None)
    values = [*model.network.variables, *model.average, *model.optimizer.variables]
    exchanged = [variable for variable in values if "float" in str(variable.dtype)]

    class Exchange(keras.callbacks.Callback):  # type: ignore[misc]
        """Keeps the workers together while an epoch goes on."""

        steps, seconds = 0, 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            is_last = self.steps == batches.plan.steps * settings.epochs
            if team and (is_last or self.steps % steps_between == 0):
                before = time.monotonic()
                team.take_the_mean(exchanged)
                self.seconds += time.monotonic() - before

    exchange, started = Exchange(), time.monotonic()
    for epoch in range(1, settings.epochs + 1):
        model.trust.assign(settings.self_distillation * (epoch - 1) / settings.epochs)
        training.fit_epoch(model, batches, epoch, callbacks=[exchange])
    seconds = time.monotonic() - started
    finished = build_model(settings.architecture, crop_side=trained_side(settings), width=settings.network_width)
    for variable, average in zip(finished.variables, model.average, strict=True):
        variable.assign(average)
    right = predict_probabilities(finished, validation.pixels).argmax(axis=1) == validation.labels
    return {
        "accuracy": float(right.mean()),
        "judged": len(validation),
        "seconds": seconds,
        "exchange": exchange.seconds,
        "megabytes": sum(4 * variable.numpy().size for variable in exchanged) / 1e6,
    }


class Team:
    """What a worker knows of the others. folder: where all write and read."""

    def __init__(self, folder: Path, rank: int, size: int) -> None:
        self.folder, self.rank, self.size, self.meetings = folder, rank, size, 0

    def share_of(self, faces: Faces) -> Faces:
        """Every `size`-th face; all shares are of one size, so that all workers take as many steps."""
        rows = slice(self.rank, len(faces) // self.size * self.size, self.size)
        return Faces(**{name: np.ascontiguousarray(column[rows]) for name, column in vars(faces).items()})

    def take_the_mean(self, variables: list[Any]) -> None:
        """Waits for the others by their files: Spark's own barrier looks but once a second."""
        self.meetings += 1
        own = self._file(self.meetings, self.rank)
        with own.with_suffix(".new").open("wb") as file:
            np.savez(file, *(variable.numpy() for variable in variables))
        own.with_suffix(".new").rename(own)
        sums = [np.zeros(variable.shape, np.float32) for variable in variables]
        for other in range(self.size):
            while not (file_of_other := self._file(self.meetings, other)).exists():
                time.sleep(0.002)
            with np.load(file_of_other) as arrays:
                for total, name in zip(sums, arrays.files, strict=True):
                    total += arrays[name]
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / self.size)
        self._file(self.meetings - 1, self.rank).unlink(missing_ok=True)  # all have read it: they wrote the next one

    def _file(self, meeting: int, rank: int) -> Path:
        return self.folder / f"{meeting}-{rank}.npz"


if __name__ == "__main__":
    main()
