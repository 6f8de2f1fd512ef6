"""A trigger's conf from somebody who means harm: nothing is rendered or executed, no path leads out, no crash."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tasks import start_run
from fer_tasks.dataset_source import open_dataset
from fer_tasks.errors import DatasetError, PipelineError, SettingsError
from fer_tasks.initial_weights import find_initial_model
from fer_tasks.settings import RunSettings
from fer_tasks.teachers import load_teachers

PROJECT = Path(__file__).resolve().parent.parent
CSV = "emotion,pixels,Usage\n0,1 2 3,Training\n"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """allowed/ and runs/ may be read, secret/ may not."""
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_DATA_ROOTS", f"{tmp_path / 'allowed'}:{tmp_path / 'allowed too'}")
    monkeypatch.chdir(tmp_path)
    for folder in ("allowed", "allowed too", "secret", "allowedbutnot", "runs/former"):
        (tmp_path / folder / "set" / "train" / "happy").mkdir(parents=True)
        (tmp_path / folder / "faces.csv").write_text(CSV)
        (tmp_path / folder / "model.keras").write_bytes(b"a model")
        (tmp_path / folder / "set" / "train" / "happy" / "a.png").write_bytes(b"an image")
    (tmp_path / "allowed" / "link.csv").symlink_to(tmp_path / "secret" / "faces.csv")
    (tmp_path / "allowed" / "model").mkdir()
    (tmp_path / "allowed" / "model" / "model.keras").symlink_to(tmp_path / "secret" / "model.keras")
    return tmp_path


def started(**params) -> dict:
    return json.loads((Path(start_run.run("manual__1", params)) / "settings.json").read_text())


@pytest.mark.parametrize("path", ["allowed/faces.csv", "allowed too/faces.csv", "allowed/set", "runs/former/faces.csv"])
def test_a_data_set_below_an_allowed_folder_is_taken(place, path):
    assert started(dataset=path)["dataset"] == str(place / path)


@pytest.mark.parametrize(
    "path",
    [
        "secret/faces.csv",
        "secret",
        "allowedbutnot/faces.csv",
        "allowed/../secret/faces.csv",
        "allowed/link.csv",
        "/etc/passwd",
        "~/.ssh/id_ed25519",
        "/proc/self/environ",
        "secret/nothing-of-that-name.csv",
        ".",
    ],
)
def test_a_data_set_outside_of_the_allowed_folders_is_refused_without_a_look_at_it(path):
    with pytest.raises(
        SettingsError, match=r"'dataset' is .*outside of the folders that FER_DATA_ROOTS allows"
    ) as caught:
        started(dataset=path)
    assert "did you mean" not in str(caught.value)  # that would tell what else is there


@pytest.mark.parametrize("setting", ["initial_weights", "teachers"])
@pytest.mark.parametrize(
    "path", ["secret", "secret/model.keras", "allowed/model", "allowed/model/model.keras", "secret/no-model", "x\0y"]
)
def test_a_model_outside_of_the_allowed_folders_is_refused(setting, path):
    with pytest.raises(SettingsError, match=f"'{setting}' is .*FER_DATA_ROOTS"):
        started(**{setting: path})


@pytest.mark.parametrize("load", [find_initial_model, load_teachers])
def test_a_model_that_became_a_link_after_the_start_is_not_loaded(place, load):
    settings = RunSettings(initial_weights="allowed/model", teachers="allowed/model")
    with pytest.raises(SettingsError, match="FER_DATA_ROOTS"):
        load(settings)


@pytest.mark.parametrize("path", ["allowed/model.keras", "allowed", "runs/former", "pretrained"])
def test_an_allowed_model_is_taken(place, path):
    assert started(initial_weights=path)["initial_weights"] == (path if path == "pretrained" else str(place / path))


def test_a_data_set_that_became_a_link_after_the_start_is_not_read(place):
    location = started(dataset="allowed/faces.csv")["dataset"]
    Path(location).unlink()
    Path(location).symlink_to(place / "secret" / "faces.csv")
    with pytest.raises(SettingsError, match="FER_DATA_ROOTS"):
        open_dataset(location)


@pytest.mark.parametrize("link", ["train/happy/b.png", "train/sad", "test"])
def test_a_link_in_an_image_folder_must_not_lead_out(place, link):
    (place / "allowed" / "set" / link).symlink_to(place / "secret" / ("faces.csv" if "." in link else "set/train"))
    with pytest.raises(DatasetError, match=rf"holds the link '.*{link}', which leads outside .*FER_DATA_ROOTS"):
        open_dataset("allowed/set")


def test_a_link_inside_of_the_allowed_folders_is_followed(place):
    images, others = (place / folder / "set" / "train" for folder in ("allowed", "allowed too"))
    (images / "happy" / "b.png").symlink_to(others / "happy" / "a.png")
    (images / "sad").symlink_to(others / "happy")
    assert open_dataset("allowed/set").members == ("train/happy/a.png", "train/happy/b.png", "train/sad/a.png")


def test_without_allowed_folders_every_path_may_be_read(place, monkeypatch):
    monkeypatch.setenv("FER_DATA_ROOTS", "")
    assert started(dataset="secret/faces.csv")["dataset"] == str(place / "secret" / "faces.csv")


def test_an_allowed_folder_that_is_no_absolute_path_is_refused(monkeypatch):
    monkeypatch.setenv("FER_DATA_ROOTS", "data")
    with pytest.raises(SettingsError, match="FER_DATA_ROOTS holds 'data'; expected absolute paths"):
        started(dataset="allowed/faces.csv")


@pytest.mark.parametrize(
    "name",
    [
        "$(touch marker).csv",
        "`touch marker`.csv",
        "; touch marker #.csv",
        "a\n touch marker\n.csv",
        "{{ 7 * 7 }}{% for x in () %}.csv",
        "{{ conn.spark_default }}.csv",
        "{{ macros.os.system('touch marker') }}.csv",
        "%(touch marker)s ${jndi:ldap:127.0.0.1}.csv",
    ],
)
def test_shell_and_template_characters_are_nothing_but_characters(place, name):
    (place / "allowed" / name).write_text(CSV)
    assert started(dataset=f"allowed/{name}")["dataset"] == str(place / "allowed" / name)
    assert not (place / "marker").exists()


def nested(depth: int) -> list:
    deep: list = []
    for _ in range(depth):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"min_accuracy": 10**400}, "'min_accuracy' is inf"),
        ({"min_accuracy": -(10**400)}, "'min_accuracy' is -inf"),
        ({"epochs": 10**5000}, "a number of great length"),
        ({"seed": 2**31}, "0 to 2147483647"),
        ({"epochs": nested(100_000)}, r"\[\[\[\[\[\[\[\.\.\.\]"),
        ({"preset": nested(100_000)}, r"\(list\)"),
        ({"dataset": {"a" * 10**6: nested(100_000)}}, r"\(dict\)"),
        ({"dataset": "x" * 4097}, "has 4,097 characters; allowed: 4,096"),
        ({"dataset": "x" * 4000}, "name too long"),
        ({"initial_weights": "x" * 4000}, "name too long"),
        ({"architecture": "x" * 10**6}, "allowed: resnet"),
        ({"x" * 10**6: 1}, "There is no setting"),
        ({"__class__": "x"}, "There is no setting '__class__'"),
        ({"registered_model": "a' OR name LIKE '%"}, "must match"),
    ],
)
def test_values_out_of_all_measure_are_refused_in_few_words(params, words, monkeypatch):
    monkeypatch.delenv("FER_DATA_ROOTS")
    with pytest.raises(PipelineError, match=words) as caught:
        start_run.run("manual__1", params)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("conf", ["[" * 200_000, '{"epochs":' * 100_000, "[1]" * 10**5])
def test_the_command_line_refuses_a_deep_or_broken_conf_in_few_words(conf):
    from launcher.run import _json_object

    with pytest.raises(Exception, match="CONF is no JSON") as caught:
        _json_object(conf)
    assert len(str(caught.value)) < 1000


def test_no_shell_and_no_evaluation_is_used_anywhere():
    """ruff's rules on subprocess with a shell, eval, exec, pickle, yaml, temporary files and the like."""
    rules = "S102,S103,S104,S108,S301,S302,S306,S307,S308,S323,S324,S501,S502,S506,S602,S604,S605,S609,S612,S701,S702"
    folders = ["fer_tasks", "spark_jobs", "dags", "plugins", "launcher", "pretraining"]
    command = [Path(sys.executable).with_name("ruff"), "check", "--ignore-noqa", "--isolated", "--select", rules]
    answer = subprocess.run([*command, *folders], cwd=PROJECT, capture_output=True, text=True, env={**os.environ})
    assert answer.returncode == 0, answer.stdout
