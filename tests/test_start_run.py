"""start_run: what was asked for is checked before anything is spent, and the run's folder says so."""

import json

import pytest

from fer_tasks import start_run
from fer_tasks.errors import DatasetError, SettingsError
from fer_tasks.run_directory import RunDirectory


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_settings_are_written_with_the_data_sets_absolute_path(tmp_path, runs):
    (tmp_path / "faces of a.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    folder = start_run.run("manual__2026-11-22T10:00:00+00:00", {"dataset": "faces of a.csv", "epochs": 3})
    assert folder == str(runs / "manual__2026-11-22T10-00-00-00-00")
    settings = json.loads((runs / "manual__2026-11-22T10-00-00-00-00" / "settings.json").read_text())
    assert settings["dataset"] == str(tmp_path / "faces of a.csv")
    assert settings["epochs"] == 3
    assert settings["min_accuracy"] == 0.6


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"epcohs": 3}, SettingsError, "Did you mean 'epochs'"),
        ({"epochs": 0}, SettingsError, "1 to 1000"),
        ({"dataset": "no/such.csv"}, DatasetError, "no/such.csv"),
    ],
)
def test_what_is_refused_is_recorded_for_the_report(params, error, words):
    with pytest.raises(error, match=words):
        start_run.run("manual__1", params)
    run_dir = RunDirectory.for_run_id("manual__1")
    [attempt] = run_dir.attempts("start_run")
    assert attempt.status == "refused"
    assert words in attempt.reason
    assert not run_dir.settings_json.exists()
