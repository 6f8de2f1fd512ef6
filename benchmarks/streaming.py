"""Training on a set that does not fit into memory, streamed, against the same network on a small set in memory.

    python benchmarks/streaming.py [--faces runs/<slug>/faces.parquet] [--times 20] [--steps 300]
        [--epochs 0 [--seeds 1 2] [--with '{"network_width": 0.5}']]

The large set is the training split `--times` times over, each copy with its own noise of up to two grey levels.
Without --faces, sample faces are drawn, and noise makes FER-2013's number of them. Each way runs in a process of its
own: ten unmeasured steps, then `--steps` steps against the clock, from the moment the epoch begins. The streamed one
then reads a whole epoch without training, so that the peak of its memory is that with a full buffer. With --epochs,
the small set is also trained on so long both ways with each seed, streamed under a limit that it exceeds, and judged on
validation. The last line is JSON: streamed over in-memory images/s, peak memory over limit, and the mean difference in
accuracy.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from fer_tasks.drawn_face import draw_face  # noqa: E402
from fer_tasks.emotions import NUM_EMOTIONS, NUM_PIXELS  # noqa: E402
from fer_tasks.face_filters import normalise  # noqa: E402
from fer_tasks.faces_table import FACES, FACES_A_ROW_GROUP  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.stored_faces import open_split, read_group  # noqa: E402
from fer_tasks.streamed_batches import StreamedBatches, choose_batches  # noqa: E402

FER_2013_TRAINING = 28_709
MAX_NOISE = 2
WARM_UP_STEPS = 10
UNLIMITED_MB = 1_000_000
TABLE = pa.schema([field for field in FACES if field.name != "split"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="faces.parquet of a run")
    parser.add_argument("--times", type=int, default=20, help="how many times as large the streamed set is")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--limit", type=int, default=2048, help="memory_limit_mb of the streamed training")
    parser.add_argument("--epochs", type=int, default=0, help="of the comparison of accuracies; 0: none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of that comparison")
    parser.add_argument("--with", dest="settings", type=json.loads, default={}, help="settings of all trainings, JSON")
    parser.add_argument("--measure", choices=["speed", "accuracy"], help=argparse.SUPPRESS)
    parser.add_argument("--run-dir", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps((speed if options.measure == "speed" else accuracy)(RunDirectory(options.run_dir), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> None:
    small, large = RunDirectory(folder / "small"), RunDirectory(folder / "large")
    if options.faces:
        small.root.mkdir()
        small.faces.symlink_to(options.faces.absolute())
    else:
        write_drawn(small)
    write_copies(stored_faces(small), large, "train", times=options.times)
    in_memory = in_its_own_process("speed", small, options, limit=UNLIMITED_MB)
    streamed = in_its_own_process("speed", large, options, limit=options.limit)
    if not streamed["is_streamed"]:
        raise SystemExit(f"{streamed['num_faces']:,} faces fit into {options.limit} MB; give more --times.")
    print(f"{'':<12}{'faces':>10}{'images/s':>10}{'peak MB':>10}")
    for name, result in (("in memory", in_memory), ("streamed", streamed)):
        print(f"{name:<12}{result['num_faces']:>10,}{result['images_per_second']:>10.0f}{result['peak_mb']:>10.0f}")
    print(f"memory_limit_mb {options.limit}; read without training: {streamed['read_per_second']:,.0f} faces/s")
    ratios = {
        "streamed_over_in_memory": round(streamed["images_per_second"] / in_memory["images_per_second"], 3),
        "peak_over_limit": round(streamed["peak_mb"] / options.limit, 3),
    }
    if options.epochs:
        ratios["streamed_minus_in_memory_accuracy"] = compare_accuracy(small, options)
    print(json.dumps(ratios))


def compare_accuracy(small: RunDirectory, options: argparse.Namespace) -> float:
    """Each way of training the small set; streamed, the limit leaves room for a quarter of it in the shuffle buffer."""
    limit_mb = max(1, len(open_split(small, "train")) * NUM_PIXELS // 2**20)
    in_memory, streamed = (
        in_its_own_process("accuracy", small, options, limit=limit)["of_seeds"] for limit in (UNLIMITED_MB, limit_mb)
    )
    for name, of_seeds in (("in memory", in_memory), ("streamed", streamed)):
        each = ", ".join(f"{accuracy:.2%}" for accuracy in of_seeds)
        print(f"{name:<12}validation accuracy after {options.epochs} epochs: {np.mean(of_seeds):.2%} ({each})")
    return round(float(np.mean(streamed) - np.mean(in_memory)), 4)


def in_its_own_process(what: str, run_dir: RunDirectory, options: argparse.Namespace, *, limit: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", what, "--run-dir", str(run_dir), "--limit", str(limit)]
    command += ["--steps", str(options.steps), "--epochs", str(options.epochs), "--with", json.dumps(options.settings)]
    command += ["--seeds", *map(str, options.seeds)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def speed(run_dir: RunDirectory, options: argparse.Namespace) -> dict[str, Any]:
    """Train as training.train does and look at the clock and at this process's memory."""
    from fer_tasks import training
    from fer_tasks.model import choose_precision, import_keras
    from fer_tasks.training_network import use_cores

    import_keras()
    use_cores()
    settings = RunSettings.from_params({"dataset": "fer2013.csv", "memory_limit_mb": options.limit, **options.settings})
    batches = choose_batches(run_dir, settings)
    model = training.compiled_network(settings, choose_precision("auto"), batches, initial=None)
    model.fit(batches.of_epoch(1).take(WARM_UP_STEPS), shuffle=False, verbose=0)
    steps = min(options.steps, batches.plan.steps)
    start = time.perf_counter()
    model.fit(batches.of_epoch(2).take(steps), shuffle=False, verbose=0)
    trained = time.perf_counter()
    num_read = sum(len(faces) for faces, _ in batches.drawn(3)) if isinstance(batches, StreamedBatches) else 0
    return {
        "images_per_second": steps * batches.plan.batch_size / (trained - start),
        "read_per_second": num_read / (time.perf_counter() - trained),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "num_faces": batches.plan.num_faces,
        "is_streamed": batches.is_streamed,
    }


