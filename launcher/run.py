"""`make run`: one whole run of a DAG in the foreground. The last printed line is the path of its page.

python -m launcher.run [--dag fer_training] [--conf JSON]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fer_tasks.errors import PipelineError
from fer_tasks.parent_death import die_with_parent
from fer_tasks.run_directory import RunDirectory
from launcher.dag_run import run_id_of
from launcher.environment import AIRFLOW, PROJECT, airflow_environment, migrate_database
from launcher.processes import exit_on_sigterm, stop
from launcher.progress import Progress, error_in

_NOBODY_TO_ASK = (
    "Setting 'require_approval' is on, and `make run` would wait for ever: it has no UI to approve in, and its loop "
    "does not enforce 'approval_timeout_hours'. Start `make ui` and trigger fer_training there, or leave it off."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dag", default="fer_training")
    parser.add_argument("--conf", type=_json_object, default={}, help="settings that differ from the defaults, as JSON")
    options = parser.parse_args()
    if options.dag == "fer_training" and options.conf.get("require_approval"):
        sys.exit(_NOBODY_TO_ASK)
    exit_on_sigterm()
    try:
        environment = airflow_environment(_free_port())
    except PipelineError as error:
        sys.exit(str(error))
    for name in ("FER_RUNS_FOLDER", "FER_HOME"):
        os.environ[name] = environment[name]
    print("Preparing Airflow", flush=True)
    migrate_database(environment)
    now = datetime.now(UTC)
    log = Path(environment["AIRFLOW_HOME"]) / "logs" / f"{options.dag}-{now:%Y%m%dT%H%M%S.%f}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        status = _run_dag(options.dag, options.conf, now=now, environment=environment, output=output)
    return _tell_end(status, run_id=run_id_of(now), log=log, task_logs=_task_logs(environment, options.dag, now))


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"CONF is no JSON ({error}): {text[:300]!r}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'CONF is {text[:300]}; expected an object such as {{"epochs": 3}}')
    return value


def _task_logs(environment: dict[str, str], dag_id: str, now: datetime) -> Path:
    return Path(environment["AIRFLOW_HOME"]) / "logs" / f"dag_id={dag_id}" / f"run_id={run_id_of(now)}"


def _run_dag(
    dag_id: str, conf: dict[str, object], *, now: datetime, environment: dict[str, str], output: BinaryIO
) -> int:
    progress = Progress(RunDirectory.for_run_id(run_id_of(now)), _task_logs(environment, dag_id, now))
    started = time.monotonic()

    def start(command: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            env=environment,
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    server = start([str(AIRFLOW), "api-server", "--host", "127.0.0.1"])
    run = start([sys.executable, "-m", "launcher.dag_run", dag_id, now.isoformat(), json.dumps(conf)])
    try:
        while run.poll() is None and server.poll() is None:
            _print_news(progress, started)
            time.sleep(0.5)
        _print_news(progress, started)
        if run.poll() is None:
            print(f"Airflow's API server ended with status {server.returncode}; no task goes on without it. Run again.")
            return 1
        return int(run.returncode)
    finally:
        stop(run, server)


def _print_news(progress: Progress, started: float) -> None:
    for line in progress.news():
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)


def _tell_end(status: int, *, run_id: str, log: Path, task_logs: Path) -> int:
    run_dir = RunDirectory.for_run_id(run_id)
    if status != 0:
        print(_failure_reason(run_dir, log, task_logs), flush=True)
    if run_dir.page:
        print(run_dir.page)
    return status


def _failure_reason(run_dir: RunDirectory, log: Path, task_logs: Path) -> str:
    ends = [
        (attempts[-1].started_at, step, attempts[-1])
        for path in (run_dir.root / "steps").glob("[!.]*.json")
        if (step := path.stem) and (attempts := run_dir.attempts(step)) and attempts[-1].status != "succeeded"
    ]
    if ends:
        _, step, attempt = min(ends, key=lambda end: end[0])
        if attempt.reason:
            return f"{step} {attempt.status}: {' '.join(attempt.reason.split())}"
        return error_in(task_logs, step) or f"{step} {attempt.status}: its process was killed"
    if error := error_in(task_logs):  # where not even the record of a try could be written
        return error
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"The run did not start: {lines[-1] if lines else 'no output'} (whole log: {log})"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
