"""The environment that Airflow runs in on one machine. Whatever the caller has set already, wins."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from fer_tasks.file_lock import locked
from fer_tasks.spark_runtime import submit_environment

PROJECT = Path(__file__).resolve().parent.parent
AIRFLOW = Path(sys.executable).with_name("airflow")


def airflow_environment(port: int) -> dict[str, str]:
    """All variables of this process, with those that Airflow, Spark and the pipeline need."""
    home = Path(os.environ.get("AIRFLOW_HOME", PROJECT / ".airflow"))
    url = f"http://127.0.0.1:{port}"
    defaults = {
        "AIRFLOW_HOME": str(home),
        # Of two runs one may hold the database for a while; the five seconds of SQLite's own default ended the other.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.absolute()}/airflow.db?timeout=120",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",  # as many worker processes are started at once
        "AIRFLOW__API__HOST": "127.0.0.1",  # Airflow's own default is every interface
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # also how long a finished task's supervisor lingers
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # JSON, since Airflow reads `spark://local[*]` as no URL at all and falls back to YARN.
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[*]"}),
        "FER_HOME": str(home),
        "FER_RUNS_FOLDER": str(PROJECT / "runs"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    environment = {**defaults, **os.environ, **submit_environment()}
    environment["PYTHONWARNINGS"] = os.environ.get("PYTHONWARNINGS", "ignore")
    return environment


def migrate_database(environment: dict[str, str]) -> None:
    """Create or upgrade Airflow's metadata database, once for each version of Airflow."""
    marker = Path(environment["AIRFLOW_HOME"]) / f"migrated-{version('apache-airflow')}"
    with locked(marker.with_name("migration.lock")):  # of two started at once, the second finds it done
        if marker.exists() and marker.with_name("airflow.db").exists():
            return
        quiet = {**environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        subprocess.run([AIRFLOW, "db", "migrate"], env=quiet, check=True, stdout=subprocess.DEVNULL)
        marker.touch()
