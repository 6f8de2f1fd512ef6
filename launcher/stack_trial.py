"""`make compose-test`: the containers from nothing to a report, and away again. Standard library only.

Builds, starts a stack of its own (other project, port, secrets and volumes than `make up`), waits for health, triggers
fer_training over Airflow's REST API, waits for green, fetches the report through the plugin, and removes all of it.
Where FER_BUCKET names a bucket, the run is stored there, below a name of its own, as
docker-compose.override.example.yaml has it; it is brought back into an empty folder, as another machine would do, and
deleted from the bucket.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from launcher.stack import PROJECT, compose_command, start, write_secrets

_RUN_SECONDS = 1800
_QUICK = {"sample_images": 350, "epochs": 2, "lime_samples": 60, "min_accuracy": 0.0, "must_beat_majority_class": False}


class Airflow:
    """A logged-in client of the REST API and of the plugin's pages."""

    def __init__(self, address: str, password: str) -> None:
        self._address = address
        self._headers = {"Content-Type": "application/json"}
        token = self.ask("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self.fetch(path, method, json.dumps(body).encode() if body is not None else None))

    def fetch(self, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._address + path, data, self._headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the stack's own address
            return bytes(answer.read())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env_file = Path(folder) / "env"
        port = _free_port()
        password = write_secrets(env_file)["FER_ADMIN_PASSWORD"]
        os.environ |= {"FER_UI_PORT": str(port), "FER_SCHEDULE": ""}
        compose = [*compose_command(), "--project-name", "fer-trial", "--env-file", str(env_file)]
        compose += ["--file", "docker-compose.yaml"]  # not what the user's override file adds
        is_on_s3 = "FER_BUCKET" in os.environ
        if is_on_s3:
            os.environ["FER_BUCKET"] += f"/trial-{secrets.token_hex(4)}"
            compose += ["--file", "docker-compose.override.example.yaml"]
        try:
            start(compose)
            _tell("all services are healthy")
            _check_cluster(compose, port)
            _run(Airflow(f"http://127.0.0.1:{port}", password))
            _check_spark(compose)
            if is_on_s3:
                _check_bucket(compose)
        except BaseException:
            subprocess.run([*compose, "logs", "--tail", "40"], cwd=PROJECT)
            raise
        finally:
            subprocess.run([*compose, "down", "--volumes"], cwd=PROJECT)
    _tell("passed")


def _check_cluster(compose: list[str], port: int) -> None:
    """One published port, on loopback, and nobody is root."""
    listed = subprocess.run([*compose, "ps", "--quiet"], cwd=PROJECT, capture_output=True, text=True, check=True)
    containers = listed.stdout.split()
    inspected = json.loads(subprocess.run(["docker", "inspect", *containers], capture_output=True, check=True).stdout)
    bound = [
        (binding["HostIp"], binding["HostPort"])
        for container in inspected
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    ]
    _expect(bound == [("127.0.0.1", str(port))], f"published: {bound}")
    users = {container["Config"]["User"] for container in inspected}
    _expect(users == {"fer", "postgres"}, f"users: {users}")


def _run(airflow: Airflow) -> None:
    dag = "/api/v2/dags/fer_training"
    deadline = time.monotonic() + _RUN_SECONDS
    while not _is_there(airflow, dag):
        _sleep_until(deadline, "fer_training is not parsed")
    airflow.ask("PATCH", dag, {"is_paused": False})
    run_id = airflow.ask("POST", f"{dag}/dagRuns", {"logical_date": None, "conf": _QUICK})["dag_run_id"]
    told: dict[str, str] = {}
    while True:
        state = airflow.ask("GET", f"{dag}/dagRuns/{run_id}")["state"]
        for task in airflow.ask("GET", f"{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]:
            if task["state"] and task["state"] != told.get(task["task_id"]):
                told[task["task_id"]] = task["state"]
                _tell(f"{task['task_id']}: {task['state']}")
        if state in ("success", "failed"):
            break
        _sleep_until(deadline, f"the run is still {state}")
    _expect(state == "success", f"the run is green: {state}")
    report = airflow.fetch(f"/fer/dags/fer_training/runs/{run_id}").decode()
    _expect("Accepted" in report and "<h1" in report, f"the plugin serves the report, {len(report):,} characters")


def _is_there(airflow: Airflow, path: str) -> bool:
    try:
        airflow.fetch(path)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise
    return True


def _check_spark(compose: list[str]) -> None:
    """Both Spark steps ran on the cluster's master, with both workers alive."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/json/').read().decode())"
    asked = subprocess.run(
        [*compose, "exec", "-T", "spark-master", "python", "-c", script], cwd=PROJECT, capture_output=True, check=True
    )
    master = json.loads(asked.stdout)
    _expect(master["aliveworkers"] == 2, f"workers: {master['aliveworkers']}")
    names = sorted(app["name"].split()[0] for app in master["completedapps"])
    _expect(names == ["ingest_dataset", "preprocess_faces"], f"applications of the Spark master: {names}")


def _check_bucket(compose: list[str]) -> None:
    """What the bucket holds of the run is whole: it can be brought into a mirror that knows nothing of it."""
    bring = "FER_RUNS_MIRROR=/tmp/other python -m fer_tasks.run_storage >&2 && ls -1 /tmp/other/*"
    delete = "import os; from pyarrow import fs; store, runs = fs.FileSystem.from_uri(os.environ['FER_RUNS_FOLDER']); "
    delete += "store.delete_dir(runs)"
    inside = [*compose, "exec", "-T", "scheduler"]
    asked = subprocess.run([*inside, "sh", "-c", bring], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    subprocess.run([*inside, "python", "-c", delete], cwd=PROJECT, check=True)
    found = set(asked.stdout.decode().split())
    wanted = {"raw_faces.parquet", "faces.parquet", "model.keras", "report.html"}
    _expect(wanted <= found, f"brought back from the bucket: {len(found)} files and tables, {wanted & found} of them")


def _sleep_until(deadline: float, else_what: str) -> None:
    if time.monotonic() > deadline:
        sys.exit(f"After {_RUN_SECONDS} s {else_what}")
    time.sleep(3)


def _expect(is_met: bool, what: str) -> None:
    _tell(what)
    if not is_met:
        sys.exit(f"Not as expected: {what}")


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
