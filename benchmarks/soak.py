"""Many runs one after the other in one Airflow: what grows, and what stays as it is.

    python benchmarks/soak.py [--runs 50] [--keep 5] [--csv soak.csv] [--svg soak.svg]

Starts Airflow with its real scheduler (`launcher.ui`) in a folder of its own, unpauses fer_training and triggers sample
runs with small settings through the API, one after the other. Every tenth model is accepted and promoted, the others
are rejected and their runs green (`on_rejection` = `skip`), so that `keep_runs` has something to delete. After each run
it measures: resident memory and open files of Airflow's four parts with their children, rows of each table of Airflow's
and MLflow's databases, bytes and run folders on disk. The last line is JSON: the growth a run of each, over the second
half of the runs, when everything has been loaded once.
"""

import argparse
import csv
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from launcher.processes import stop  # noqa: E402

SETTINGS = {"sample_images": 350, "epochs": 1, "lime_samples": 50, "lime_map_images": 0}
REJECTED = {"min_accuracy": 1.0, "on_rejection": "skip"}
ACCEPTED = {"min_accuracy": 0.0, "must_beat_majority_class": False, "max_regression": 1.0}
PROMOTED_EVERY = 10
RUN_SECONDS = 1800

PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--keep", type=int, default=5, help="the setting keep_runs")
    parser.add_argument("--csv", type=Path, help="writes every measurement")
    parser.add_argument("--svg", type=Path, help="draws memory, open files, rows and disk over the runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = soak(Path(folder), options.runs, options.keep)
    if options.csv:
        write_csv(options.csv, measured)
    if options.svg:
        draw(options.svg, measured)
    print(json.dumps({"runs": len(measured), "keep_runs": options.keep, "growth_a_run": growth(measured)}))


def soak(home: Path, num_runs: int, keep: int) -> list[dict[str, float]]:
    """What was measured after each run, by name."""
    variables = {"AIRFLOW_HOME": str(home / "airflow"), "FER_HOME": str(home / "airflow"), "FER_SCHEDULE": ""}
    variables |= {"FER_RUNS_FOLDER": str(home / "runs"), "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "launcher.ui", "--port", str(port)]
    airflow = subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    measured: list[dict[str, float]] = []
    try:
        api = Api(f"http://127.0.0.1:{port}", login(airflow))
        for number in range(num_runs):
            started = time.monotonic()
            judged = REJECTED if number % PROMOTED_EVERY else ACCEPTED
            state = api.run({**SETTINGS, **judged, "keep_runs": keep, "seed": number})
            if state != "success":
                raise SystemExit(f"Run {number + 1} ended as {state}; its logs are below {home}, which is deleted now.")
            time.sleep(15)  # in which what the run leaves behind may go
            measured.append({"run": number + 1, "seconds": time.monotonic() - started - 15, **measure(airflow, home)})
            told = ", ".join(f"{name} {value:,.0f}" for name, value in measured[-1].items() if "rows " not in name)
            print(told, flush=True)
        return measured
    except KeyboardInterrupt:
        return measured
    finally:
        airflow.terminate()
        airflow.wait(timeout=120)
        stop(airflow)


def login(airflow: "subprocess.Popen[str]") -> tuple[str, str]:
    """Name and password, which launcher.ui prints when Airflow answers."""
    assert airflow.stdout
    for line in airflow.stdout:
        if found := re.search(r"login (\S+), password (\S+)", line):
            return found[1], found[2]
    raise SystemExit("Airflow did not start.")


class Api:
    """The part of Airflow's REST API that a soak needs."""

    def __init__(self, url: str, login: tuple[str, str]) -> None:
        self._url = url
        self._login = login

    def run(self, conf: dict[str, Any]) -> str:
        """Trigger fer_training and wait; the state that the run ends in."""
        deadline = time.monotonic() + RUN_SECONDS
        run_id = None
        while time.monotonic() < deadline:
            with suppress(OSError):  # the DAG may not be known yet
                if run_id is None:
                    run_id = self._ask("dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
                state = str(self._ask(f"dagRuns/{run_id}")["state"])
                if state in ("success", "failed"):
                    return state
            time.sleep(5)
        return "not ended"

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        name, password = self._login
        token = self._send("/auth/token", {"username": name, "password": password}, {})["access_token"]
        return self._send(f"/api/v2/dags/fer_training/{path}", body, {"Authorization": f"Bearer {token}"})

    def _send(self, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own address
            self._url + path, data=data, headers={**headers, "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return dict(json.load(answer))


def measure(airflow: "subprocess.Popen[str]", home: Path) -> dict[str, float]:
    return {**processes(airflow), **disk(home), **rows(home)}


def processes(airflow: "subprocess.Popen[str]") -> dict[str, float]:
    """Memory of its own (USS) in MB and open files of each part of Airflow with its children."""
    found: dict[str, float] = {}
    for part in psutil.Process(airflow.pid).children():
        name = next((name for name in PARTS if name in " ".join(part.cmdline()).replace("_", "-")), "other")
        family = [part, *part.children(recursive=True)]
        found[f"MB {name}"] = sum(member.memory_full_info().uss for member in family) / 1e6
        found[f"files {name}"] = sum(member.num_fds() for member in family)
        found[f"processes {name}"] = len(family)
    return found


def disk(home: Path) -> dict[str, float]:
    """MB and folders of the runs, and MB of all else that lies in FER_HOME."""
    folders = [path for path in (home / "runs").iterdir() if (path / "steps").is_dir()]
    sizes = {"runs": allocated(home / "runs"), "logs": allocated(home / "airflow" / "logs")}
    sizes |= {"registry": allocated(home / "airflow" / "mlflow-artifacts"), "all": allocated(home)}
    return {"folders": len(folders), **{f"disk MB {name}": size / 1e6 for name, size in sizes.items()}}


def allocated(folder: Path) -> int:
    """Bytes of the files below a folder; hard links count once."""
    files = {stat.st_ino: stat.st_size for path in folder.rglob("*") if path.is_file() for stat in [path.lstat()]}
    return sum(files.values())


def rows(home: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("airflow", "mlflow"):
        with sqlite3.connect(home / "airflow" / f"{name}.db", timeout=60) as database:
            tables = [table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                count = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 - its own table
                found[f"rows {name}.{table}"] = count
    return found


def growth(measured: list[dict[str, float]]) -> dict[str, float]:
    """Slope a run of a straight line through the second half, of what grows at all."""
    half = measured[len(measured) // 2 :]
    if len(half) < 2:
        return {}
    numbers = [line["run"] for line in half]
    names = [name for name in half[0] if name not in ("run", "seconds")]
    slopes = {name: float(np.polyfit(numbers, [line[name] for line in half], 1)[0]) for name in names}
    return {name: round(slope, 3) for name, slope in slopes.items() if abs(slope) >= 0.001}


def write_csv(path: Path, measured: list[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(measured[0]))
        writer.writeheader()
        writer.writerows({name: round(value, 3) for name, value in line.items()} for line in measured)


def draw(path: Path, measured: list[dict[str, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    numbers = [line["run"] for line in measured]
    panels = {"MB ": "Memory, MB", "files ": "Open files", "disk MB ": "Disk, MB", "folders": "Run folders"}
    for axes, (prefix, title) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for name in (name for name in measured[0] if name.startswith(prefix)):
            axes.plot(numbers, [line[name] for line in measured], label=name.removeprefix(prefix) or name)
        axes.set(title=title, xlabel="run", ylim=(0, None))
        axes.legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    main()
