"""A run that came through its gate, as the steps before promotion leave it, and a look into the embedded registry."""

import sqlite3
from pathlib import Path

import numpy as np
from tiny_faces import write_faces

from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.evaluation import evaluate
from fer_tasks.model import build_model, import_keras
from fer_tasks.registry import find_champion
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.training_history import EpochRecord, History

MAIN_PATH = ("start_run", "ingest_dataset", "check_data_quality", "preprocess_faces", "train_model", "evaluate_model")


def finish(run_dir: RunDirectory, registered_model: str, accuracy: float = 0.9) -> RunDirectory:
    """Two epochs, a test accuracy of 0.5 on two faces, and the gate's verdict on `accuracy`, whose minimum is 0.6."""
    run_dir.save_json(run_dir.settings_json, RunSettings(registered_model=registered_model).to_params())
    write_faces(run_dir, {"test": 2})
    import_keras().utils.set_random_seed(len(run_dir.root.name))
    build_model("paper_cnn").save(run_dir.model)
    write_history(run_dir, val_accuracies=(0.125, 0.25))
    measured = evaluate(
        np.zeros(2, np.int32),
        np.eye(7, dtype=np.float32)[None, :2],
        temperature=1.0,
        validation_accuracy=0.5,
        images_per_second=9.0,
    )
    run_dir.save_json(run_dir.evaluation_json, measured)
    passed = accuracy >= 0.6
    reason = f"{accuracy:.0%} {'reaches' if passed else 'is below'} the minimum of 60%."
    run_dir.save_json(run_dir.gate_json, GateDecision(passed, reason, (), needs_approval=False))
    champion = find_champion(registered_model)
    comparison = ChampionComparison(registered_model, "0" * 64, version=champion.version if champion else None)
    run_dir.save_json(run_dir.champion_comparison_json, comparison)
    for step in (*MAIN_PATH, "accuracy_gate", "explain_predictions"):
        with run_dir.attempt(step):
            pass
    return run_dir


def write_history(run_dir: RunDirectory, val_accuracies: tuple[float, ...]) -> None:
    epochs = tuple(
        EpochRecord(epoch, 1.5, 0.5, 1.0, val_accuracy, 0.1, 1.0, 9.0)
        for epoch, val_accuracy in enumerate(val_accuracies, start=1)
    )
    run_dir.save_json(run_dir.history_json, History("paper_cnn", 5, "float32", epochs, 1, False, (), 1.0))


def versions(home: Path, name: str) -> list[int]:
    with sqlite3.connect(home / "mlflow.db") as database:
        rows = database.execute("SELECT version FROM model_versions WHERE name = ? ORDER BY version", (name,))
        return [version for (version,) in rows]


def aliases(home: Path, name: str) -> dict[str, int]:
    with sqlite3.connect(home / "mlflow.db") as database:
        return dict(database.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,)))


def tracked_runs(home: Path, name: str) -> list[str]:
    """Ids of the MLflow runs of this name."""
    with sqlite3.connect(home / "mlflow.db") as database:
        return [row[0] for row in database.execute("SELECT run_uuid FROM runs WHERE name = ?", (name,))]
