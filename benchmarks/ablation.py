"""What each part of the recipe is worth: one change at a time, the same seeds, judged on validation alone.

    python benchmarks/ablation.py --run-dir runs/<run> --epochs 12 --seeds 1 2 [--changes recipe class_weights ...]

`--run-dir` is a run whose faces.parquet is ready; its test split is not read. Trainings go to --output, one folder
each, and one that is there already is not done again, so that a broken-off series goes on. `--with`, a JSON object,
changes all of them. For changes of the preprocessing (noise reduction, contrast, balancing in Spark) make a run with
that setting and give its folder too: `--run-dir name=runs/<run>`. The last line is JSON: the mean difference of each
change to the recipe, in points.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks import training  # noqa: E402
from fer_tasks.dataset import load_split  # noqa: E402
from fer_tasks.model import load_model  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.training_history import History  # noqa: E402
from fer_tasks.views import predict_views  # noqa: E402

CHANGES: dict[str, dict[str, Any]] = {
    "recipe": {},
    "no_self_distillation": {"self_distillation": 0.0},
    "no_growing_crops": {"first_crop_side": 48},
    "whole_faces": {"first_crop_side": 48, "crop_side": 48},
    "no_weight_averaging": {"weight_averaging": 0.0},
    "no_label_smoothing": {"label_smoothing": 0.0},
    "no_augmentation": {"augment": False},
    "class_weights": {"class_weights": True},
    "half_learning_rate": {"learning_rate": 0.05},
    "batch_64": {"batch_size": 64, "learning_rate": 0.05},
    "paper_cnn": {"architecture": "paper_cnn"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", action="append", metavar="[NAME=]FOLDER")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--changes", nargs="*", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--with", dest="base", type=json.loads, default={}, help="settings that all trainings share")
    parser.add_argument("--output", type=Path, default=PROJECT / "runs" / "ablation")
    options = parser.parse_args()
    if not options.run_dir:
        parser.exit(message="It takes hours, and a run whose faces are ready: give it with --run-dir.\n")
    plain, others = sources(options.run_dir)
    cases = [(name, CHANGES[name], plain) for name in options.changes]
    cases += [(name, {}, folder) for name, folder in others.items()]
    rows = []
    for seed in options.seeds:
        for name, change, folder in cases:
            settings = {
                "preset": "fer2013",
                "epochs": options.epochs,
                "patience": options.epochs,
                **options.base,
                **change,
            }
            where = options.output / f"{name}-{options.epochs}-epochs-seed-{seed}"
            rows.append({"change": name, "seed": seed, **measure(where, folder, {**settings, "seed": seed})})
            print(json.dumps(rows[-1]), flush=True)
    report(rows)


def sources(arguments: list[str]) -> tuple[Path, dict[str, Path]]:
    """The folder without a name, and those with one."""
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    return Path(next(a for a in arguments if "=" not in a)), {name: Path(folder) for name, folder in named.items()}


def measure(where: Path, source: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Train where it has not been done. Accuracies are of the kept epoch on validation, shares of 1."""
    run_dir = RunDirectory(where)
    if not run_dir.model.exists():
        run_dir.root.mkdir(parents=True, exist_ok=True)
        if not run_dir.faces.exists():
            run_dir.faces.symlink_to(source.absolute() / "faces.parquet")
        run_dir.save_json(run_dir.settings_json, RunSettings.from_params(params).to_params())
        training.run(run_dir)
    history = run_dir.load_json(run_dir.history_json, History)
    faces = load_split(run_dir, "validation")
    views = predict_views(load_model(run_dir.model), faces.pixels, tta=True)
    return {
        "accuracy": float((views[0].argmax(axis=1) == faces.labels).mean()),
        "accuracy_tta": float((views.mean(axis=0).argmax(axis=1) == faces.labels).mean()),
        "minutes": history.seconds / 60,
        "images": len(faces),
    }


def report(rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(row["change"] for row in rows))
    mean = {
        name: {
            key: float(np.mean([row[key] for row in rows if row["change"] == name]))
            for key in ("accuracy", "accuracy_tta", "minutes")
        }
        for name in names
    }
    print(f"{'change':26}{'validation':>12}{'with TTA':>10}{'minutes':>9}   each seed")
    for name in names:
        each = ", ".join(f"{row['accuracy']:.1%}" for row in rows if row["change"] == name)
        values = mean[name]
        print(f"{name:26}{values['accuracy']:12.1%}{values['accuracy_tta']:10.1%}{values['minutes']:9.1f}   {each}")
    first = mean[names[0]]["accuracy"]
    print(json.dumps({name: round(100 * (mean[name]["accuracy"] - first), 2) for name in names[1:]}))


if __name__ == "__main__":
    main()
