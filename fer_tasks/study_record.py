"""choose_settings: the best trial of the study as the settings of a run; and the record of the whole study."""

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fer_tasks.errors import TrainingError
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.study import open_study
from fer_tasks.tuning_settings import TuningSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_log = logging.getLogger(__name__)

TrialState = Literal["complete", "pruned", "failed", "unfinished", "waiting"]

_STATES: dict[str, TrialState] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "unfinished",
    "WAITING": "waiting",
}
_FEWEST_FOR_IMPORTANCES = 5


@dataclass(frozen=True)
class TrialRecord:
    """validation_accuracy: the best of its epochs, in [0, 1]. seconds: from its start to its end.

    reason: why it was stopped or failed.
    """

    number: int
    state: TrialState
    parameters: dict[str, float | int]
    validation_accuracy: float | None
    epochs: int
    seconds: float | None
    reason: str | None


@dataclass(frozen=True)
class BestSettings:
    """conf: what a trigger of fer_training needs to train with the settings of `trial`: those that were searched, and
    of the others those that are no default."""

    trial: int
    validation_accuracy: float
    conf: dict[str, Any]


@dataclass(frozen=True)
class StudyRecord:
    """importances: how far each setting tells the best trials from the others (PED-ANOVA), the largest first, their
    sum being 1; empty where too few trials are complete. best: None where none is."""

    study_name: str
    num_trials: int
    epochs_per_trial: int
    trials: tuple[TrialRecord, ...]
    importances: dict[str, float]
    best: BestSettings | None


def run(run_dir: RunDirectory) -> dict[str, Any]:
    """Write best_settings.json, return its conf. Raises TrainingError when no trial was completed."""
    with run_dir.attempt("choose_settings"):
        tuning = TuningSettings.load(run_dir)
        best = best_settings(open_study(tuning), tuning)
        if best is None:
            raise TrainingError(
                f"No trial of the study {tuning.study_name!r} was completed, so there are no best settings. "
                "The study's page says what stopped each; run again with the same `study_name` to go on."
            )
        run_dir.save_json(run_dir.best_settings_json, best)
        _log.info("Trial %d is best: %.1f%% on validation.", best.trial, 100 * best.validation_accuracy)
    return best.conf


def record_study(study: "Study", tuning: TuningSettings) -> StudyRecord:
    return StudyRecord(
        study_name=tuning.study_name,
        num_trials=tuning.num_trials,
        epochs_per_trial=tuning.epochs_per_trial,
        trials=tuple(_trial_record(trial) for trial in study.get_trials(deepcopy=False)),
        importances=_importances(study),
        best=best_settings(study, tuning),
    )


def best_settings(study: "Study", tuning: TuningSettings) -> BestSettings | None:
    """Those of the completed trial with the highest validation accuracy, the earliest among equals."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if not complete:
        return None
    best = min(complete, key=lambda trial: (-_accuracy(trial), trial.number))
    return BestSettings(best.number, _accuracy(best), conf_of(tuning.base) | best.params)


def conf_of(settings: RunSettings) -> dict[str, Any]:
    """The shortest JSON object that `RunSettings.from_params` turns into these settings."""
    params = settings.to_params()
    choice = {name: params[name] for name in ("dataset", "preset") if params[name] != getattr(RunSettings(), name)}
    implied = RunSettings.from_params(choice).to_params()
    return choice | {name: value for name, value in params.items() if value != implied[name]}


def _trial_record(trial: "FrozenTrial") -> TrialRecord:
    accuracy = _accuracy(trial)
    return TrialRecord(
        number=trial.number,
        state=_STATES[trial.state.name],
        parameters=dict(trial.params),
        validation_accuracy=accuracy if math.isfinite(accuracy) else None,
        epochs=len(trial.intermediate_values),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        reason=trial.user_attrs.get("reason"),
    )


def _accuracy(trial: "FrozenTrial") -> float:
    """The best of its epochs; minus infinity where it finished none."""
    return max(trial.intermediate_values.values(), default=-math.inf)


def _importances(study: "Study") -> dict[str, float]:
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    values = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    if len(values) < _FEWEST_FOR_IMPORTANCES or len(set(values)) == 1:
        return {}
    return {name: float(share) for name, share in get_param_importances(study).items()}
