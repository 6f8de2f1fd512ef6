"""Shared fixtures: one real SparkSession for the whole suite, and run folders that vanish."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_browser import chromium
from reported_run import complete_run

from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import SPARK_CONF, submit_environment

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# PySpark takes a process whose main module has no file, such as a worker of pytest-xdist, for its own doctests.
vars(sys.modules["__main__"]).setdefault("__file__", pytest.__file__)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    os.environ.update(submit_environment())
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("fer-tests")
    for key, value in {**SPARK_CONF, "spark.sql.shuffle.partitions": "2"}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session", autouse=True)
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reaches the registry of the project or of the one who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_HOME", str(tmp_path_factory.mktemp("fer_home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def registry_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One embedded registry for the module: making its tables takes seconds. Tests use names of their own."""
    folder = tmp_path_factory.mktemp("home with blank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_HOME", str(folder))
        patch.setenv("FER_RUNS_FOLDER", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium; without it, the tests that want it are skipped."""
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    """make_run(**settings) -> RunDirectory with its settings.json, as start_run leaves it."""

    def make(**settings: Any) -> RunDirectory:
        run_dir = RunDirectory(tmp_path / "run")
        run_dir.save_json(run_dir.settings_json, RunSettings.from_params(settings).to_params())
        return run_dir

    return make


@pytest.fixture
def complete(make_run: Any) -> Any:
    """complete(passed=True, **settings) -> a run folder that went all the way to the gate's verdict."""

    def make(*, passed: bool = True, num_bad: int = 2, **settings: Any) -> RunDirectory:
        return complete_run(make_run(**settings), passed=passed, num_bad=num_bad)

    return make
