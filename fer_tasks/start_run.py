"""start_run: check what was asked for, before anything is spent on it, and open the run's folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_tasks.data_roots import check_allowed
from fer_tasks.dataset_source import open_dataset
from fer_tasks.errors import SettingsError
from fer_tasks.initial_weights import WEIGHTS_BY_NAME, model_file
from fer_tasks.run_directory import RunDirectory
from fer_tasks.setting_fields import shown
from fer_tasks.settings import RunSettings
from fer_tasks.teachers import NO_TEACHERS, teacher_names


def run(run_id: str, params: Mapping[str, Any], kind: type[RunSettings] = RunSettings) -> str:
    """Validate the settings and look at the data set, write settings.json, return the run's folder.

    kind: TuningSettings for a search, which also writes tuning.json.
    Raises SettingsError for an unknown, mistyped or out-of-range setting and for a path outside of FER_DATA_ROOTS, and
    DatasetError for a data set that is not there or is of no known form. A relative data set path is taken from the
    working directory.
    """
    run_dir = RunDirectory.for_run_id(run_id)
    with run_dir.attempt("start_run"):
        settings = kind.from_params(params)
        if not settings.is_sample:
            settings = replace(settings, dataset=str(open_dataset(settings.dataset).path))
        teachers = [_model("teachers", name) for name in teacher_names(settings.teachers)]
        settings = replace(
            settings,
            initial_weights=_model("initial_weights", settings.initial_weights),
            teachers=",".join(teachers) or NO_TEACHERS,
        )
        settings.save(run_dir)
    return str(run_dir)


def _model(setting: str, name: str) -> str:
    """A model's name as it is, a path made absolute. Raises SettingsError when there is no model."""
    if name in WEIGHTS_BY_NAME:
        return name
    path = Path(name).absolute()
    try:
        check_allowed(setting, model_file(path))
        is_there = model_file(path).is_file()
    except OSError as error:
        raise SettingsError(f"Setting {setting!r} is {shown(name)}: {error.strerror}.") from error
    if not is_there:
        raise SettingsError(
            f"Setting {setting!r} is {shown(name)}: there is no {model_file(path)}. "
            f"Allowed: {', '.join(WEIGHTS_BY_NAME)}, a run's folder that has a model, or a .keras file."
        )
    return str(path)
