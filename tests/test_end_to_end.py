"""Whole runs of the DAG with Airflow's executor, as `make run` makes them: their colour, their report, their last line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tasks.emotions import EMOTIONS
from fer_tasks.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parent.parent
STEPS = [
    "start_run",
    "ingest_dataset",
    "check_data_quality",
    "preprocess_faces",
    "train_model",
    "evaluate_model",
    "accuracy_gate",
    "explain_predictions",
    "publish_report",
]
QUICK = {"sample_images": 350, "epochs": 2, "lime_samples": 60}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def run_dag(home: Path, conf: dict) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home / "airflow"),
        "FER_RUNS_FOLDER": str(home / "runs"),
        "FER_HOME": str(home / "airflow"),
    }
    for name in [name for name in environment if name.startswith("AIRFLOW__")]:
        del environment[name]
    command = [sys.executable, "-m", "launcher.run", "--conf", json.dumps(conf)]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=550)


def finished(run_dir: RunDirectory) -> dict[str, str]:
    return {path.stem: run_dir.attempts(path.stem)[-1].status for path in (run_dir.root / "steps").glob("*.json")}


def test_an_accepted_run_is_green_and_promotes(home):
    run = run_dag(home, {**QUICK, "min_accuracy": 0.0})
    assert run.returncode == 0, run.stdout + run.stderr
    report = Path(run.stdout.splitlines()[-1])
    assert report.name == "report.html"
    run_dir = RunDirectory(report.parent)
    assert finished(run_dir) == dict.fromkeys([*STEPS, "promote_model"], "succeeded")
    page = report.read_text()
    assert "Accepted" in page
    assert len(page.encode()) <= 3_000_000
    assert json.loads(run_dir.gate_json.read_text())["passed"] is True
    promotion = json.loads(run_dir.promotion_json.read_text())
    assert (promotion["registered_model"], promotion["alias"]) == ("fer-classifier", "champion")
    assert "epoch 1/2" in run.stdout


def test_a_rejected_run_is_red_with_the_reason_and_a_report(home):
    run = run_dag(home, {**QUICK, "epochs": 1, "min_accuracy": 1.0})
    assert run.returncode != 0
    *_, reason, last = run.stdout.splitlines()
    assert reason.startswith("reject_model refused: ")
    assert "1.0" in reason
    run_dir = RunDirectory(Path(last).parent)
    assert finished(run_dir) == {**dict.fromkeys(STEPS, "succeeded"), "reject_model": "refused"}
    assert len(run_dir.attempts("reject_model")) == 1
    assert "Rejected" in Path(last).read_text()
    assert not run_dir.promotion_json.exists()


def test_refused_data_make_a_red_run_with_the_reason_and_a_report(home, tmp_path):
    noise = np.random.default_rng(1)
    for split in ("train", "test"):
        for emotion in EMOTIONS[:6]:  # none is neutral
            folder = tmp_path / "faces of a person's" / split / emotion
            folder.mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(folder / f"{number}.png"), noise.integers(0, 256, (48, 48), np.uint8))
    run = run_dag(home, {"dataset": str(tmp_path / "faces of a person's")})
    assert run.returncode != 0
    *_, reason, last = run.stdout.splitlines()
    assert reason.startswith("check_data_quality refused: ")
    assert "neutral" in reason
    run_dir = RunDirectory(Path(last).parent)
    assert len(run_dir.attempts("check_data_quality")) == 1
    assert not run_dir.faces.exists()
    assert "neutral" in Path(last).read_text()


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epcohs": 3}, "Did you mean 'epochs'?"),
        ({"dataset": "/no/such/place"}, "/no/such/place"),
    ],
)
def test_a_bad_setting_ends_the_run_in_one_line(home, conf, words):
    run = run_dag(home, conf)
    assert run.returncode != 0
    reasons = [line for line in run.stdout.splitlines() if words in line]
    assert reasons
    assert "Traceback" not in run.stdout
