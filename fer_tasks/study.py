"""plan_trials: opens or goes on with the study, and queues as many trials as it still lacks.

The queue is the study itself: waiting trials, each of which exactly one task can claim, whichever machine it is on.
"""

import logging
import os
from typing import TYPE_CHECKING, Any

from fer_tasks.errors import SettingsError
from fer_tasks.ingestion import Ingestion
from fer_tasks.run_directory import RunDirectory
from fer_tasks.search_space import searched, starting_point
from fer_tasks.tuning_settings import TuningSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

_log = logging.getLogger(__name__)

MAX_TRIES = 2
"""A trial that was stopped so often without finishing an epoch is not tried again: it may be what stops it."""

_RANDOM_TRIALS = 5
_FULL_TRIALS_BEFORE_PRUNING = 3
_DATA_AND_MODEL = ("Data", "Data quality", "Preprocessing", "Training")
_FREE = ("dataset", "dataset_sha256", "reuse", "data_docs", "preset", "epochs", "patience")
"""What may differ between two runs of a study: paths, what a trial replaces, and what no accuracy depends on."""


def run(run_dir: RunDirectory) -> list[int]:
    """Queue the study's missing trials. Returns the numbers of the lanes: tasks that work on it side by side.

    Raises SettingsError when the study was begun on other data or other settings.
    """
    with run_dir.attempt("plan_trials"):
        tuning = TuningSettings.load(run_dir)
        dataset_sha256 = run_dir.load_json(run_dir.ingestion_json, Ingestion).dataset_sha256
        study = open_study(tuning)
        _hold_to_its_base(study, _base(study, tuning, dataset_sha256))
        num_queued = plan(study, tuning)
    return list(range(min(tuning.max_parallel_trials, num_queued)))


def open_study(tuning: TuningSettings) -> "Study":
    """The study of that name, begun if there is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=_FULL_TRIALS_BEFORE_PRUNING, n_warmup_steps=max(1, tuning.epochs_per_trial // 4)
    )
    return optuna.create_study(
        study_name=tuning.study_name,
        storage=_storage(tuning.study_name),
        pruner=pruner if tuning.prune else optuna.pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )


def plan(study: "Study", tuning: TuningSettings) -> int:
    """Queue trials until the study has `num_trials` that are finished or waiting; returns how many wait.

    One that an earlier run left unfinished counts as failed, and what it tried is queued again, with its folder, so
    that its training goes on. The first trial of all is the base itself.
    """
    from optuna.trial import TrialState as State

    for left in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
        _requeue(study, left, tuning.seed)
    if not study.trials:
        study.enqueue_trial(starting_point(tuning.base))
    counted = len(study.get_trials(deepcopy=False, states=(State.COMPLETE, State.PRUNED, State.WAITING)))
    for _ in range(tuning.num_trials - counted):
        study.enqueue_trial({})
    num_waiting = len(study.get_trials(deepcopy=False, states=(State.WAITING,)))
    _log.info("Study %s: %d trials so far, %d to go.", tuning.study_name, len(study.trials) - num_waiting, num_waiting)
    return num_waiting


def claim(study: "Study", lane: str, *, seed: int) -> "Trial | None":
    """The trial that this lane left unfinished, else a waiting one that no other lane can get any more, else None."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState as State

    for left in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
        if left.user_attrs.get("lane") == lane:
            return _open_trial(study, left, seed)
    for waiting in study.get_trials(deepcopy=False, states=(State.WAITING,)):
        # `Study.ask` does the same, but makes a new trial where none waits: two lanes would overshoot `num_trials`.
        try:
            is_ours = study._storage.set_trial_state_values(waiting._trial_id, State.RUNNING)
        except UpdateFinishedTrialError:
            continue
        if is_ours:
            trial = _open_trial(study, waiting, seed)
            trial.set_user_attr("lane", lane)
            return trial
    return None


def fail(study: "Study", trial: "Trial", reason: str) -> None:
    """End a trial as failed, for a reason that the study keeps."""
    from optuna.trial import TrialState

    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)


def _open_trial(study: "Study", frozen: "FrozenTrial", seed: int) -> "Trial":
    """The trial with a sampler seeded for it alone, so that no two that are begun at the same moment are alike."""
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=seed + frozen.number, n_startup_trials=_RANDOM_TRIALS)
    return optuna.trial.Trial(study, frozen._trial_id)


def _requeue(study: "Study", left: "FrozenTrial", seed: int) -> None:
    trial, tries = _open_trial(study, left, seed), left.user_attrs.get("tries", 0)
    if tries >= MAX_TRIES:
        fail(study, trial, f"stopped {tries} times without finishing an epoch")
        return
    number = len(study.trials)
    fail(study, trial, f"stopped midway; goes on as trial {number}")
    study.enqueue_trial(left.params, user_attrs={"tries": tries})
    studied = RunDirectory.for_study(study.study_name)
    if studied.trial(left.number).root.exists():
        studied.trial(left.number).root.rename(studied.trial(number).root)


def _storage(study_name: str) -> "str | BaseStorage":
    """FER_OPTUNA_STORAGE, the URL of a database, else a journal in the study's folder."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if url := os.environ.get("FER_OPTUNA_STORAGE"):
        return url
    journal = RunDirectory.for_study(study_name).study_journal
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


def _base(study: "Study", tuning: TuningSettings, dataset_sha256: str) -> dict[str, Any]:
    """What must be the same in every trial, or their accuracies could not be compared."""
    varied = (*_FREE, *searched())
    kept = {
        name: getattr(tuning, name)
        for name, spec in TuningSettings.form_fields().items()
        if spec["section"] in _DATA_AND_MODEL and name not in varied
    }
    return {**kept, "epochs_per_trial": tuning.epochs_per_trial, "the data set's SHA-256": dataset_sha256}


def _hold_to_its_base(study: "Study", base: dict[str, Any]) -> None:
    begun_with = study.user_attrs.get("base")
    if begun_with is None:
        study.set_user_attr("base", base)
    elif different := [name for name in base if begun_with.get(name) != base[name]]:
        told = "; ".join(f"{name} was {begun_with.get(name)!r} and is {base[name]!r}" for name in different)
        raise SettingsError(
            f"The study {study.study_name!r} was begun differently ({told}), so that its trials could not be compared. "
            "Choose another `study_name`, or the earlier settings."
        )
