"""An MLflow server that is killed in the middle of a promotion."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from finished_run import aliases, finish, versions
from killed_runs import answers, wait_until

from fer_tasks import registry
from fer_tasks.file_lock import locked
from fer_tasks.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROMOTE = (
    "import sys; from fer_tasks import registry; from fer_tasks.run_directory import RunDirectory; "
    "registry.run(RunDirectory(sys.argv[1]))"
)


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def waits_for_a_lock(process: subprocess.Popen) -> bool:
    """proc(5), /proc/locks: the line of one who waits has an arrow before the lock and its process behind it."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any("->" in line and str(process.pid) in line for line in lines)


def test_a_server_killed_in_a_promotion_leaves_the_champion_and_the_retry_ends_it(tmp_path, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with server(tmp_path, port) as running:
        registry.run(finish(RunDirectory(tmp_path / "first"), "served"))
        run_dir = finish(RunDirectory(tmp_path / "second"), "served")
        with locked(tmp_path / "home" / "registry.lock"):  # the promotion waits here, its version registered
            promotion = subprocess.Popen([sys.executable, "-c", PROMOTE, str(run_dir)], cwd=PROJECT, text=True)
            wait_until(lambda: waits_for_a_lock(promotion), promotion)
            assert versions(tmp_path, "served") == [1, 2]
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    assert promotion.wait(timeout=300) == 1
    assert aliases(tmp_path, "served") == {"champion": 1}
    last = run_dir.attempts("promote_model")[-1]
    assert last.status == "failed"
    assert "Connection refused" in last.reason
    assert not run_dir.promotion_json.exists()
    with server(tmp_path, port):
        assert registry.run(run_dir).version == 2
    assert versions(tmp_path, "served") == [1, 2]
    assert aliases(tmp_path, "served") == {"champion": 2, "previous_champion": 1}