def accuracy(run_dir: RunDirectory, options: argparse.Namespace) -> dict[str, Any]:
    from fer_tasks import training

    accuracies = []
    for seed in options.seeds:
        settings = {
            "dataset": "fer2013.csv",
            "seed": seed,
            "epochs": options.epochs,
            "memory_limit_mb": options.limit,
            "test_time_augmentation": False,
            **options.settings,
        }
        run_dir.save_json(run_dir.settings_json, RunSettings.from_params(settings).to_params())
        history = training.run(run_dir)
        if history.is_streamed != (options.limit != UNLIMITED_MB):
            raise SystemExit("The set was not trained on in the way that was asked for.")
        accuracies.append(history.epochs[history.best_epoch - 1].val_accuracy)
    return {"of_seeds": accuracies}


def stored_faces(run_dir: RunDirectory) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """uint8 (n, 48, 48, 1), int32 (n,), a row group of the training split each."""
    stored = open_split(run_dir, "train")
    for group in stored.groups:
        yield read_group(group), stored.labels[group.first : group.first + group.num_faces]


def write_drawn(run_dir: RunDirectory) -> None:
    rng = np.random.default_rng(1)
    for split, num_drawn, times in (("train", 2048, FER_2013_TRAINING // 2048 + 1), ("validation", 700, 1)):
        labels = np.arange(num_drawn, dtype=np.int32) % NUM_EMOTIONS
        faces = np.stack([draw_face(label, rng).pixels for label in labels])[..., None]
        write_copies(iter([(faces, labels)]), run_dir, split, times=times)


def write_copies(
    faces: Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]], run_dir: RunDirectory, split: str, *, times: int
) -> None:
    """Every face `times` times, each copy with its own noise; a file each part of `faces`."""
    folder = run_dir.faces / f"split={split}"
    folder.mkdir(parents=True)
    rng, position = np.random.default_rng(2), 0
    for number, (pixels, labels) in enumerate(faces):
        file = folder / f"part-{number:05d}.parquet"
        with pq.ParquetWriter(file, TABLE, compression="zstd") as writer:
            for _ in range(times):
                noise = rng.integers(-MAX_NOISE, MAX_NOISE + 1, pixels.shape, dtype=np.int8)
                noisy = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
                writer.write_table(face_table(noisy, labels, position), row_group_size=FACES_A_ROW_GROUP)
                position += len(labels)


def face_table(pixels: NDArray[np.uint8], labels: NDArray[np.int32], position: int) -> pa.Table:
    starts = np.arange(len(labels) + 1, dtype=np.int32) * NUM_PIXELS
    names = [f"{position + row:064d}" for row in range(len(labels))]
    columns = {
        "position": np.arange(position, position + len(labels)),
        "image_id": names,
        "source": names,
        "label": labels,
        "augmentation": pa.nulls(len(labels), pa.string()),
        "pixels": pa.ListArray.from_arrays(pa.array(starts), pa.array(normalise(pixels).ravel())),
    }
    return pa.table(columns, schema=TABLE)


if __name__ == "__main__":
    main()
