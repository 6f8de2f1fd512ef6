"""What a field of a settings dataclass is made of: its default, its place and texts in the form, its bounds.

Standard library only, because the DAG processor imports it at every parse.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any

from fer_tasks.errors import SettingsError

_JSON_TYPES: dict[Any, str | list[str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    str | None: ["null", "string"],  # Airflow's form takes an empty field for null, and refuses it elsewhere
}

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 300


def setting(default: Any, section: str, title: str, help_text: str, **schema: Any) -> Any:
    """A dataclass field. schema: bounds in the words of JSON Schema, such as `minimum`, `enum`, `pattern`."""
    return field(default=default, metadata={"section": section, "title": title, "help": help_text, "schema": schema})


def given_values(kind: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a JSON object for the settings dataclass `kind`; an integer may stand for a number.

    Raises SettingsError for a name that is no setting of it.
    """
    known = {spec.name: spec for spec in fields(kind)}
    for name in params:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known settings: {', '.join(known)}."
            raise SettingsError(f"There is no setting {shown(name)}.{hint}")
    return {name: as_number(value) if known[name].type is float else value for name, value in params.items()}


def form_of(kind: Any) -> dict[str, dict[str, Any]]:
    """{setting: {default, type, title, description_md, section, bounds...}}, fit for Airflow's `Param(**spec)`."""
    return {
        spec.name: {
            **form_value(spec),
            "title": spec.metadata["title"],
            "description_md": spec.metadata["help"],
            "section": spec.metadata["section"],
            **spec.metadata["schema"],
        }
        for spec in fields(kind)
    }


def check_fields(settings: Any) -> None:
    """`check` of every field of a settings dataclass."""
    for spec in fields(settings):
        check(spec.name, getattr(settings, spec.name), spec.type, spec.metadata["schema"])


def form_value(spec: "Field[Any]") -> dict[str, Any]:
    """Default and JSON type; what a preset fills may stay empty."""
    if spec.metadata.get("preset"):
        return {"default": None, "type": ["null", _JSON_TYPES[spec.type]]}
    return {"default": spec.default, "type": _JSON_TYPES[spec.type]}


def as_number(value: Any) -> Any:
    """A whole number as a float, infinity where it is too large for one; anything else as it is."""
    try:
        return float(value) if type(value) is int else value
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: Any) -> str:
    """A value from outside as an error tells it: as Python writes it, but neither long nor deep."""
    try:
        return _BRIEF.repr(value)
    except ValueError:  # Python refuses to write a whole number of more than 4,300 digits
        return "a number of great length"


def check(name: str, value: Any, expected: Any, schema: Mapping[str, Any]) -> None:
    """Raise SettingsError unless value has exactly the expected type and keeps the schema's bounds."""
    if expected == str | None:
        if value is None:
            return
        expected = str
    if type(value) is not expected or (expected is float and not math.isfinite(value)):
        article = "an" if expected is int else "a"
        raise SettingsError(
            f"Setting {name!r} is {shown(value)} ({type(value).__name__}); expected {article} {_JSON_TYPES[expected]}."
        )
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if expected in (int, float) and not low <= value <= high:
        raise SettingsError(f"Setting {name!r} is {shown(value)}; allowed: {low} to {high}.")
    if "enum" in schema and value not in schema["enum"]:
        raise SettingsError(f"Setting {name!r} is {shown(value)}; allowed: {', '.join(schema['enum'])}.")
    if expected is str and len(value) < schema.get("minLength", 0):
        raise SettingsError(f"Setting {name!r} is empty; give it a value.")
    if expected is str and len(value) > schema.get("maxLength", math.inf):
        raise SettingsError(f"Setting {name!r} has {len(value):,} characters; allowed: {schema['maxLength']:,}.")
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        raise SettingsError(f"Setting {name!r} is {shown(value)}; it must match {schema['pattern']}.")
