"""What the tests of faults share: a run's processes, moments to strike at, and what must hold afterwards."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyarrow.dataset as ds

from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory

ACCEPTED = {
    "sample_images": 350,
    "epochs": 2,
    "lime_samples": 60,
    "min_accuracy": 0.0,
    "must_beat_majority_class": False,
}


def wait_until(condition: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 1500) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        assert process is None or process.poll() is None, f"the run ended before: {process.communicate()[0]}"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def tries(home: Path, step: str) -> list[str]:
    """The status of each try of `step` in the only run of `home`."""
    for record in home.glob(f"runs/*/steps/{step}.json"):
        return [attempt["status"] for attempt in json.loads(record.read_text())]
    return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run. A child of a killed parent may stay a zombie where nobody adopts it: it holds nothing."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """A run and all its processes, the oldest first."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def named(processes: list[psutil.Process], *words: str) -> list[psutil.Process]:
    """Those whose command line has all the words."""
    found = []
    for process in alive(processes):
        with suppress(psutil.NoSuchProcess):
            if all(word in " ".join(process.cmdline()) for word in words):
                found.append(process)
    return found


def jvm(process: subprocess.Popen) -> psutil.Process | None:
    """The run's Spark driver, once its Python has come up, too."""
    for java in named(family(process), "org.apache.spark.deploy.SparkSubmit"):
        if named(java.children(), "spark_jobs"):
            return java
    return None


def assert_whole(run_dir: RunDirectory) -> None:
    """Nothing half-written: each artefact under its final name loads, and what killed writers left has been swept."""
    assert [path.name for path in run_dir.root.rglob(".*.tmp*")] == []
    for path in run_dir.root.rglob("[!.]*.json"):
        json.loads(path.read_text())
    for path in run_dir.root.glob("*.parquet"):
        ds.dataset(path, format="parquet", partitioning="hive").to_table()
    if run_dir.model.exists():
        load_model(run_dir.model)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at `folder`, with the mount options of a tmpfs, such as `size=64m`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, *, spare: int) -> Path:
    """Takes all that is left of the disk but `spare` bytes; returns the file that holds it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
        file.truncate(file.tell() - spare)
    return ballast
