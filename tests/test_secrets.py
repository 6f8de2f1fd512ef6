"""What people must keep to themselves is in no file that a run leaves, nor in what it prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tasks.errors import PipelineError
from fer_tasks.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parent.parent
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "marker-of-aws",
    "MLFLOW_TRACKING_PASSWORD": "marker-of-mlflow",
    "AIRFLOW_CONN_SMTP_DEFAULT": "marker-of-smtp",
    "AIRFLOW_CONN_AWS_DEFAULT": "marker-of-connection",
    "FER_NOTIFIER": "marker-of-notifier",
    "FER_OPTUNA_STORAGE": "marker-of-optuna",
}


def environment(home: Path) -> dict[str, str]:
    notifier = {
        "class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        "to": "ml@example.org",
        "from_email": f"{SECRETS['FER_NOTIFIER']}@example.org",
    }
    given = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    return {
        **given,
        **SECRETS,
        "AIRFLOW_HOME": str(home / "airflow"),
        "FER_HOME": str(home / "airflow"),
        "FER_RUNS_FOLDER": str(home / "runs"),
        "AIRFLOW_CONN_SMTP_DEFAULT": f"smtp://user:{SECRETS['AIRFLOW_CONN_SMTP_DEFAULT']}@127.0.0.1:9",
        "AIRFLOW_CONN_AWS_DEFAULT": f"aws://key:{SECRETS['AIRFLOW_CONN_AWS_DEFAULT']}@",
        "FER_NOTIFIER": json.dumps(notifier),
        "FER_OPTUNA_STORAGE": f"postgresql://user:{SECRETS['FER_OPTUNA_STORAGE']}@127.0.0.1:9/study",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dag", "conf"),
    [
        ("fer_training", {"sample_images": 350, "epochs": 1, "lime_samples": 60, "min_accuracy": 1.0}),
        ("fer_training", {"dataset": "/no/such/file", "initial_weights": "{{ conn.aws_default.password }}"}),
        ("fer_tuning", {"sample_images": 350, "num_trials": 1, "epochs_per_trial": 1}),
    ],
    ids=["rejected", "refused", "study without a database"],
)
def test_no_secret_is_left_in_files_or_printed(tmp_path, dag, conf):
    command = [sys.executable, "-m", "launcher.run", "--dag", dag, "--conf", json.dumps(conf)]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        printed, _ = process.communicate(timeout=550)
    finally:
        process.terminate()  # ends Airflow's processes, too
    assert process.returncode != 0
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.name for path in files}
    assert {"airflow.db", "start_run.json"} <= names
    assert any(path.suffix == ".log" for path in files)
    contents = {"(printed)": printed, **{str(path): path.read_bytes() for path in files}}
    found = [
        (where, secret) for where, data in contents.items() for secret in SECRETS.values() if secret.encode() in data
    ]
    assert found == []


def test_the_login_in_a_stores_address_is_not_in_its_error(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_RUNS_FOLDER", "nonsense://key:marker-of-store@bucket/runs")
    monkeypatch.setenv("FER_RUNS_MIRROR", str(tmp_path))
    with pytest.raises(PipelineError, match="FER_RUNS_FOLDER is 'nonsense://bucket/runs'") as caught:
        RunDirectory.for_run_id("manual__1").pull()
    assert "marker-of-store" not in str(caught.value)
