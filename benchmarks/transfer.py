"""Transfer learning: fine-tuning trained weights on a few faces against training on them from scratch.

    python benchmarks/transfer.py --run-dir runs/<run> [--weights pretrained] [--images 50] [--seeds 1 2 3]

The small data set is made of the run's test split, which the weights have not seen: `--images` faces an emotion to
train on, ten an emotion for validation, all others to judge by; of `--split validation` where a recipe is to be chosen.
So that it is a new camera as well as new people, every face is made darker, blurred and noisy. Both trainings are those
of train_model with the preset that `auto` takes, `fine_tuning` and `fer2013`; `--tuning` changes the first. The last
line is JSON: points gained and the share of the time, of the means over the seeds.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks import evaluation, training  # noqa: E402
from fer_tasks.dataset import Faces, load_split  # noqa: E402
from fer_tasks.emotions import NUM_EMOTIONS  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402

VALIDATION_IMAGES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--tuning", type=json.loads, default={}, help='settings of the fine-tuning: {"epochs": 6}')
    options = parser.parse_args()
    if not options.run_dir:
        parser.exit(message="It needs a run whose faces are ready: give it with --run-dir.\n")
    faces = load_split(RunDirectory(options.run_dir), options.split)
    ways = {"from scratch": {}, "fine-tuned": {"initial_weights": options.weights, **options.tuning}}
    report({
        name: [measure(faces, options.images, {"dataset": "small", "seed": seed, **way}) for seed in options.seeds]
        for name, way in ways.items()
    })  # fmt: skip


def measure(faces: Faces, images: int, params: dict[str, Any]) -> dict[str, float]:
    """Train on the small set of the seed, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = RunDirectory(folder)
        write_small_set(run_dir, faces, images=images, seed=params["seed"])
        settings = RunSettings.from_params({**params, "test_time_augmentation": False})  # one view is what is reported
        run_dir.save_json(run_dir.settings_json, settings.to_params())
        history = training.run(run_dir)
        measured = evaluation.run(run_dir)
    return {"accuracy": measured.single_view_accuracy, "seconds": history.seconds, "epochs": len(history.epochs)}


def write_small_set(run_dir: RunDirectory, faces: Faces, *, images: int, seed: int) -> None:
    """faces.parquet of the three splits, as preprocess_faces would have left it."""
    random = np.random.default_rng(seed)
    pixels = np.stack([another_camera(face[..., 0], random) for face in faces.pixels])
    order = random.permutation(len(faces))
    place = np.zeros(len(faces), np.int64)  # of each face among those of its emotion
    for emotion in range(NUM_EMOTIONS):
        chosen = order[faces.labels[order] == emotion]
        place[chosen] = np.arange(len(chosen))
    ends = (("train", 0, images), ("validation", images, images + VALIDATION_IMAGES))
    for split, low, high in (*ends, ("test", images + VALIDATION_IMAGES, len(faces))):
        rows = np.flatnonzero((place >= low) & (place < high))
        folder = run_dir.faces / f"split={split}"
        folder.mkdir(parents=True)
        table = {
            "position": rows,
            "image_id": [str(row) for row in rows],
            "source": [f"small set, {row}" for row in rows],
            "label": faces.labels[rows],
            "augmentation": pa.nulls(len(rows), pa.string()),
            "pixels": pa.array(list(pixels[rows].reshape(len(rows), -1)), pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(table), folder / "part-0.parquet")


def another_camera(face: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """float32 (48, 48) in [0, 1], of 256 levels: half the resolution, gamma 1.6, noise."""
    small = cv2.resize(face, (28, 28), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(small, (48, 48), interpolation=cv2.INTER_LINEAR)
    noisy = np.clip(blurred, 0, 1) ** 1.6 + random.normal(0, 0.04, face.shape)
    levels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.float32)
    return levels / np.float32(255)


def report(results: dict[str, list[dict[str, float]]]) -> None:
    mean = {
        name: {key: float(np.mean([result[key] for result in of_seeds])) for key in of_seeds[0]}
        for name, of_seeds in results.items()
    }
    print(f"{'':14}{'accuracy':>10}{'seconds':>10}{'epochs':>8}   each seed")
    for name, result in mean.items():
        each = ", ".join(f"{one['accuracy']:.1%}" for one in results[name])
        print(f"{name:14}{result['accuracy']:10.1%}{result['seconds']:10.1f}{result['epochs']:8.0f}   {each}")
    scratch, tuned = mean["from scratch"], mean["fine-tuned"]
    gain = 100 * (tuned["accuracy"] - scratch["accuracy"])
    print(
        json.dumps({"points_gained": round(gain, 1), "share_of_time": round(tuned["seconds"] / scratch["seconds"], 3)})
    )


if __name__ == "__main__":
    main()
