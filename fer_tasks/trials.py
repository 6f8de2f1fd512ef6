"""run_trials: a lane takes one waiting trial of the study after the other, and trains each in a folder of its own.

Only the validation split is looked at; the test split is never read.
"""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from fer_tasks.dataset import Faces, load_split
from fer_tasks.errors import TrainingError
from fer_tasks.model import import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.search_space import suggest
from fer_tasks.settings import RunSettings
from fer_tasks.streamed_batches import choose_batches
from fer_tasks.study import MAX_TRIES, claim, fail, open_study
from fer_tasks.training import train
from fer_tasks.training_history import EpochRecord
from fer_tasks.tuning_settings import TuningSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

_log = logging.getLogger(__name__)


def run(run_dir: RunDirectory, lane: int) -> int:
    """Work on the study until no trial waits; returns how many this lane has ended.

    A fault of the machine ends the lane and leaves its trial open, for the lane's next try to go on with.
    """
    with run_dir.attempt(f"run_trials-{lane}"):
        tuning = TuningSettings.load(run_dir)
        validation = load_split(run_dir, "validation")
        study, num_ended = open_study(tuning), 0
        while trial := claim(study, f"{run_dir.root.name} {lane}", seed=tuning.seed):
            run_trial(study, trial, tuning, run_dir, validation)
            num_ended += 1
    return num_ended


def run_trial(study: "Study", trial: "Trial", tuning: TuningSettings, run_dir: RunDirectory, validation: Faces) -> None:
    """Train one claimed trial on the faces of `run_dir` and judge it.

    Stopped twice without an epoch between, it fails and is replaced.
    """
    tries = trial.user_attrs.get("tries", 0) + 1
    if tries > MAX_TRIES:
        _replace(study, trial, f"stopped {MAX_TRIES} times without finishing an epoch")
        return
    trial.set_user_attr("tries", tries)
    try:
        _train_and_tell(study, trial, tuning, run_dir, validation)
    except Exception as error:
        if trial.user_attrs["tries"] < MAX_TRIES:
            raise
        _replace(study, trial, f"{type(error).__name__}: {error}")


def trial_settings(trial: "Trial", tuning: TuningSettings) -> RunSettings:
    """The base with what the study proposes; a trial runs all its epochs unless it is pruned."""
    return replace(tuning.base, **suggest(trial), epochs=tuning.epochs_per_trial, patience=tuning.epochs_per_trial)


def _train_and_tell(
    study: "Study", trial: "Trial", tuning: TuningSettings, run_dir: RunDirectory, validation: Faces
) -> None:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    settings = trial_settings(trial, tuning)
    trial_dir = RunDirectory.for_study(tuning.study_name).trial(trial.number)
    settings.save(trial_dir)
    _log.info("Trial %d: %s", trial.number, ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items()))

    def report(record: EpochRecord) -> None:
        trial.report(record.val_accuracy, record.epoch)
        trial.set_user_attr("tries", 0)
        if record.epoch < settings.epochs and trial.should_prune():
            raise TrialPruned(f"below the median of the others after epoch {record.epoch}")

    import_keras().utils.clear_session()
    try:
        _, history = train(choose_batches(run_dir, settings), validation, settings, trial_dir, on_epoch=report)
    except (TrialPruned, TrainingError) as stopped:  # diverged: told as pruned, since the sampler learns from that
        trial.set_user_attr("reason", str(stopped))
        study.tell(trial, state=TrialState.PRUNED)
        _log.info("Trial %d was stopped: %s", trial.number, stopped)
    else:
        trial_dir.save_json(trial_dir.history_json, history)
        study.tell(trial, max(epoch.val_accuracy for epoch in history.epochs))
    trial_dir.remove(trial_dir.checkpoint_folder)


def _replace(study: "Study", trial: "Trial", reason: str) -> None:
    _log.warning("Trial %d failed: %s", trial.number, reason)
    fail(study, trial, reason)
    study.enqueue_trial({})
