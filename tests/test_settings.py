"""RunSettings: what is refused, in which words, and what the form is told."""

import pytest

from fer_tasks.errors import SettingsError
from fer_tasks.presets import PRESETS
from fer_tasks.settings import RunSettings


def test_defaults_are_those_of_the_documentation():
    settings = RunSettings()
    assert settings.dataset == "sample"
    assert settings.min_accuracy == 0.60
    assert settings.denoise == "none"
    assert settings.architecture == "resnet"


def test_params_survive_a_round_trip():
    params = RunSettings.from_params({"epochs": 3, "dataset": "/data/it's here.csv"}).to_params()
    assert params["epochs"] == 3
    assert params["dataset"] == "/data/it's here.csv"
    assert RunSettings.from_params(params).to_params() == params


def test_a_preset_fills_what_is_left_open_and_nothing_else():
    drawn, real = RunSettings.from_params({}), RunSettings.from_params({"dataset": "/data/x.csv", "patience": None})
    assert drawn == RunSettings()
    assert (real.preset, real.patience) == ("auto", PRESETS["fer2013"]["patience"])
    assert real.epochs > drawn.epochs
    assert RunSettings.from_params({"preset": "fer2013"}).epochs == real.epochs
    assert RunSettings.from_params({"preset": "fer2013", "epochs": 2}).epochs == 2
    assert RunSettings.from_params({"dataset": "/data/x.csv", "preset": "sample"}).epochs == drawn.epochs


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fills_the_same_settings_within_their_bounds(name):
    settings = RunSettings.from_params({"preset": name}).to_params()
    assert PRESETS[name].keys() == PRESETS["sample"].keys()
    assert {key: settings[key] for key in PRESETS[name]} == PRESETS[name]


def test_an_integer_stands_for_a_number_and_becomes_one():
    accuracy = RunSettings.from_params({"min_accuracy": 1}).min_accuracy
    assert accuracy == 1.0
    assert type(accuracy) is float


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"epcohs": 3}, ["'epcohs'", "'epochs'"]),
        ({"zzzz": 3}, ["'zzzz'", "min_accuracy"]),
        ({"min_accuracy": "0.6"}, ["min_accuracy", "'0.6'", "str", "number"]),
        ({"epochs": True}, ["epochs", "True", "bool", "integer"]),
        ({"epochs": 3.0}, ["epochs", "3.0", "float", "integer"]),
        ({"epochs": 0}, ["epochs", "0", "1 to 1000"]),
        ({"seed": None}, ["seed", "None"]),
        ({"frozen_stages": 2}, ["frozen_stages", "2", "initial_weights"]),
        ({"augment": 1}, ["augment", "1", "boolean"]),
        ({"min_accuracy": 1.01}, ["min_accuracy", "1.01", "0.0 to 1.0"]),
        ({"min_accuracy": float("nan")}, ["min_accuracy", "nan"]),
        ({"learning_rate": float("inf")}, ["learning_rate", "inf"]),
        ({"denoise": "bilateral"}, ["denoise", "bilateral", "none, median, gaussian, nlmeans"]),
        ({"dataset": ""}, ["dataset", "empty"]),
        ({"dataset_sha256": "abc"}, ["dataset_sha256", "abc"]),
        ({"registered_model": "fer\n"}, ["registered_model"]),
        ({"registered_model": "../x"}, ["registered_model", "../x"]),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_what_came_and_what_is_allowed(params, words):
    with pytest.raises(SettingsError) as refused:
        RunSettings.from_params(params)
    for word in words:
        assert word in str(refused.value)


def test_airflows_form_would_call_an_empty_default_missing():
    assert [name for name, field in RunSettings.form_fields().items() if field["default"] == ""] == []


def test_the_form_gets_default_type_bounds_and_texts():
    form = RunSettings.form_fields()
    assert form["min_accuracy"] == {
        "default": 0.60,
        "type": "number",
        "title": "Minimum test accuracy",
        "description_md": "A model below it is rejected. Equality passes, here and below.",
        "section": "Gate",
        "minimum": 0.0,
        "maximum": 1.0,
    }
    assert form["denoise"]["enum"] == ["none", "median", "gaussian", "nlmeans"]
    assert form["balance_emotions"]["type"] == "boolean"
    assert form["seed"]["type"] == "integer"
    assert (form["epochs"]["type"], form["epochs"]["default"]) == (["null", "integer"], None)
    assert form["dataset_sha256"]["type"] == ["null", "string"]
    assert form["dataset_sha256"]["default"] is None
    assert all(field["title"] and field["description_md"] and field["section"] for field in form.values())
