"""A Spark cluster that loses a worker, or the way to one, in the middle of a step: the step goes on without it."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pytest
from killed_runs import alive, assert_whole, named
from test_spark_cluster import Cluster, submit

from fer_tasks import data_quality
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from launcher.processes import stop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HERE, THERE, NAMESPACE = "10.213.77.1", "10.213.77.2", "fer-faults"


@contextmanager
def started(cluster: Cluster) -> Iterator[Cluster]:
    try:
        cluster.wait_for_workers()
        yield cluster
    finally:
        stop(*cluster.processes)


def strike_when_busy(workers: Sequence[psutil.Process], strike: Callable[[psutil.Process], object]) -> list[int]:
    """Strikes once, the first of the workers whose Python has a task; the list then holds its index."""
    struck: list[int] = []

    def wait_and_strike() -> None:
        while not struck:
            for index, worker in enumerate(workers):
                if not struck and named(worker.children(recursive=True), "pyspark.daemon"):
                    struck.append(index)
                    strike(worker)
            time.sleep(0.05)

    threading.Thread(target=wait_and_strike, daemon=True).start()
    return struck


def prepared(folder: Path) -> RunDirectory:
    run_dir = RunDirectory(folder)
    RunSettings(sample_images=1400, min_images_per_emotion=1).save(run_dir)
    return run_dir


def standalone(cluster: Cluster) -> dict:
    return {"conn_type": "spark", "host": f"spark://{cluster.host}", "port": cluster.port}


def kill(worker: psutil.Process) -> None:
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()


def test_a_worker_killed_in_either_step_costs_its_tasks_and_no_image(tmp_path, monkeypatch):
    run_dir = prepared(tmp_path / "run")
    with started(Cluster(tmp_path)) as cluster:
        for job in ("ingest_faces", "preprocess_faces"):
            workers = [psutil.Process(process.pid) for process in cluster.processes[1:]]
            struck = strike_when_busy(workers, kill)  # preprocess_faces has a single task of Python, on either worker
            submit(job, run_dir, standalone(cluster), monkeypatch)
            assert struck, "no task came to a worker"
            assert alive([workers[struck[0]]]) == []
            cluster.processes[1 + struck[0]].wait()
            if job == "ingest_faces":
                data_quality.run(run_dir)
                cluster.restart_worker(struck[0])
                cluster.wait_for_workers()
    for step in ("ingest_dataset", "preprocess_faces"):
        assert [attempt.status for attempt in run_dir.attempts(step)] == ["succeeded"]
    assert_whole(run_dir)
    assert rows(run_dir.raw_faces) == len(list(run_dir.sample_folder.rglob("*/*/*.*")))
    left_out = rows(run_dir.quarantine) + rows(run_dir.exclusions)
    assert rows(run_dir.faces) == rows(run_dir.raw_faces) - left_out


def rows(table: Path) -> int:
    return ds.dataset(table, format="parquet", partitioning="hive").count_rows()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def namespace() -> Iterator[None]:
    """A network of its own, with a cable to this one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of one's own takes root and the program ip (iproute2)")
    try:
        ip("netns", "add", NAMESPACE)
        ip("link", "add", "fer-here", "type", "veth", "peer", "name", "fer-there", "netns", NAMESPACE)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine allows no network of one's own: {error.stderr.decode().strip()}")
    try:
        ip("addr", "add", f"{HERE}/30", "dev", "fer-here")
        ip("link", "set", "fer-here", "up")
        for command in (f"addr add {THERE}/30 dev fer-there", "link set fer-there up", "link set lo up"):
            ip("-netns", NAMESPACE, *command.split())
        yield
    finally:
        ip("link", "del", "fer-here")
        ip("netns", "del", NAMESPACE)


def test_a_cable_pulled_in_a_step_costs_its_tasks_and_no_image(namespace, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_IP", HERE)
    run_dir = prepared(tmp_path / "run")
    with started(
        Cluster(tmp_path, (HERE, THERE), ("env", f"SPARK_LOCAL_IP={THERE}", "ip", "netns", "exec", NAMESPACE))
    ) as cluster:
        worker = psutil.Process(cluster.processes[2].pid)
        struck = strike_when_busy([worker], lambda _: ip("link", "set", "fer-here", "down"))
        submit("ingest_faces", run_dir, standalone(cluster), monkeypatch)
        assert struck, "no task came to the second worker"
        assert cluster.master()["aliveworkers"] == 1
        assert [attempt.status for attempt in run_dir.attempts("ingest_dataset")] == ["succeeded"]
        assert_whole(run_dir)
        assert rows(run_dir.raw_faces) == len(list(run_dir.sample_folder.rglob("*/*/*.*")))
        executors = named(worker.children(recursive=True), "CoarseGrainedExecutorBackend")
    assert alive(executors) == []
