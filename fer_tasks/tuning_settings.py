"""TuningSettings: what the search for settings adds to the settings of a run, from which its trials vary.

Light, because the DAG processor imports it at every parse.
"""

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fer_tasks.setting_fields import setting
from fer_tasks.settings import RunSettings, markdown_table

if TYPE_CHECKING:
    from fer_tasks.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class TuningSettings(RunSettings):
    """Everything a user may choose for one search. Raises SettingsError as RunSettings does."""

    study_name: str = setting(
        "study",
        "Study",
        "Study",
        "A new name starts a study. That of an earlier one goes on with it: its trials count.",
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    num_trials: int = setting(
        12, "Study", "Trials", "How many trials the study shall have, earlier ones included.", minimum=1, maximum=10_000
    )
    max_parallel_trials: int = setting(
        2,
        "Study",
        "Trials at a time",
        "So many tasks work on the study, each one trial at a time.",
        minimum=1,
        maximum=256,
    )
    epochs_per_trial: int = setting(
        8, "Study", "Epochs a trial", "Stands for `epochs` and `patience` in a trial.", minimum=1, maximum=1000
    )
    prune: bool = setting(
        True,
        "Study",
        "Stop hopeless trials",
        "Ends a trial whose validation accuracy is below the median of the others at the same epoch.",
    )

    @classmethod
    def form_fields(cls) -> dict[str, dict[str, Any]]:
        """As RunSettings.form_fields; the study's own come first."""
        return {**cls.study_fields(), **super().form_fields()}

    @classmethod
    def study_fields(cls) -> dict[str, dict[str, Any]]:
        """The part of the form that RunSettings has not."""
        return {name: spec for name, spec in super().form_fields().items() if spec["section"] == "Study"}

    @property
    def base(self) -> RunSettings:
        """The settings that the trials vary from."""
        return RunSettings(**{spec.name: getattr(self, spec.name) for spec in fields(RunSettings)})

    @classmethod
    def load(cls, run_dir: "RunDirectory") -> "TuningSettings":
        """What `save` wrote."""
        return cls.from_params(json.loads(run_dir.tuning_json.read_text()) | run_dir.load_settings().to_params())

    def save(self, run_dir: "RunDirectory") -> None:
        """Write tuning.json, which holds the study's own settings, then settings.json, which holds all others."""
        params = self.to_params()
        run_dir.save_json(run_dir.tuning_json, {name: params[name] for name in self.study_fields()})
        run_dir.save_json(run_dir.settings_json, self.base.to_params())


if __name__ == "__main__":
    print(markdown_table(TuningSettings.study_fields()))
