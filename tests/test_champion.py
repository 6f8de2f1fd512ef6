"""Who is in use, who was before, and the way back: on a real registry, with versions that need no model."""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from finished_run import aliases
from mlflow.exceptions import MlflowException
from published_runs import write_run

from fer_tasks import champion
from fer_tasks.champion_alias import NOT_CHECKED, Rollback, advance, step_back, successions
from fer_tasks.errors import RegistryError
from fer_tasks.tracking import connected

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def client(registry_home):
    with connected() as client:
        yield client


def register(client, name, count, **tags):
    with suppress(MlflowException):
        client.create_registered_model(name)
    for _ in range(count):
        client.create_model_version(name, "file:///nowhere", tags=tags)


def promote(client, name, *versions):
    for version in versions:
        advance(client, name, version, expected=NOT_CHECKED)


def told(client, name):
    return [(past.version, past.how) for past in successions(client, name)]


def test_a_rollback_takes_the_former_champion_back(client, registry_home):
    register(client, "undone", 2)
    promote(client, "undone", 1, 2)
    assert step_back(client, "undone") == Rollback("undone", 2, 1, None)
    assert aliases(registry_home, "undone") == {"champion": 1}
    assert told(client, "undone") == [(1, "promotion"), (2, "promotion"), (1, "rollback")]


def test_a_clock_that_was_set_back_does_not_reorder_the_history(client, registry_home):
    register(client, "set-back", 2)
    client.set_registered_model_alias("set-back", "champion", "1")
    client.set_model_version_tag("set-back", "1", "champion since 2999-12-31T23:59:59.000001Z", "promotion")
    promote(client, "set-back", 2, 2)
    assert told(client, "set-back") == [(1, "promotion"), (2, "promotion")]
    assert successions(client, "set-back")[-1].at == "2999-12-31T23:59:59.000002+00:00"
    assert step_back(client, "set-back") == Rollback("set-back", 2, 1, None)
    assert told(client, "set-back") == [(1, "promotion"), (2, "promotion"), (1, "rollback")]


def test_a_second_rollback_goes_further_back_and_never_forth_again(client, registry_home):
    register(client, "further", 3)
    promote(client, "further", 1, 2, 3)
    assert step_back(client, "further") == Rollback("further", 3, 2, 1)
    assert aliases(registry_home, "further") == {"champion": 2, "previous_champion": 1}
    assert step_back(client, "further") == Rollback("further", 2, 1, None)
    with pytest.raises(RegistryError, match="There is no champion of 'further' before version 1, so nothing was"):
        step_back(client, "further")
    assert aliases(registry_home, "further") == {"champion": 1}


def test_what_was_rolled_back_is_never_the_former_champion(client, registry_home):
    register(client, "skipped", 4)
    promote(client, "skipped", 1, 2, 3)
    step_back(client, "skipped")
    promote(client, "skipped", 4)
    assert aliases(registry_home, "skipped") == {"champion": 4, "previous_champion": 2}
    assert step_back(client, "skipped") == Rollback("skipped", 4, 2, 1)


def test_an_old_version_promoted_once_more_does_not_lead_in_a_circle(client, registry_home):
    register(client, "circle", 2)
    promote(client, "circle", 1, 2, 1)
    assert step_back(client, "circle") == Rollback("circle", 1, 2, 1)
    assert step_back(client, "circle") == Rollback("circle", 2, 1, None)
    assert aliases(registry_home, "circle") == {"champion": 1}


def test_a_retried_promotion_is_in_the_history_once(client):
    register(client, "once", 1)
    promote(client, "once", 1, 1)
    assert told(client, "once") == [(1, "promotion")]


def test_a_promotion_killed_before_its_history_was_written_is_ended_by_its_retry(client, registry_home):
    register(client, "unwritten", 2)
    promote(client, "unwritten", 1)
    client.set_registered_model_alias("unwritten", "previous_champion", "1")
    client.set_registered_model_alias("unwritten", "champion", "2")
    advance(client, "unwritten", 2, expected=1)
    assert told(client, "unwritten") == [(1, "promotion"), (2, "promotion")]
    assert aliases(registry_home, "unwritten") == {"champion": 2, "previous_champion": 1}


def test_a_rollback_killed_after_its_first_move_is_ended_by_the_next_one(client, registry_home):
    register(client, "half-way", 3)
    promote(client, "half-way", 1, 2, 3)
    client.set_registered_model_alias("half-way", "champion", "2")
    assert step_back(client, "half-way") == Rollback("half-way", 3, 2, 1)
    assert aliases(registry_home, "half-way") == {"champion": 2, "previous_champion": 1}
    assert told(client, "half-way")[-1] == (2, "rollback")
    assert step_back(client, "half-way") == Rollback("half-way", 2, 1, None)


def test_without_a_champion_there_is_nothing_to_roll_back(client):
    with pytest.raises(RegistryError, match="'nobody' has no champion, so there is nothing to roll back"):
        step_back(client, "nobody")


