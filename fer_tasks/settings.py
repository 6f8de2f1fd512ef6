"""RunSettings: the one home of every default, bound and form text of a run, its fields by section in their modules.

The trigger form, the command line and the README's table are derived from it. Standard library only, because the
DAG processor imports it at every parse.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from fer_tasks.data_settings import DataQualitySettings, DataSettings, PreprocessingSettings
from fer_tasks.errors import SettingsError
from fer_tasks.judgement_settings import EvaluationSettings, ExplanationSettings, GateSettings, RetentionSettings
from fer_tasks.presets import PRESETS, preset_for
from fer_tasks.setting_fields import check_fields, form_of, given_values
from fer_tasks.training_settings import TrainingSettings

if TYPE_CHECKING:
    from fer_tasks.run_directory import RunDirectory


# A dataclass takes the fields of its last base first: read from the right, this is the form's order.
@dataclass(frozen=True, kw_only=True)
class RunSettings(
    RetentionSettings,
    ExplanationSettings,
    GateSettings,
    EvaluationSettings,
    TrainingSettings,
    PreprocessingSettings,
    DataQualitySettings,
    DataSettings,
):
    """Everything a user may choose for one run.

    Raises SettingsError, naming the field, what came and what is allowed, for a wrong type (`"0.6"` for a number,
    `True` for an integer) or a value out of range.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        if self.frozen_stages and self.initial_weights == "none":
            raise SettingsError(
                f"Setting 'frozen_stages' is {self.frozen_stages} without initial weights: stages that were never "
                "trained would stay so. Set 'initial_weights' too, or 'frozen_stages' to 0."
            )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Settings from a JSON object (a trigger's conf, a file); the preset fills what it leaves open.

        An integer may stand for a number; nothing else is converted. Raises SettingsError for an unknown name, a wrong
        type or a value out of range."""
        known = {spec.name: spec for spec in fields(cls)}
        given = {
            name: value
            for name, value in given_values(cls, params).items()
            if not (value is None and known[name].metadata.get("preset"))
        }
        chosen = cls(**given)  # refuses what is out of bounds, the preset's name too
        return cls(**{**preset_for(chosen.preset, chosen.is_sample, chosen.initial_weights), **given})

    def with_preset_of(self, other: "RunSettings") -> "RunSettings":
        """These settings with the recipe that `other`'s preset stands for, whatever `other` changed of it."""
        return replace(self, **preset_for(other.preset, other.is_sample, other.initial_weights))

    def to_params(self) -> dict[str, Any]:
        """The JSON object that `from_params` turns back into these settings."""
        return asdict(self)

    def save(self, run_dir: "RunDirectory") -> None:
        """Write settings.json, which `RunDirectory.load_settings` reads."""
        run_dir.save_json(run_dir.settings_json, self.to_params())

    @classmethod
    def form_fields(cls) -> dict[str, dict[str, Any]]:
        """What Airflow's trigger form shows; see `form_of`."""
        return form_of(cls)


def markdown_table(form_fields: Mapping[str, Mapping[str, Any]]) -> str:
    """A form's fields as a table of the README; `python -m fer_tasks.settings` prints that of RunSettings."""
    rows = ["| Setting | Default | Allowed | What it does |", "| --- | --- | --- | --- |"]
    section = None
    for name, form in form_fields.items():
        if form["section"] != section:
            section = form["section"]
            rows.append(f"| **{section}** | | | |")
        default = json.dumps(form["default"])
        if name in PRESETS["sample"]:
            default = ", ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items())
            default = f"`null` ({default})"
        else:
            default = f"`{default}`"
        rows.append(f"| `{name}` | {default} | {_allowed(form)} | {form['description_md']} |")
    return "\n".join(rows)


def _allowed(form: Mapping[str, Any]) -> str:
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    if "minimum" in form:
        return f"{form['minimum']} to {form['maximum']}"
    return "`true`, `false`" if form["type"] == "boolean" else "text"


if __name__ == "__main__":
    print(markdown_table(RunSettings.form_fields()))
