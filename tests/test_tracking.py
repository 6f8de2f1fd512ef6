"""What MLflow knows of a run: everything, once, whichever way the run went."""

import logging
import multiprocessing
import sqlite3
from dataclasses import replace

import pytest
from finished_run import finish, tracked_runs, write_history

from fer_tasks import report, tracking
from fer_tasks.errors import DataQualityError, SettingsError
from fer_tasks.lineage import Lineage
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings


@pytest.fixture
def ask(registry_home):
    """ask(run name) -> its only MLflow run, with a client to look further."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{registry_home}/mlflow.db")

    def find(name):
        (mlflow_run,) = tracked_runs(registry_home, name)
        return client.get_run(mlflow_run), client

    return find


def artifacts(client, mlflow_run, folder=None):
    return sorted(item.path for item in client.list_artifacts(mlflow_run, folder))


def test_an_accepted_run_is_there_with_settings_measures_curves_records_lineage_and_report(tmp_path, ask):
    run_dir = finish(RunDirectory(tmp_path / "accepted"), "accepted")
    report.run(run_dir)
    tracked, client = ask("accepted")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["registered_model"] == "accepted"
    assert tracked.data.params["min_accuracy"] == "0.6"
    assert tracked.data.metrics["test_accuracy"] == 0.5
    curve = client.get_metric_history(tracked.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.125), (2, 0.25)]
    assert artifacts(client, tracked.info.run_id) == ["records", "report.html"]
    records = artifacts(client, tracked.info.run_id, "records")
    assert {"records/settings.json", "records/gate.json", "records/lineage.json"} <= set(records)
    assert "records/steps/train_model.json" in artifacts(client, tracked.info.run_id, "records/steps")
    assert tracked.data.tags["outcome"] == "accepted"
    assert tracked.data.tags["mlflow.note.content"].startswith("Accepted: 90% reaches the minimum of 60%.")
    assert len(tracked.data.tags["mlflow.source.git.commit"]) == 40
    kept = run_dir.load_json(run_dir.tracking_json, tracking.TrackedRun)
    assert kept.mlflow_run == tracked.info.run_id


def test_the_data_set_is_named_with_its_fingerprint(tmp_path, registry_home, ask):
    run_dir = finish(RunDirectory(tmp_path / "traced"), "traced")
    page = report.write(run_dir)
    made_of = run_dir.load_json(run_dir.lineage_json, Lineage)
    made_of = replace(made_of, dataset="/data/fer2013.csv", dataset_sha256="ab" * 32)
    run_dir.save_json(run_dir.lineage_json, made_of)
    for _ in range(2):
        tracking.log_outcome(run_dir, page.verdict)
    tracked, _ = ask("traced")
    assert tracked.data.tags["dataset_sha256"] == "ab" * 32
    assert [(given.dataset.name, given.dataset.digest) for given in tracked.inputs.dataset_inputs] == [
        ("fer2013.csv", "ab" * 18)
    ]


def test_logged_again_nothing_is_there_twice(tmp_path, registry_home, ask):
    run_dir = finish(RunDirectory(tmp_path / "again"), "again")
    for _ in range(2):
        report.run(run_dir)
    tracked, client = ask("again")
    assert len(client.get_metric_history(tracked.info.run_id, "val_accuracy")) == 2
    assert len(client.get_metric_history(tracked.info.run_id, "test_accuracy")) == 1


def test_a_rejected_run_is_there_too(tmp_path, registry_home, ask):
    run_dir = finish(RunDirectory(tmp_path / "rejected"), "rejected", accuracy=0.5)
    report.run(run_dir)
    tracked, _ = ask("rejected")
    assert (tracked.info.status, tracked.data.tags["outcome"]) == ("FINISHED", "rejected")
    assert tracked.data.metrics["test_accuracy"] == 0.5


def test_a_run_whose_data_were_refused_is_there_with_the_reason(tmp_path, registry_home, ask):
    run_dir = RunDirectory(tmp_path / "refused")
    run_dir.save_json(run_dir.settings_json, RunSettings(epochs=3).to_params())
    for step in ("start_run", "ingest_dataset"):
        with run_dir.attempt(step):
            pass
    with pytest.raises(DataQualityError), run_dir.attempt("check_data_quality"):
        raise DataQualityError("12% of the images are unusable.")
    report.run(run_dir)
    tracked, client = ask("refused")
    assert (tracked.info.status, tracked.data.tags["outcome"]) == ("FAILED", "refused")
    assert tracked.data.tags["mlflow.note.content"] == "Data refused: 12% of the images are unusable."
    assert tracked.data.params["epochs"] == "3"
    assert tracked.data.metrics == {}
    assert artifacts(client, tracked.info.run_id) == ["records", "report.html"]


def test_a_run_that_was_never_begun_is_there(tmp_path, registry_home, ask):
    run_dir = RunDirectory(tmp_path / "unbegun")
    with pytest.raises(SettingsError), run_dir.attempt("start_run"):
        raise SettingsError("There is no setting 'epcohs'.")
    report.run(run_dir)
    tracked, _ = ask("unbegun")
    assert (tracked.info.status, tracked.data.params) == ("FAILED", {})


def test_a_damaged_record_costs_no_more_than_itself(tmp_path, registry_home, ask, caplog):
    run_dir = finish(RunDirectory(tmp_path / "damaged"), "damaged")
    run_dir.evaluation_json.write_text("{")
    with caplog.at_level(logging.WARNING):
        report.run(run_dir)
    tracked, _ = ask("damaged")
    assert "test_accuracy" not in tracked.data.metrics
    assert tracked.data.metrics["val_accuracy"] == 0.25
    assert "Not logged to MLflow: " in caplog.text
    assert "does not hold a Evaluation" in caplog.text


def test_a_model_that_is_trained_anew_gets_a_curve_of_its_own(tmp_path, registry_home):
    from mlflow import MlflowClient

    run_dir = finish(RunDirectory(tmp_path / "anew"), "anew")
    report.run(run_dir)
    first = run_dir.load_json(run_dir.tracking_json, tracking.TrackedRun).mlflow_run
    write_history(run_dir, val_accuracies=(0.5,))
    report.run(run_dir)
    second = run_dir.load_json(run_dir.tracking_json, tracking.TrackedRun).mlflow_run
    assert sorted(tracked_runs(registry_home, "anew")) == sorted([first, second])
    client = MlflowClient(f"sqlite:///{registry_home}/mlflow.db")
    curves = [[point.value for point in client.get_metric_history(run, "val_accuracy")] for run in (first, second)]
    assert curves == [[0.125, 0.25], [0.5]]


def test_a_damaged_note_of_the_mlflow_run_costs_another_one_and_no_step(tmp_path, registry_home, caplog):
    run_dir = finish(RunDirectory(tmp_path / "unnoted"), "unnoted")
    report.run(run_dir)
    run_dir.tracking_json.write_text(run_dir.tracking_json.read_text()[:30])
    report.run(run_dir)
    assert len(tracked_runs(registry_home, "unnoted")) == 2
    assert run_dir.load_json(run_dir.tracking_json, tracking.TrackedRun).mlflow_run
    assert "tracking.json does not hold a TrackedRun" in caplog.text


def test_two_installations_with_runs_of_one_name_do_not_share_one(tmp_path, registry_home):
    for installation in ("here", "there"):
        report.run(finish(RunDirectory(tmp_path / installation / "scheduled"), "scheduled"))
    assert len(tracked_runs(registry_home, "scheduled")) == 2


def test_a_registry_that_does_not_answer_costs_the_try_but_not_the_report(tmp_path, monkeypatch, caplog):
    run_dir = finish(RunDirectory(tmp_path / "unheard"), "unheard")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConnectionError, match="Connection refused"):
        report.run(run_dir)
    assert "Accepted" in run_dir.report_html.read_text()
    (attempt,) = run_dir.attempts("publish_report")
    assert attempt.status == "failed"
    assert "http://127.0.0.1:9/" in attempt.reason
    assert "secret" not in attempt.reason + caplog.text
    assert "The report is written, but MLflow did not take the run: " in caplog.text

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    report.run(run_dir)
    assert [attempt.status for attempt in run_dir.attempts("publish_report")] == ["failed", "succeeded"]


def log_when_both_are_ready(root, barrier):
    tracking.import_mlflow()
    barrier.wait(timeout=300)
    with tracking.connected() as client:
        tracking.log_run(client, RunDirectory(root))


def test_two_steps_at_once_on_a_new_registry_log_into_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(tmp_path / "new home"))
    run_dir = finish(RunDirectory(tmp_path / "both"), "both")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    steps = [context.Process(target=log_when_both_are_ready, args=(run_dir.root, barrier)) for _ in range(2)]
    for step in steps:
        step.start()
    for step in steps:
        step.join(timeout=400)
    assert [step.exitcode for step in steps] == [0, 0]
    assert len(tracked_runs(tmp_path / "new home", "both")) == 1
    with sqlite3.connect(tmp_path / "new home" / "mlflow.db") as database:
        points = database.execute("SELECT step, value FROM metrics WHERE key = 'val_accuracy' ORDER BY step")
        assert list(points) == [(1, 0.125), (2, 0.25)]


def test_a_server_of_ones_own_is_used(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert tracking.tracking_uri() == "https://mlflow.example.org"


def test_a_password_in_the_servers_address_stays_out_of_the_record():
    assert tracking.without_password("postgresql://me:secret@db/mlflow") == "postgresql://db/mlflow"
    assert tracking.without_password("https://me:s@cret@mlflow.example.org/x") == "https://mlflow.example.org/x"
    assert tracking.without_password("https://mlflow.example.org/x") == "https://mlflow.example.org/x"


def test_the_registry_is_where_airflow_lives_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("FER_HOME")
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    assert tracking.tracking_uri() == "sqlite:////srv/airflow/mlflow.db"