@dataclass
class Overtaken:
    """A client of a server whose alias another machine moves to `rival` right after each move."""

    client: Any
    rival: str

    def __getattr__(self, name):
        return getattr(self.client, name)

    def set_registered_model_alias(self, name, alias, version):
        self.client.set_registered_model_alias(name, alias, version)
        if alias == "champion":
            self.client.set_registered_model_alias(name, alias, self.rival)


def test_a_promotion_that_another_machine_overtakes_knows_that_it_lost(client, registry_home):
    register(client, "overtaken", 3)
    promote(client, "overtaken", 1)
    with pytest.raises(RegistryError, match=r"version 2 was made champion, but .* another machine .* to version 3"):
        advance(Overtaken(client, "3"), "overtaken", 2, expected=1)
    assert aliases(registry_home, "overtaken")["champion"] == 3
    assert told(client, "overtaken") == [(1, "promotion")]


def run(monkeypatch, capsys, *arguments):
    """(exit status, standard output, standard error) of the command."""
    monkeypatch.setattr(sys, "argv", ["champion", *arguments])
    status = champion.main()
    return (status, *capsys.readouterr())


def test_what_is_in_use_is_shown_with_its_history(client, registry_home, monkeypatch, capsys):
    register(client, "shown", 3, accuracy="0.71349", run_folder="manual__1", model_sha256="ab12")
    promote(client, "shown", 1, 2, 3)
    step_back(client, "shown")
    status, output, _ = run(monkeypatch, capsys, "show", "--model", "shown")
    assert status == 0
    lines = output.splitlines()
    assert lines[:5] == [
        "model            shown",
        "version          2",
        "accuracy         71.3% of the test images of its run",
        "run              manual__1",
        "MLflow run       none",
    ]
    assert lines[5].startswith("in use since     20")
    assert lines[5].endswith(" UTC (rollback)")
    assert lines[6:10] == [
        "model SHA-256    ab12",
        f"registry         sqlite:///{registry_home}/mlflow.db",
        "former champion  version 1",
        "history",
    ]
    assert [line[25:] for line in lines[10:]] == [
        "  version 1  promotion",
        "  version 2  promotion",
        "  version 3  promotion",
        "  version 2  rollback",
    ]


def test_a_version_made_by_other_means_is_shown_as_that(client, monkeypatch, capsys):
    register(client, "foreign", 1)
    client.set_registered_model_alias("foreign", "champion", "1")
    status, output, _ = run(monkeypatch, capsys, "show", "--model", "foreign")
    assert status == 0
    assert "accuracy         unknown (the version was not made by this pipeline)" in output
    assert "in use since     unknown (the alias was moved by other means)" in output
    assert "former champion  none" in output


def test_the_command_says_what_it_changed_and_how_to_undo_it(client, monkeypatch, capsys):
    register(client, "said", 3)
    promote(client, "said", 1, 2, 3)
    assert run(monkeypatch, capsys, "rollback", "--model", "said")[:2] == (
        0,
        "said: version 3 -> version 2. Another rollback would go back to version 1.\n"
        "To use version 3 after all, clear promote_model of its run.\n",
    )
    assert run(monkeypatch, capsys, "rollback", "--model", "said")[:2] == (
        0,
        "said: version 2 -> version 1. There is none before it.\n"
        "To use version 2 after all, clear promote_model of its run.\n",
    )
    status, output, error = run(monkeypatch, capsys, "rollback", "--model", "said")
    assert (status, output) == (1, "")
    assert error.startswith("There is no champion of 'said' before version 1, so nothing was changed.")


def test_a_rollback_reaches_the_index_of_all_reports(client, registry_home, monkeypatch, capsys):
    runs = registry_home / "runs"
    for number in (1, 2):
        write_run(runs, f"manual__{number}", day=number, version=number, registered_model="told")
        register(client, "told", 1, run_folder=f"manual__{number}")
        client.set_model_version_tag("told", str(number), f"champion since 2026-01-0{number}T09:00:00Z", "promotion")
    for alias, version in (("champion", "2"), ("previous_champion", "1")):
        client.set_registered_model_alias("told", alias, version)
    assert run(monkeypatch, capsys, "rollback", "--model", "told")[0] == 0
    note = json.loads((runs / "manual__2" / "rollback.json").read_text())
    assert (note["version"], note["champion"], note["champion_run"]) == (2, 1, "manual__1")
    index = (runs / "index.html").read_text()
    assert 'manual__1</a><span class="tag">champion</span>' in index
    assert 'manual__2</a><span class="tag">rolled back</span>' in index


def test_a_name_that_no_model_can_have_is_refused(monkeypatch, capsys):
    status, _, error = run(monkeypatch, capsys, "show", "--model", "it's")
    assert status == 1
    assert "registered_model" in error


def test_a_fresh_machine_has_no_champion_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    command = [sys.executable, "-m", "fer_tasks.champion", "show"]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"fer-classifier has no champion in sqlite:///{tmp_path}/mlflow.db. The first")
