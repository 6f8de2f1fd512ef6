"""Whole runs of the DAG with Airflow's executor, as `make run` makes them: colour, report, last line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest
from bar_models import bar_model
from finished_run import finish
from tiny_faces import bar_face

from fer_tasks.emotions import EMOTIONS
from fer_tasks.registry import promote
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


def start_dag(home: Path, conf: dict, dag: str = "fer_training", **variables: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")} | variables
    environment |= {"AIRFLOW_HOME": str(home / "airflow"), "FER_HOME": str(home / "airflow")}
    environment |= {"FER_RUNS_FOLDER": str(home / "runs")}
    command = [sys.executable, "-m", "launcher.run", "--dag", dag, "--conf", json.dumps(conf)]
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_dag(home: Path, conf: dict, dag: str = "fer_training") -> tuple[int, str]:
    """(exit status, what was printed) of one run."""
    process = start_dag(home, conf, dag)
    output, _ = process.communicate(timeout=550)
    return process.returncode, output


def finished(run_dir: RunDirectory) -> dict[str, str]:
    return {path.stem: run_dir.attempts(path.stem)[-1].status for path in (run_dir.root / "steps").glob("*.json")}


def test_an_accepted_run_is_green_and_promotes(home):
    status, output = run_dag(home, {**QUICK, "min_accuracy": 0.0, "must_beat_majority_class": False})
    assert status == 0, output
    report = Path(output.splitlines()[-1])
    assert report.name == "report.html"
    run_dir = RunDirectory(report.parent)
    assert finished(run_dir) == dict.fromkeys([*STEPS, "promote_model"], "succeeded")
    page = report.read_text()
    assert "Accepted" in page
    assert len(page.encode()) <= 3_000_000
    assert json.loads(run_dir.gate_json.read_text())["passed"] is True
    promotion = json.loads(run_dir.promotion_json.read_text())
    assert (promotion["registered_model"], promotion["alias"]) == ("fer-classifier", "champion")
    with sqlite3.connect(home / "airflow" / "airflow.db") as database:
        query = "SELECT name, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id"
        ((asset, extra),) = database.execute(query)
    assert (asset, json.loads(extra)) == ("fer_champion", promotion)
    with sqlite3.connect(home / "airflow" / "mlflow.db") as database:
        tracked = database.execute("SELECT run_uuid, status FROM runs WHERE name = ?", (run_dir.root.name,))
        assert list(tracked) == [(promotion["mlflow_run"], "FINISHED")]
    assert "epoch 1/2" in output


def test_a_rejected_run_is_red_with_the_reason_and_a_report(home):
    status, output = run_dag(home, {**QUICK, "epochs": 1, "min_accuracy": 1.0})
    assert status != 0
    *_, reason, last = output.splitlines()
    assert reason.startswith("reject_model refused: ")
    assert "100.0%" in reason
    run_dir = RunDirectory(Path(last).parent)
    assert finished(run_dir) == {**dict.fromkeys(STEPS, "succeeded"), "reject_model": "refused"}
    assert len(run_dir.attempts("reject_model")) == 1
    assert "Rejected" in Path(last).read_text()
    assert not run_dir.promotion_json.exists()
    with sqlite3.connect(home / "airflow" / "mlflow.db") as database:
        query = "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE name = ? AND key = 'outcome'"
        assert list(database.execute(query, (run_dir.root.name,))) == [("rejected",)]


def test_refused_data_make_a_red_run_with_the_reason_and_a_report(home, tmp_path):
    noise = np.random.default_rng(1)
    for split in ("train", "test"):
        for emotion in EMOTIONS[:6]:  # none is neutral
            folder = tmp_path / "faces of a person's" / split / emotion
            folder.mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(folder / f"{number}.png"), noise.integers(0, 256, (48, 48), np.uint8))
    status, output = run_dag(home, {"dataset": str(tmp_path / "faces of a person's")})
    assert status != 0
    *_, reason, last = output.splitlines()
    assert reason.startswith("check_data_quality refused: ")
    assert "neutral" in reason
    run_dir = RunDirectory(Path(last).parent)
    assert len(run_dir.attempts("check_data_quality")) == 1
    assert not run_dir.faces.exists()
    assert "neutral" in Path(last).read_text()


def test_a_misspelt_setting_ends_the_run_in_one_line(home):
    status, output = run_dag(home, {"epcohs": 3})
    assert status != 0
    assert "start_run refused: There is no setting 'epcohs'. Did you mean 'epochs'?" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_the_same_again_starts_no_spark_and_ends_green(home):
    reports = []
    for _ in range(2):
        status, output = run_dag(home, {**QUICK, "min_accuracy": 0.0, "must_beat_majority_class": False, "seed": 11})
        assert status == 0, output
        reports.append(Path(output.splitlines()[-1]))
    first = reports[0].parent.name
    second = RunDirectory(reports[1].parent)
    for step in STEPS[1:4]:
        [attempt] = second.attempts(step)
        assert (attempt.status, attempt.reused_from) == ("succeeded", first)
        assert attempt.seconds < 5
    assert f"Reused from run {first}" in output
    told = f"Not computed but reused: {', '.join(STEPS[1:4])} from run {first}."
    assert told in reports[1].read_text()
    assert json.loads(second.lineage_json.read_text())["steps"]["ingest_dataset"][0]["reused_from"] == first


def manage_champion(home: Path, action: str) -> str:
    """What `make champion` (show) or `make rollback` prints."""
    environment = {**os.environ, "FER_HOME": str(home / "airflow"), "FER_RUNS_FOLDER": str(home / "runs")}
    command = [sys.executable, "-m", "fer_tasks.champion", action]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_crippled_challenger_is_rejected_and_a_rollback_restores_the_former_champion(tmp_path):
    status, output = run_dag(tmp_path, {"lime_samples": 60})
    assert status == 0, output
    good = RunDirectory(Path(output.splitlines()[-1]).parent)
    assert "version          1" in manage_champion(tmp_path, "show")

    open_gate = {"lime_samples": 60, "min_accuracy": 0.0, "must_beat_majority_class": False}
    crippled = {"epochs": 1, "learning_rate": 1e-6, "weight_averaging": 0.0}
    status, output = run_dag(tmp_path, open_gate | crippled)
    assert status != 0
    *_, reason, page = output.splitlines()
    assert reason.startswith("reject_model refused: The champion, version 1, has ")
    assert "worse than the allowed −1.0" in reason
    told = Path(page).read_text()
    for section in ("evaluation", "training", "explanations", "data_quality", "champion"):
        assert f'<section id="{section}"' in told, section
    assert "Rejected by the gate" in told
    assert "version          1" in manage_champion(tmp_path, "show")

    status, output = run_dag(tmp_path, open_gate | {"seed": 8, "max_regression": 1.0})
    assert status == 0, output
    second = RunDirectory(Path(output.splitlines()[-1]).parent)
    assert "version          2" in manage_champion(tmp_path, "show")
    changed = "fer-classifier: version 2 -> version 1. There is none before it."
    assert manage_champion(tmp_path, "rollback").startswith(changed)
    shown = manage_champion(tmp_path, "show")
    assert "version          1" in shown
    assert f"run              {good.root.name}" in shown
    assert "version 1  rollback" in shown
    index = (tmp_path / "runs" / "index.html").read_text()
    assert f'{good.root.name}</a><span class="tag">champion</span>' in index
    assert f'{second.root.name}</a><span class="tag">rolled back</span>' in index
    assert index.count("Rejected by the gate") == 1


@pytest.mark.slow
def test_a_search_ends_with_the_page_of_its_study(home):
    conf = {"sample_images": 350, "num_trials": 2, "epochs_per_trial": 1, "study_name": "end-to-end"}
    status, output = run_dag(home, conf, "fer_tuning")
    assert status == 0, output
    page = Path(output.splitlines()[-1])
    assert page.name == "study.html"
    run_dir = RunDirectory(page.parent)
    steps = [*STEPS[:4], "plan_trials", "run_trials-0", "run_trials-1", "choose_settings", "publish_study"]
    assert finished(run_dir) == dict.fromkeys(steps, "succeeded")
    study = json.loads(run_dir.study_json.read_text())
    assert study["trials"][0]["state"] == "complete"  # the sample's own values
    assert study["trials"][1]["state"] in ("complete", "pruned")  # drawn at random: a learning rate may diverge
    assert json.loads(run_dir.best_settings_json.read_text()) == study["best"]
    assert "make run CONF=" in page.read_text()
    assert not run_dir.model.exists()


def struck_training(tmp_path, number):
    """Sends the signal to the training's process after its first epoch. Returns the run's folder once it is green."""
    process = start_dag(tmp_path, {**QUICK, "epochs": 12, "min_accuracy": 0.0, "must_beat_majority_class": False})
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*/checkpoint/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.2)
    training = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any("libtensorflow" in area.path for area in child.memory_maps())
    ]
    assert training, "no training process was found"
    for child in training:
        child.send_signal(number)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return RunDirectory(Path(output.splitlines()[-1]).parent)


@pytest.mark.slow
def test_a_killed_training_is_resumed_by_the_retry_and_the_run_ends_green(tmp_path):
    run_dir = struck_training(tmp_path, signal.SIGKILL)
    assert [attempt.status for attempt in run_dir.attempts("train_model")] == ["running", "succeeded"]
    history = json.loads(run_dir.history_json.read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == list(range(1, 13))
    assert len(history["resumed_at_epochs"]) == 1
    assert f"resumed at epoch {history['resumed_at_epochs'][0]}" in run_dir.report_html.read_text()


@pytest.mark.slow
def test_a_training_that_is_asked_to_end_goes_on_and_the_run_ends_green(tmp_path):
    """Airflow hands SIGTERM to the operator; whoever wants the training gone kills it next, as above."""
    run_dir = struck_training(tmp_path, signal.SIGTERM)
    assert [attempt.status for attempt in run_dir.attempts("train_model")] == ["succeeded"]
    history = json.loads(run_dir.history_json.read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == list(range(1, 13))
    assert history["resumed_at_epochs"] == []


@pytest.mark.slow
def test_the_champion_scores_new_images_once_and_a_bad_batch_is_red(home, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(home / "airflow"))
    monkeypatch.setenv("FER_RUNS_FOLDER", str(home / "runs"))
    trained = finish(RunDirectory.for_run_id("bars"), "bars")
    bar_model().save(trained.model)
    promote(trained, "bars")
    for label in range(7):
        cv2.imwrite(str(tmp_path / f"{label}.png"), bar_face(label, np.random.default_rng(label)))
    conf = {"images": str(tmp_path), "registered_model": "bars"}
    steps = ["start_run", "plan_scoring", "score_faces", "check_scores", "store_scores", "publish_scoring"]

    status, output = run_dag(home, conf, "fer_scoring")
    assert status == 0, output
    page = Path(output.splitlines()[-1])
    assert page.name == "scoring.html"
    assert finished(RunDirectory(page.parent)) == dict.fromkeys(steps, "succeeded")
    assert "bars version 1 has scored 7 images and refused 0. They are stored." in page.read_text()
    table = home / "runs" / "scored" / "bars" / "scores.parquet"
    stored = pd.read_parquet(table).sort_values("path")
    assert stored["emotion"].tolist() == list(EMOTIONS)
    assert stored["run"].astype(str).unique().tolist() == [page.parent.name]

    status, output = run_dag(home, conf, "fer_scoring")
    assert status == 0, output
    page = Path(output.splitlines()[-1])
    assert finished(RunDirectory(page.parent)) == dict.fromkeys([*steps[:2], "publish_scoring"], "succeeded")
    assert "Nothing new" in page.read_text()

    (tmp_path / "broken.png").write_bytes(b"no image")
    status, output = run_dag(home, conf, "fer_scoring")
    assert status != 0
    *_, reason, last = output.splitlines()
    assert reason.startswith("check_scores refused: The scores were refused. At most 10.00% of the images are refused")
    run_dir = RunDirectory(Path(last).parent)
    went_well = dict.fromkeys([*steps[:3], "publish_scoring"], "succeeded")
    assert finished(run_dir) == {**went_well, "check_scores": "refused"}
    assert len(run_dir.attempts("check_scores")) == 1
    assert "Scores refused" in Path(last).read_text()
    assert len(pd.read_parquet(table)) == 7
