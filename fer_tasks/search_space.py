"""The settings that a search varies, and between which values. The one place to change that."""

import warnings
from typing import TYPE_CHECKING, Any

from fer_tasks.settings import RunSettings

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def suggest(trial: "BaseTrial") -> dict[str, Any]:
    """{setting: value} that the study proposes to try."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.005, 0.5, log=True),
        "batch_size": trial.suggest_categorical("batch_size", (32, 64, 128, 256)),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "self_distillation": trial.suggest_float("self_distillation", 0.0, 0.8),
        "crop_side": trial.suggest_int("crop_side", 36, 48, step=4),
    }


def searched() -> list[str]:
    """The names of the settings that `suggest` proposes values for."""
    import optuna

    return list(suggest(optuna.create_study().ask()))


def starting_point(base: RunSettings) -> dict[str, Any]:
    """The base's own values of what is searched, for the first trial; empty where they lie outside the space."""
    from optuna.trial import FixedTrial

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a number out of its range is a warning to Optuna, a foreign choice an error
        try:
            return suggest(FixedTrial(base.to_params()))
        except (UserWarning, ValueError):
            return {}
