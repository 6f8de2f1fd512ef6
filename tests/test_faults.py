"""Real kills in whole runs: each run goes on, or ends red with its reason and leaves no process behind."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from killed_runs import ACCEPTED, alive, assert_whole, family, jvm, named, tries, wait_until
from test_end_to_end import PROJECT, start_dag

from fer_tasks.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """start(settings, **variables): `make run` in a home of its own, which ends with the test."""
    started: list[subprocess.Popen] = []

    def run(conf: dict, **variables: str) -> subprocess.Popen:
        started.append(start_dag(tmp_path, conf, **variables))
        return started[-1]

    yield run
    for process in started:
        process.kill()


def end(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=1500)
    return process.returncode, output


def champions(home: Path) -> dict[str, int]:
    with sqlite3.connect(home / "airflow" / "mlflow.db") as database:
        return dict(database.execute("SELECT name, version FROM registered_model_aliases WHERE alias = 'champion'"))


def strike(process: subprocess.Popen, victim: Callable[[psutil.Process], psutil.Process | None]) -> None:
    """Kills what `victim` makes of the run's JVM. The JVM and its Python must be gone before the retry begins."""
    java = jvm(process)
    assert java
    orphans = [java, *java.children(recursive=True)]
    struck = victim(java)
    assert struck
    struck.kill()
    wait_until(lambda: not alive(orphans), seconds=10)


def worker_of(java: psutil.Process) -> psutil.Process | None:
    """The executor's process, which watches over the task's."""
    task = java.parent()
    return task.parent() if task else None


def test_killed_tasks_drivers_and_workers_and_a_locked_database_end_in_a_green_run(start, tmp_path):
    process = start(ACCEPTED)
    wait_until(lambda: tries(tmp_path, "ingest_dataset") == ["running"] and jvm(process), process)
    strike(process, psutil.Process.parent)
    wait_until(lambda: tries(tmp_path, "ingest_dataset") == ["running"] * 2 and jvm(process), process)
    strike(process, lambda java: java)
    wait_until(lambda: tries(tmp_path, "preprocess_faces") == ["running"] and jvm(process), process)
    strike(process, worker_of)
    wait_until(lambda: tries(tmp_path, "train_model") == ["succeeded"], process)
    with sqlite3.connect(tmp_path / "airflow" / "airflow.db", isolation_level=None, timeout=60) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(20)
        database.execute("ROLLBACK")
    everybody = family(process)
    status, output = end(process)
    assert status == 0, output
    assert tries(tmp_path, "ingest_dataset") == ["running", "running", "succeeded"]
    assert tries(tmp_path, "preprocess_faces") == ["running", "succeeded"]
    assert_whole(RunDirectory(Path(output.splitlines()[-1]).parent))
    assert champions(tmp_path) == {"fer-classifier": 1}
    assert alive(everybody) == []


def test_a_killed_api_server_ends_the_run_red(start, tmp_path):
    process = start(ACCEPTED)
    wait_until(lambda: tries(tmp_path, "start_run") == ["succeeded"], process)
    everybody = family(process)
    (server,) = [child for child in everybody if child.ppid() == process.pid and not named([child], "launcher.dag_run")]
    server.kill()
    status, output = end(process)
    assert status == 1
    assert "Airflow's API server ended with status -9; no task goes on without it. Run again." in output
    assert alive(everybody) == []


def test_a_killed_make_run_takes_all_with_it(start, tmp_path):
    process = start(ACCEPTED)
    wait_until(lambda: tries(tmp_path, "ingest_dataset") == ["running"] and jvm(process), process)
    everybody = family(process)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not alive(everybody), seconds=20)
    assert alive(everybody) == []


def test_a_run_whose_scheduler_was_killed_is_ended_by_the_next_one(start, tmp_path):
    environment = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False", "FER_SCHEDULE": ""}
    process = start(ACCEPTED | {"epochs": 6}, **environment)
    wait_until(lambda: list(tmp_path.glob("runs/*/checkpoint/*.npz")), process)
    everybody = family(process)
    (scheduler,) = [child for child in named(everybody, "launcher.dag_run") if child.ppid() == process.pid]
    scheduler.kill()
    status, output = end(process)
    assert status != 0
    assert "train_model running: its process was killed" in output
    assert alive(everybody) == []
    run_dir = RunDirectory(next(tmp_path.glob("runs/*/steps")).parent)
    assert_whole(run_dir)

    later = start_ui(tmp_path, environment)
    try:
        wait_until(
            lambda: run_dir.promotion_json.exists() and tries(tmp_path, "publish_report") == ["succeeded"], later
        )
    finally:
        everybody = family(later)
        later.terminate()
        later.wait(timeout=120)
    assert tries(tmp_path, "train_model") == ["running", "succeeded"]
    assert len(json.loads(run_dir.history_json.read_text())["resumed_at_epochs"]) == 1
    assert tries(tmp_path, "ingest_dataset") == ["succeeded"]
    assert champions(tmp_path) == {"fer-classifier": 1}
    assert_whole(run_dir)
    assert alive(everybody) == []


def start_ui(home: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Airflow with its real scheduler, which takes a task without a heartbeat for dead after ten seconds."""
    environment = (
        os.environ
        | environment
        | {
            "AIRFLOW_HOME": str(home / "airflow"),
            "FER_HOME": str(home / "airflow"),
            "FER_RUNS_FOLDER": str(home / "runs"),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "launcher.ui", "--port", str(port)]
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_runs_started_at_once_on_a_new_machine_both_end_green(start, tmp_path):
    both = [start(ACCEPTED | {"registered_model": name}) for name in ("left", "right")]
    ends = [end(process) for process in both]
    assert [status for status, _ in ends] == [0, 0], ends
    assert champions(tmp_path) == {"left": 1, "right": 1}
    folders = [RunDirectory(Path(output.splitlines()[-1]).parent) for _, output in ends]
    for run_dir in folders:
        assert_whole(run_dir)
    index = (tmp_path / "runs" / "index.html").read_text()
    assert all(run_dir.root.name in index for run_dir in folders)
