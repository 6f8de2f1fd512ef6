"""RunDirectory: names that stay inside, writes that are whole or absent, and the record of tries."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Score:
    name: str
    value: float | None


@pytest.mark.parametrize(
    ("run_id", "folder"),
    [
        ("manual__2026-11-22T19:39:22.716166+00:00", "manual__2026-11-22T19-39-22.716166-00-00"),
        ("../../etc", "-..-etc"),
        ("..", "run"),
        ("a/b c\n'", "a-b-c--"),
        ("été", "-t-"),
    ],
)
def test_a_run_id_becomes_one_folder_below_the_runs_folder(tmp_path, monkeypatch, run_id, folder):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    root = RunDirectory.for_run_id(run_id).root
    assert root == tmp_path / folder
    assert root.resolve().parent == tmp_path.resolve()


def test_a_record_reads_back_and_nan_becomes_null(tmp_path):
    run_dir = RunDirectory(tmp_path)
    run_dir.save_json(run_dir.gate_json, Score("accuracy", float("nan")))
    assert json.loads(run_dir.gate_json.read_text()) == {"name": "accuracy", "value": None}
    assert run_dir.load_json(run_dir.gate_json, Score) == Score("accuracy", None)


def test_a_foreign_record_is_refused_in_words(tmp_path):
    run_dir = RunDirectory(tmp_path)
    run_dir.gate_json.write_text('{"value": 1}')
    with pytest.raises(PipelineError, match=r"gate\.json does not hold a Score"):
        run_dir.load_json(run_dir.gate_json, Score)


def test_a_failed_write_leaves_the_former_file_and_nothing_beside_it(tmp_path):
    run_dir = RunDirectory(tmp_path)
    run_dir.report_html.write_text("former")

    def write_and_fail() -> None:
        with run_dir.replacing(run_dir.report_html) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_and_fail()
    assert run_dir.report_html.read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_replaces_a_folder(tmp_path):
    run_dir = RunDirectory(tmp_path)
    for content in ("old", "new"):
        with run_dir.replacing(run_dir.faces) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in run_dir.faces.iterdir()] == ["new"]


def test_what_a_killed_write_left_is_swept_by_the_next_try(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from fer_tasks.run_directory import RunDirectory\n"
        "run_dir = RunDirectory(sys.argv[1])\n"
        "with run_dir.attempt('train_model'), run_dir.replacing(run_dir.model) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], env={**os.environ, "PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    run_dir = RunDirectory(tmp_path)
    assert not run_dir.model.exists()
    with run_dir.attempt("train_model"), run_dir.replacing(run_dir.model) as temporary:
        temporary.write_text("whole")
    assert run_dir.model.read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "steps"]
    assert [attempt.status for attempt in run_dir.attempts("train_model")] == ["running", "succeeded"]


def test_an_attempt_records_a_verdict_and_a_fault_apart(tmp_path):
    run_dir = RunDirectory(tmp_path)
    for error in (DatasetError("no rows"), OSError("disk full")):
        with pytest.raises(type(error)), run_dir.attempt("ingest_dataset"):
            raise error
    refused, failed = run_dir.attempts("ingest_dataset")
    assert (refused.status, refused.reason) == ("refused", "no rows")
    assert (failed.status, failed.reason) == ("failed", "OSError: disk full")
    assert failed.seconds is not None
    assert failed.seconds >= 0
    assert run_dir.attempts("train_model") == []


def test_what_was_reused_is_a_success_beside_the_other_tries(tmp_path):
    run_dir = RunDirectory(tmp_path)
    with pytest.raises(OSError, match="lost"), run_dir.attempt("ingest_dataset"):
        raise OSError("lost")
    run_dir.record_reuse("ingest_dataset", started_at="2026-01-01T00:00:00+00:00", seconds=0.5, reused_from="first")
    assert [(attempt.status, attempt.reused_from) for attempt in run_dir.attempts("ingest_dataset")] == [
        ("failed", None),
        ("succeeded", "first"),
    ]


def test_a_writer_killed_while_it_replaces_a_folder_leaves_one_whole_folder_or_none(tmp_path):
    script = (
        "import sys\n"
        "from fer_tasks.run_directory import RunDirectory\n"
        "run_dir = RunDirectory(sys.argv[1])\n"
        "for number in range(1000):\n"
        "    with run_dir.replacing(run_dir.faces) as temporary:\n"
        "        temporary.mkdir()\n"
        "        for name in range(500):\n"
        "            (temporary / str(name)).touch()\n"
    )
    run_dir = RunDirectory(tmp_path)
    wholes = 0
    for turn in range(10):
        process = subprocess.Popen([sys.executable, "-c", script, tmp_path], env={**os.environ, "PYTHONPATH": "."})
        while wholes == 0 and not run_dir.faces.exists():
            time.sleep(0.01)
        time.sleep(0.4 + turn / 100)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not run_dir.faces.exists() or len(list(run_dir.faces.iterdir())) == 500
        wholes += run_dir.faces.exists()
    assert wholes
    with run_dir.replacing(run_dir.faces) as temporary:
        temporary.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["faces.parquet"]


def test_a_folder_is_removed_by_its_name_first(tmp_path):
    script = (
        "import sys, threading\n"
        "from fer_tasks.run_directory import RunDirectory\n"
        "run_dir = RunDirectory(sys.argv[1])\n"
        "run_dir.remove(run_dir.raw_faces)\n"
    )
    run_dir = RunDirectory(tmp_path)
    run_dir.raw_faces.mkdir()
    for name in range(20_000):
        (run_dir.raw_faces / str(name)).touch()
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], env={**os.environ, "PYTHONPATH": "."})
    folder = run_dir.raw_faces.stat().st_ino
    while process.poll() is None and len(left_of(tmp_path, folder)) == 20_000:
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(left_of(tmp_path, folder)) < 20_000
    assert not run_dir.raw_faces.exists()


def left_of(parent, inode):
    """Names in the folder that has this inode, wherever it is called by now."""
    (folder,) = [path for path in parent.iterdir() if path.stat().st_ino == inode]
    return os.listdir(folder)  # noqa: PTH208 - as fast as can be


def test_a_try_that_airflow_ends_for_its_time_is_recorded_as_failed(tmp_path):
    class AirflowTaskTimeout(BaseException):
        """As in Airflow, it is no Exception."""

    run_dir = RunDirectory(tmp_path)
    with pytest.raises(AirflowTaskTimeout), run_dir.attempt("train_model"):
        raise AirflowTaskTimeout("Timeout, PID: 7")
    [attempt] = run_dir.attempts("train_model")
    assert (attempt.status, attempt.reason) == ("failed", "AirflowTaskTimeout: Timeout, PID: 7")


def test_a_damaged_record_of_tries_does_not_keep_the_step_from_running(tmp_path, caplog):
    run_dir = RunDirectory(tmp_path)
    with run_dir.attempt("train_model"):
        pass
    record = tmp_path / "steps" / "train_model.json"
    record.write_text(record.read_text()[:20])
    with run_dir.attempt("train_model"):
        pass
    assert [attempt.status for attempt in run_dir.attempts("train_model")] == ["succeeded"]
    assert "Earlier tries of train_model are lost, their record is damaged" in caplog.text


def test_damaged_settings_are_told_in_words(tmp_path):
    run_dir = RunDirectory(tmp_path)
    run_dir.settings_json.write_text('{"seed": 7, "epo')
    with pytest.raises(PipelineError, match=r"settings\.json is damaged \(Unterminated string.*\); clear start_run"):
        run_dir.load_settings()
