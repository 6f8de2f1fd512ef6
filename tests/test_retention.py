"""Which runs are deleted, and which never: folders as runs leave them, and a real registry."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from finished_run import finish
from mlflow.exceptions import MlflowException
from published_runs import write_attempts, write_run

from fer_tasks import report
from fer_tasks.retention import clean_after, clean_runs
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.tracking import connected

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def registry(registry_home):
    """The embedded one of this module."""


@pytest.fixture
def runs(tmp_path):
    """A folder of four ended runs, of the first four days of January, each with 1,000 bytes of faces."""
    for day in (1, 2, 3, 4):
        run_dir = write_run(tmp_path / "runs", f"run-{day}", day=day)
        end(run_dir, day)
        run_dir.faces.write_bytes(bytes(1000))
    return tmp_path / "runs"


def end(run_dir, day, status="succeeded"):
    write_attempts(run_dir, "publish_report", {"started_at": f"2026-01-{day:02}T09:00:00+00:00", "status": status})


def names(runs):
    return sorted(path.name for path in runs.iterdir() if path.is_dir())


def register(name, folder):
    with connected() as client:
        with suppress(MlflowException):
            client.create_registered_model(name)
        client.create_model_version(name, "file:///nowhere", tags={"run_folder": folder})


def test_the_oldest_go_and_the_index_is_written_again(runs):
    done = clean_runs(runs, 2)
    assert done.deleted == ("run-1", "run-2")
    assert names(runs) == ["run-3", "run-4"]
    index = (runs / "index.html").read_text()
    assert "run-3" in index
    assert "run-2" not in index
    assert clean_runs(runs, 2).deleted == ()
    assert str(clean_runs(runs, 2)) == "Deleted 0 runs, 0.0 MB: none."


def test_zero_keeps_all_and_a_missing_folder_is_no_fault(runs, tmp_path):
    assert clean_runs(runs, 0).deleted == ()
    assert clean_runs(tmp_path / "nowhere", 1).deleted == ()
    assert names(runs) == ["run-1", "run-2", "run-3", "run-4"]


def test_a_run_that_was_ever_promoted_stays_as_its_folder_or_the_registry_tells(runs):
    (runs / "run-1" / "promotion.json").write_text("{}")
    end(write_run(runs, "unrecorded", day=2), 2)
    register("killed-before-its-record", "unrecorded")
    assert clean_runs(runs, 1).deleted == ("run-2", "run-3")
    assert names(runs) == ["run-1", "run-4", "unrecorded"]


@pytest.mark.parametrize(
    ("step", "attempt"),
    [
        ("train_model", {"started_at": "2026-01-01T04:00:00+00:00", "status": "running"}),
        ("promote_model", {"started_at": "2026-01-01T09:00:00+00:00", "status": "running"}),
        ("train_model", {"started_at": "2026-01-05T00:00:00+00:00", "status": "succeeded"}),  # cleared, so goes on
    ],
)
def test_a_run_that_has_not_ended_stays(runs, step, attempt):
    write_attempts(RunDirectory(runs / "run-1"), step, attempt)
    (runs / "run-2" / "steps" / "publish_report.json").unlink()
    assert clean_runs(runs, 1).deleted == ("run-3",)


def test_a_run_that_nobody_has_written_to_for_31_days_counts_as_ended(runs):
    for name, days in (("run-1", 32), ("run-2", 30)):
        (runs / name / "steps" / "publish_report.json").unlink()
        then = time.time() - days * 24 * 3600
        for path in (runs / name).rglob("*"):
            os.utime(path, (then, then))
    assert clean_runs(runs, 1).deleted == ("run-1", "run-3")


def test_whose_model_a_run_in_progress_begins_with_or_learns_from_stays(runs):
    going = write_run(runs, "going", day=9)
    settings = RunSettings(initial_weights=str(runs / "run-1"), teachers=f"pretrained,{runs / 'run-3' / 'model.keras'}")
    settings.save(going)
    assert clean_runs(runs, 1).deleted == ("run-2", "run-4")


def test_what_is_given_back_is_told_without_what_other_runs_share(runs):
    (runs / "run-2" / "raw_faces.parquet").write_bytes(bytes(500_000))
    os.link(runs / "run-2" / "raw_faces.parquet", runs / "run-4" / "raw_faces.parquet")
    (runs / "run-1" / "model.keras").write_bytes(bytes(2_000_000))
    done = clean_runs(runs, 2)
    assert 2_000_000 < done.num_bytes < 2_100_000
    assert str(done) == "Deleted 2 runs, 2.0 MB: run-1, run-2."
    assert (runs / "run-4" / "raw_faces.parquet").read_bytes() == bytes(500_000)


def test_what_is_no_run_stays_and_what_a_killed_cleaning_left_goes(runs):
    (runs / "studies" / "study" / "trials").mkdir(parents=True)
    (runs / "somebody's notes").mkdir()
    (runs / ".run-0-0123abcd.tmp").mkdir()
    (runs / ".run-0-0123abcd.tmp" / "model.keras").touch()
    assert clean_runs(runs, 3).deleted == ("run-1",)
    assert names(runs) == ["run-2", "run-3", "run-4", "somebody's notes", "studies"]


def test_without_the_registry_nothing_is_deleted_and_no_step_fails(runs, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    asking = RunDirectory(runs / "asking")
    RunSettings(keep_runs=1).save(asking)
    clean_after(asking)
    assert "Old runs were not deleted: " in caplog.text
    assert names(runs) == ["asking", "run-1", "run-2", "run-3", "run-4"]


def test_publish_report_deletes_as_the_setting_says(runs):
    run_dir = finish(RunDirectory(runs / "newest"), "retained")
    RunSettings(registered_model="retained", keep_runs=2).save(run_dir)
    report.run(run_dir)
    assert names(runs) == ["newest", "run-4"]
    assert [attempt.status for attempt in run_dir.attempts("publish_report")] == ["succeeded"]


def test_the_command_says_what_it_deleted(runs):
    environment = {**os.environ, "FER_RUNS_FOLDER": str(runs)}
    command = [sys.executable, "-m", "fer_tasks.retention", "--keep"]
    answer = subprocess.run([*command, "3"], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Deleted 1 run, 0.0 MB: run-1.")
    refused = subprocess.run([*command, "0"], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--keep is 0; expected 1 or more." in refused.stderr
