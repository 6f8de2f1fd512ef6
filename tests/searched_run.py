"""Runs of fer_tuning up to their trials, and trials that are on record without having been run."""

from typing import Any

import optuna
from tiny_faces import write_faces

from fer_tasks import study
from fer_tasks.ingestion import Ingestion
from fer_tasks.run_directory import RunDirectory
from fer_tasks.tuning_settings import TuningSettings

SPACE = {
    "learning_rate": optuna.distributions.FloatDistribution(0.005, 0.5, log=True),
    "batch_size": optuna.distributions.CategoricalDistribution((32, 64, 128, 256)),
    "label_smoothing": optuna.distributions.FloatDistribution(0.0, 0.2),
    "self_distillation": optuna.distributions.FloatDistribution(0.0, 0.8),
    "crop_side": optuna.distributions.IntDistribution(36, 48, step=4),
}
VALUES = {
    "learning_rate": 0.02,
    "batch_size": 32,
    "label_smoothing": 0.1,
    "self_distillation": 0.25,
    "crop_side": 44,
}


def make_search_run(run_id: str = "first", *, dataset_sha256: str = "ab" * 32, **settings: Any) -> RunDirectory:
    """A run as preprocess_faces leaves it, in FER_RUNS_FOLDER, two tiny trials by default."""
    run_dir = RunDirectory.for_run_id(run_id)
    quick: dict[str, Any] = {"architecture": "paper_cnn", "augment": False, "precision": "float32"}
    quick |= {"num_trials": 2, "epochs_per_trial": 1, "max_parallel_trials": 2}
    TuningSettings.from_params({**quick, **settings}).save(run_dir)
    ingestion = Ingestion("sample", "sample", dataset_sha256, 35, 0, 0, (), 1.0)
    run_dir.save_json(run_dir.ingestion_json, ingestion)
    write_faces(run_dir, {"train": 35, "validation": 14})
    return run_dir


def opened(run_dir: RunDirectory) -> optuna.Study:
    return study.open_study(TuningSettings.load(run_dir))


def add_complete(opened_study: optuna.Study, *accuracies: float, **changed: Any) -> None:
    """A completed trial with these accuracies by epoch."""
    opened_study.add_trial(
        optuna.trial.create_trial(
            params={**VALUES, **changed},
            distributions=SPACE,
            value=max(accuracies),
            intermediate_values=dict(enumerate(accuracies, start=1)),
        )
    )
