"""Both Spark steps on a real standalone cluster: a master and two workers as processes, which have no fer_tasks."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from functools import partial
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from fer_tasks import data_quality
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import SPARK_CONF, package_archive, submit_environment
from launcher.processes import stop

PROJECT = Path(__file__).resolve().parent.parent


def test_the_archive_for_executors_holds_the_package_and_a_change_gives_it_another_name(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    archive = package_archive()
    assert archive == package_archive()
    with zipfile.ZipFile(archive) as file:
        assert set(file.namelist()) == {f"fer_tasks/{path.name}" for path in (PROJECT / "fer_tasks").glob("*.py")}
    script = "import fer_tasks.face_filters; print(fer_tasks.face_filters.__file__)"
    alone = {**os.environ, "PYTHONPATH": str(archive)}
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert answer.stdout.strip() == f"{archive}/fer_tasks/face_filters.py"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Cluster:
    """Master and workers with one core each, started by PySpark's own script, away from the project's folder.

    hosts: addresses of the master with the first worker, and of the second. entrance: the command that the second is
    started with.
    """

    def __init__(
        self, folder: Path, hosts: tuple[str, str] = ("127.0.0.1", "127.0.0.1"), entrance: tuple[str, ...] = ()
    ) -> None:
        self.host = hosts[0]
        self.port, self._ui = free_port(), free_port()
        self.work = folder / "work"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {name: value for name, value in submit_environment().items() if name != "PYTHONPATH"}
        program = str(Path(sys.executable).with_name("spark-class"))
        deploy = "org.apache.spark.deploy."
        ports = ["--port", str(self.port), "--webui-port", str(self._ui)]
        commands = [[program, f"{deploy}master.Master", "--host", self.host, *ports]]
        for number, host, prefix in (("1", hosts[0], ()), ("2", hosts[1], entrance)):
            size = ["--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(self.work / number)]
            master = f"spark://{self.host}:{self.port}"
            commands.append([*prefix, program, f"{deploy}worker.Worker", "--host", host, *size, master])
        self.processes = []
        for number, command in enumerate(commands):
            with (folder / f"process-{number}.log").open("wb") as output:
                self._start = partial(subprocess.Popen, cwd=folder, env=environment, stdout=output, stderr=output)
                self.processes.append(self._start(command))

    def restart_worker(self, index: int) -> None:
        """index: 0 or 1."""
        arguments = self.processes[1 + index].args
        self.processes[1 + index] = self._start(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def master(self) -> dict:
        with urllib.request.urlopen(f"http://{self.host}:{self._ui}/json/", timeout=10) as answer:
            return json.load(answer)

    def wait_for_workers(self) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                if self.master()["aliveworkers"] == 2:
                    return
            except OSError:
                pass
            time.sleep(1)
        raise AssertionError("the workers did not register")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        started.wait_for_workers()
        yield started
    finally:
        stop(*started.processes)


BOTH_WORKERS = {
    "spark.cores.max": "2",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
}
"""A job of seconds may be over on the first worker before the second has an executor, on a busy machine."""


def submit(job: str, run_dir: RunDirectory, master: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow's operator does, with the connection that the README names."""
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    for name, value in {**submit_environment(), "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(master)}.items():
        monkeypatch.setenv(name, value)
    hook = SparkSubmitHook(
        conf={**SPARK_CONF, **BOTH_WORKERS},
        py_files=str(package_archive()),
        application_args=["--run-dir", str(run_dir)],
        name=job,
    )
    hook.submit(str(PROJECT / "spark_jobs" / f"{job}.py"))


def prepare(folder: Path, master: dict, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    run_dir = RunDirectory(folder)
    settings = RunSettings.from_params({"sample_images": 350, "min_images_per_emotion": 1})
    run_dir.save_json(run_dir.settings_json, settings.to_params())
    submit("ingest_faces", run_dir, master, monkeypatch)
    data_quality.run(run_dir)
    submit("preprocess_faces", run_dir, master, monkeypatch)
    return run_dir


@pytest.mark.slow
def test_two_workers_make_of_the_sample_what_one_process_makes(cluster, tmp_path, monkeypatch):
    standalone = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": cluster.port}
    spread = prepare(tmp_path / "spread", standalone, monkeypatch)
    local = prepare(tmp_path / "local", {"conn_type": "spark", "host": "local[2]"}, monkeypatch)

    def rows(table: Path) -> list:
        table = ds.dataset(table, format="parquet", partitioning="hive").to_table()
        return table.sort_by("position").select(sorted(table.column_names)).to_pylist()

    assert len(rows(spread.raw_faces)) == 374  # the 350 drawn ones and the sample's flawed copies
    assert rows(spread.raw_faces) == rows(local.raw_faces)
    assert rows(spread.faces) == rows(local.faces)
    names = [application["name"] for application in cluster.master()["completedapps"]]
    assert sorted(names) == ["ingest_dataset", "preprocess_faces"]
    for worker in ("1", "2"):
        shipped = list((cluster.work / worker).glob("app-*/*/fer_tasks-*.zip"))
        assert len(shipped) == 2, f"worker {worker} ran {len(shipped)} of the two steps"
