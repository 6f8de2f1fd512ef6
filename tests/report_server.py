"""Airflow's API server with the project's plugin, and the runs that it shows, for tests to ask it as a user would."""

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from published_runs import REPORT, write_attempts, write_run

from fer_tasks.run_directory import RunDirectory
from launcher.environment import AIRFLOW, PROJECT, airflow_environment
from launcher.processes import stop

FINISHED = "manual__2026-01-02T03:04:05+00:00"
GOING_ON = "manual__2026-01-03T03:04:05+00:00"
SCORING = "manual__2026-01-06T03:04:05+00:00"
SCORING_GOING_ON = "manual__2026-01-07T03:04:05+00:00"
TUNING = "manual__2026-01-04T03:04:05+00:00"
LINKED_FOLDER, LINKED_REPORT, LINKED_INSIDE = "linked-folder", "linked-report", "linked-inside"
FOLDER = "manual__2026-01-02T03-04-05-00-00"
SCORING_FOLDER = "manual__2026-01-06T03-04-05-00-00"
RESULT = "validations/fer_faces/__none__/20260102T030405.123456Z/faces-raw_faces.html"

SETUP = """
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
DagBundlesManager().sync_bundles_to_db()
import os, pathlib
folder = pathlib.Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
bag = BundleDagBag(folder, bundle_name="dags-folder", bundle_path=folder)
assert bag.import_errors == {}, bag.import_errors
sync_bag_to_db(bag, "dags-folder", None)
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Server(NamedTuple):
    """An API server below `prefix`, and who can log in to it: {user: token}."""

    port: int
    prefix: str
    jwt_secret: str
    tokens: dict[str, str]

    def ask(self, path: str, *, headers: dict[str, str] | None = None, method: str = "GET", data: Any = None) -> Answer:
        """The answer to `path`, which is sent as it is: nothing tidies it up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = None if data is None else json.dumps(data)
        kind = {"Content-Type": "application/json"} if body else {}
        connection.request(method, self.prefix + path, body, {**kind, **(headers or {})})
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read().decode())

    def see(self, path: str, user: str = "vic") -> Answer:
        """As the user's browser asks, by cookie."""
        return self.ask(path, headers={"Cookie": f"_token={self.tokens[user]}"})

    def call(self, path: str, data: Any = None) -> Any:
        """Airflow's own API, as its admin."""
        method = "GET" if data is None else "POST"
        answer = self.ask(path, headers={"Authorization": f"Bearer {self.tokens['admin']}"}, method=method, data=data)
        assert answer.status < 300, answer
        return json.loads(answer.body)


class Home(NamedTuple):
    folder: Path
    environment: dict[str, str]


def set_up(folder: Path) -> Home:
    """An Airflow in `folder` as `make ui` sets it up, with the project's DAGs, and runs on disk."""
    users = {"admin": "admin", "vic": "viewer", "tess": "viewer", "sam": "viewer", "ned": ""}
    given = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    given |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "FER_HOME": str(folder / "airflow"),
        "FER_RUNS_FOLDER": str(folder / "runs"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in users.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(16),
    }
    with mock.patch.dict(os.environ, given, clear=True):
        environment = airflow_environment(0)
    environment["PYTHONPATH"] += f":{PROJECT / 'tests'}"
    (folder / "passwords.json").write_text(json.dumps({name: f"{name}'s password" for name in users}))
    write_runs(folder)
    subprocess.run([sys.executable, "-c", SETUP], cwd=PROJECT, env=environment, check=True)
    return Home(folder, environment)


def write_data_docs(folder: Path) -> None:
    """Pages as Great Expectations lays them out, with a script and addresses elsewhere."""
    for page in ("index.html", RESULT, "expectations/fer_faces.html", "static/styles/default.css"):
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        text = f"{REPORT}{page}<script>alert(1)</script><img src='https://example.org/logo.png'>"
        (folder / page).write_text(f"<!DOCTYPE html>\n<html>\n  <head>\n<title>Data Docs</title></head>{text}</html>")


