"""A face on one core: the exported model (LiteRT, float32 and int8) against Keras's `model.predict`.

    python benchmarks/inference.py [--model runs/<run>] [--faces-from FOLDER] [--rounds 20]

Each has a process of its own on one core, which the others leave alone meanwhile: they take turns, 25 faces at a time,
so that a busy minute hits all, and the ratios are medians over the rounds. Latencies are of one face after the other,
by the clock; `cpu` is the processor's time of the process, which a busy machine does not lengthen. Start is all that
comes before the first answer: imports, and loading the model, which was exported before. With --faces-from, the test
split of a run or a folder of `<emotion>/*`, also the accuracy of each. The last line is JSON.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks.cpu_model import exported, load_cpu_model  # noqa: E402
from fer_tasks.dataset import load_split  # noqa: E402
from fer_tasks.drawn_face import draw_face  # noqa: E402
from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.model import load_model  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402

RUNTIMES = ("keras predict", "keras on batch", "litert float32", "litert int8")
FACES_A_TURN, BATCH = 25, 256
Array = np.ndarray[Any, Any]

predict: Any = None  # of the process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PRETRAINED, metavar="FOLDER")
    parser.add_argument("--faces-from", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    faces, labels = choose_faces(options.faces_from)
    for form in ("float32", "int8"):
        exported(options.model / "model.keras", form)
    context = multiprocessing.get_context("spawn")
    workers = {name: ProcessPoolExecutor(1, context) for name in RUNTIMES}
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores\n")
    starts = {name: worker.submit(start, name, options.model, faces[0]).result() for name, worker in workers.items()}
    figures = latencies(workers, faces, starts, options.rounds)
    if labels is not None:
        figures |= accuracies(workers, faces, labels)
    for worker in workers.values():
        worker.shutdown()
    print(json.dumps(figures))


def choose_faces(folder: Path | None) -> tuple[Array, Array | None]:
    """float32 (n, 48, 48, 1) and their labels, which drawn faces have none of: they tell nothing of accuracy."""
    if folder is None:
        drawn = [draw_face(n % NUM_EMOTIONS, np.random.default_rng([9, n])).pixels for n in range(BATCH)]
        return np.stack(drawn)[..., None] / np.float32(255), None
    if RunDirectory(folder).settings_json.is_file():
        split = load_split(RunDirectory(folder), "test")
        return split.pixels, split.labels
    files = [(file, label) for label, emotion in enumerate(EMOTIONS) for file in sorted((folder / emotion).iterdir())]
    pixels = np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file, _ in files])
    return pixels[..., None] / np.float32(255), np.array([label for _, label in files])


def start(name: str, folder: Path, face: Array) -> float:
    """Seconds up to the first answer, in a fresh process."""
    global predict
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    started = time.perf_counter()
    if name.startswith("keras"):
        model = load_model(folder / "model.keras")
        predict = model.predict_on_batch if name == "keras on batch" else lambda faces: model.predict(faces, verbose=0)
    else:
        predict = load_cpu_model(folder / "model.keras", name.split()[1]).predict_on_batch  # type: ignore[arg-type]
    predict(face[None])
    return time.perf_counter() - started


def answer_alone(faces: Array) -> tuple[list[float], float]:
    """Milliseconds of each face, and the processor's a face."""
    before, spent = time.process_time(), []
    for face in faces:
        started = time.perf_counter()
        predict(face[None])
        spent.append(1000 * (time.perf_counter() - started))
    return spent, 1000 * (time.process_time() - before) / len(faces)


def answer_batch(faces: Array) -> float:
    """Processor's milliseconds a face, of all at once."""
    before = time.process_time()
    predict(faces)
    return 1000 * (time.process_time() - before) / len(faces)


def latencies(workers: dict[str, Any], faces: Array, starts: dict[str, float], rounds: int) -> dict[str, float]:
    alone: dict[str, list[float]] = {name: [] for name in workers}
    cpu: dict[str, list[float]] = {name: [] for name in workers}
    batch: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(-1, rounds):  # the first one warms up
        part = np.take(faces, range(number * FACES_A_TURN, (number + 1) * FACES_A_TURN), axis=0, mode="wrap")
        for name, worker in workers.items():
            spent, processor = worker.submit(answer_alone, part).result()
            whole = worker.submit(answer_batch, np.resize(faces, (BATCH, *faces.shape[1:]))).result()
            if number >= 0:
                alone[name] += spent
                cpu[name].append(processor)
                batch[name].append(whole)
    print(f"{'':16}{'p50':>9}{'p99':>9}{'cpu':>9}{'faces/s':>9}{'in a batch, cpu':>17}{'start':>9}")
    for name in workers:
        p50, p99 = np.quantile(alone[name], (0.5, 0.99))
        print(
            f"{name:16}{p50:6.2f} ms{p99:6.2f} ms{statistics.median(cpu[name]):6.2f} ms{1000 / p50:9.0f}"
            f"{statistics.median(batch[name]):14.2f} ms{starts[name]:7.2f} s"
        )
    return {
        "speedup_float32": ratio(cpu["keras predict"], cpu["litert float32"]),
        "speedup_int8": ratio(cpu["keras predict"], cpu["litert int8"]),
        "speedup_int8_in_batches": ratio(batch["keras on batch"], batch["litert int8"]),
        "p99_ms_float32": round(float(np.quantile(alone["litert float32"], 0.99)), 2),
        "p99_ms_int8": round(float(np.quantile(alone["litert int8"], 0.99)), 2),
        "start_seconds_int8": round(starts["litert int8"], 2),
    }


def ratio(one: list[float], other: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 2)


def answer_all(faces: Array) -> Array:
    return np.concatenate([predict(faces[first : first + BATCH]) for first in range(0, len(faces), BATCH)])


def accuracies(workers: dict[str, Any], faces: Array, labels: Array) -> dict[str, float]:
    told = {name: workers[name].submit(answer_all, faces).result() for name in RUNTIMES[1:]}
    truth = told["keras on batch"]
    print(f"\n{len(faces)} faces      accuracy   against keras   other labels   largest difference of a probability")
    changes = {}
    for name, answers in told.items():
        right = float((answers.argmax(axis=1) == labels).mean())
        changes[name] = right - float((truth.argmax(axis=1) == labels).mean())
        others = (answers.argmax(axis=1) != truth.argmax(axis=1)).mean()
        difference = np.abs(answers - truth).max()
        print(f"{name:16}{right:10.2%}{100 * changes[name]:+11.2f} points{others:15.2%}{difference:25.6f}")
    return {"accuracy_change_int8": round(changes["litert int8"], 5)}


if __name__ == "__main__":
    main()