def folder_of(run_id: str) -> str:
    return run_id.replace(":", "-").replace("+", "-")


def write_runs(folder: Path) -> None:
    runs = folder / "runs"
    write_data_docs(write_run(runs, FOLDER, day=2, version=1).data_docs_folder)
    for name in (TUNING, "scheduled__of_nobody"):
        write_run(runs, folder_of(name), day=4)
    going_on = RunDirectory(runs / folder_of(GOING_ON))
    (going_on.root / "steps").mkdir(parents=True)
    write_attempts(going_on, "start_run", {"started_at": "2026-01-03T03:04:05+00:00", "status": "succeeded"})
    for run_id in (SCORING, SCORING_GOING_ON):
        scoring = RunDirectory(runs / folder_of(run_id))
        (scoring.root / "steps").mkdir(parents=True)
        write_attempts(scoring, "plan_scoring", {"started_at": "2026-01-07T03:04:05+00:00", "status": "succeeded"})
    RunDirectory(runs / SCORING_FOLDER).scoring_html.write_text(REPORT + SCORING_FOLDER)
    write_run(folder / "outside", "run")
    (folder / "outside" / "run" / "scoring.html").write_text(REPORT + "outside")
    (runs / LINKED_FOLDER).symlink_to(folder / "outside" / "run")
    for name, target in ((LINKED_REPORT, folder / "outside" / "run"), (LINKED_INSIDE, runs / FOLDER)):
        write_run(runs, name, day=5).report_html.unlink()
        (runs / name / "report.html").symlink_to(target / "report.html")
    write_data_docs(folder / "outside" / "docs")
    (runs / FOLDER / "data_docs" / "linked.html").symlink_to(folder / "outside" / "docs" / "index.html")
    (runs / FOLDER / "data_docs" / "linked").symlink_to(folder / "outside" / "docs")
    write_run(runs, "linked-docs", day=5).data_docs_folder.symlink_to(folder / "outside" / "docs")
    (folder / "report.html").write_text(REPORT + "outside")
    (runs / "report.html").write_text(REPORT + "the runs folder")


def start(home: Home, prefix: str, **more: str) -> tuple["subprocess.Popen[bytes]", Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}{prefix}"}
    with (home.folder / f"server-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [AIRFLOW, "api-server", "--host", "127.0.0.1"],
            cwd=PROJECT,
            env={**home.environment, **address, **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process, Server(port, prefix, home.environment["AIRFLOW__API_AUTH__JWT_SECRET"], {})


def wait_and_log_in(process: "subprocess.Popen[bytes]", server: Server) -> None:
    deadline = time.monotonic() + 600
    while True:
        try:
            server.ask("/api/v2/monitor/health")
            break
        except OSError:
            assert process.poll() is None, "the API server has ended"
            assert time.monotonic() < deadline, "the API server does not answer"
            time.sleep(0.3)
    for user in ("admin", "vic", "tess", "sam", "ned"):
        login = {"username": user, "password": f"{user}'s password"}
        server.tokens[user] = json.loads(server.ask("/auth/token", method="POST", data=login).body)["access_token"]


@contextmanager
def serving(home: Home) -> Iterator[list[Server]]:
    """One server at the root with Airflow's auth manager, one below a prefix with one that knows DAGs."""
    narrow = {"AIRFLOW__CORE__AUTH_MANAGER": "narrow_auth_manager.NarrowAuthManager"}
    started = []
    try:
        for prefix, more in (("", {}), ("/airflow/fer", narrow)):
            started.append(start(home, prefix, **more))
        for process, server in started:
            wait_and_log_in(process, server)
        runs = [("fer_training", FINISHED), ("fer_training", GOING_ON), ("fer_tuning", TUNING)]
        runs += [("fer_scoring", SCORING), ("fer_scoring", SCORING_GOING_ON)]
        runs += [("fer_training", folder) for folder in (LINKED_FOLDER, LINKED_REPORT, LINKED_INSIDE)]
        for dag_id, run_id in runs:
            started[0][1].call(f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        yield [server for _, server in started]
    finally:
        stop(*(process for process, _ in started))
