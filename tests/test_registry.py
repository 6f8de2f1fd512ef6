import hashlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_run import aliases, finish, tracked_runs, versions

from fer_tasks import registry, report
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.approval import Approval
from fer_tasks.errors import RegistryError
from fer_tasks.file_lock import locked
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.registry import Promotion, find_champion, load_champion
from fer_tasks.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parent.parent
FACES = np.random.default_rng(0).random((3, 48, 48, 1), dtype=np.float32)


@pytest.fixture
def finished(tmp_path):
    """finished(run name, model name, accuracy) -> a run that came through the gate, whose minimum is 0.6."""

    def make(run_name, registered_model, accuracy=0.9):
        return finish(RunDirectory(tmp_path / run_name), registered_model, accuracy)

    return make


def test_the_first_accepted_model_becomes_champion_and_a_retry_registers_nothing_more(registry_home, finished, capfd):
    run_dir = finished("first", "retried")
    promotion = registry.run(run_dir)
    assert promotion.model_sha256 == hashlib.sha256(run_dir.model.read_bytes()).hexdigest()
    assert (promotion.registered_model, promotion.version, promotion.alias) == ("retried", 1, "champion")
    assert promotion.previous_version is None
    assert promotion.tracking_uri == f"sqlite:///{registry_home}/mlflow.db"
    assert promotion.promoted_at.endswith("+00:00")
    assert (promotion.accuracy, promotion.run_folder) == (0.5, "first")
    assert tracked_runs(registry_home, "first") == [promotion.mlflow_run]
    assert run_dir.load_json(run_dir.promotion_json, Promotion) == promotion

    assert registry.run(run_dir) == promotion
    assert versions(registry_home, "retried") == [1]
    assert aliases(registry_home, "retried") == {"champion": 1}
    assert "http" not in capfd.readouterr().out

    expected = predict_probabilities(load_model(run_dir.model), FACES)
    assert np.allclose(predict_probabilities(load_champion("retried"), FACES), expected, atol=1e-6)


def test_the_next_one_takes_the_alias_and_the_former_is_kept_as_previous(registry_home, finished):
    registry.run(finished("first", "followed"))
    second = finished("second", "followed")
    promotion = registry.run(second)
    assert (promotion.version, promotion.previous_version) == (2, 1)
    assert aliases(registry_home, "followed") == {"champion": 2, "previous_champion": 1}
    assert registry.run(second).previous_version == 1
    assert aliases(registry_home, "followed") == {"champion": 2, "previous_champion": 1}
    expected = predict_probabilities(load_model(second.model), FACES)
    assert np.allclose(predict_probabilities(load_champion("followed"), FACES), expected, atol=1e-6)

    champion = find_champion("followed")
    assert (champion.version, champion.previous_version, champion.accuracy) == (2, 1, 0.5)
    assert (champion.run_folder, champion.mlflow_run) == ("second", promotion.mlflow_run)
    assert champion.model_sha256 == promotion.model_sha256
    assert [(past.version, past.how) for past in champion.history] == [(1, "promotion"), (2, "promotion")]
    assert champion.history[1].at == promotion.promoted_at


def test_promotion_and_report_log_into_the_same_run_of_mlflow(registry_home, finished):
    from mlflow import MlflowClient

    run_dir = finished("shared", "logged")
    report.run(run_dir)
    promotion = registry.run(run_dir)
    report.run(run_dir)
    assert tracked_runs(registry_home, "shared") == [promotion.mlflow_run]
    client = MlflowClient(f"sqlite:///{registry_home}/mlflow.db")
    assert client.get_run(promotion.mlflow_run).info.status == "FINISHED"
    records = {item.path for item in client.list_artifacts(promotion.mlflow_run, "records")}
    assert {"records/settings.json", "records/evaluation.json", "records/promotion.json"} <= records
    assert client.get_model_version("logged", "1").run_id == promotion.mlflow_run
    assert len(client.get_metric_history(promotion.mlflow_run, "test_accuracy")) == 1
    assert list((registry_home / "mlflow-artifacts").rglob("model.keras"))


def test_a_report_written_during_the_promotion_tells_its_end(registry_home, finished):
    from mlflow import MlflowClient

    run_dir = finished("beside", "beside")
    with run_dir.attempt("promote_model"):
        report.run(run_dir)
    assert 'promote_model<span class="">: running' in run_dir.report_html.read_text()
    promotion = registry.run(run_dir)
    assert 'promote_model<span class="visually-hidden">: succeeded' in run_dir.report_html.read_text()
    client = MlflowClient(f"sqlite:///{registry_home}/mlflow.db")
    kept = client.download_artifacts(promotion.mlflow_run, "report.html")
    assert Path(kept).read_bytes() == run_dir.report_html.read_bytes()


def test_the_record_of_the_promotion_reaches_mlflow_without_the_report(registry_home, finished):
    from mlflow import MlflowClient

    promotion = registry.run(finished("unreported", "unreported"))
    client = MlflowClient(f"sqlite:///{registry_home}/mlflow.db")
    records = {item.path for item in client.list_artifacts(promotion.mlflow_run, "records")}
    assert "records/promotion.json" in records


def test_other_tools_load_the_champion_with_mlflow_alone(registry_home, finished, monkeypatch):
    import mlflow

    run_dir = finished("elsewhere", "elsewhere")
    registry.run(run_dir)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry_home}/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/elsewhere@champion")
    expected = predict_probabilities(load_model(run_dir.model), FACES)
    assert np.allclose(model.predict(FACES), expected, atol=1e-6)


@pytest.mark.parametrize("approved", [True, False])
def test_where_a_person_decides_only_an_approved_model_is_promoted(registry_home, finished, approved):
    name = f"approved-{approved}"
    run_dir = finished(name, name)
    gate = run_dir.load_json(run_dir.gate_json, GateDecision)
    run_dir.save_json(run_dir.gate_json, replace(gate, needs_approval=True))
    run_dir.save_json(run_dir.approval_json, Approval(approved, "ada", "2026-11-25T00:00:00+00:00"))
    if approved:
        assert registry.run(run_dir).version == 1
        return
    with pytest.raises(RegistryError, match="A person rejected this model"):
        registry.run(run_dir)
    assert aliases(registry_home, name) == {}


def test_a_model_that_the_gate_rejected_is_refused(registry_home, finished):
    run_dir = finished("rejected", "rejected", accuracy=0.5)
    with pytest.raises(
        RegistryError, match=r"gate rejected this model, so it is not promoted: .* is below the minimum"
    ):
        registry.run(run_dir)
    assert run_dir.attempts("promote_model")[0].status == "refused"
    assert not run_dir.promotion_json.exists()


def test_a_run_without_a_verdict_is_refused(registry_home, finished):
    run_dir = finished("unjudged", "unjudged")
    run_dir.gate_json.unlink()
    with pytest.raises(RegistryError, match=r"has no gate\.json"):
        registry.run(run_dir)


def test_without_a_champion_there_is_none_to_load(registry_home):
    assert find_champion("nobody") is None
    with pytest.raises(RegistryError, match="has no champion of 'nobody'"):
        load_champion("nobody")


def test_a_champion_whose_files_are_gone_says_so_in_words(registry_home, finished):
    registry.run(finished("lost-files", "lost-files"))
    champion = find_champion("lost-files")
    for file in list((registry_home / "mlflow-artifacts").rglob("*.keras")):
        shutil.rmtree(file.parent.parent)
    with pytest.raises(RegistryError, match=r"^models:/lost-files/1 has no files any more\."):
        champion.load_model()


def test_a_model_that_was_compared_with_another_champion_is_not_promoted(registry_home, finished):
    first, second, third = (finished(name, "compared") for name in ("a", "bb", "ccc"))
    assert registry.promote(first, "compared", expected_champion=None).version == 1
    assert registry.promote(second, "compared", expected_champion=1).version == 2
    with pytest.raises(RegistryError, match=r"version 3 was compared with version 1, but by now version 2 is in use"):
        registry.promote(third, "compared", expected_champion=1)
    with pytest.raises(RegistryError, match=r"version 3 was compared with no champion, .* Clear evaluate_model"):
        registry.promote(third, "compared", expected_champion=None)
    assert aliases(registry_home, "compared") == {"champion": 2, "previous_champion": 1}
    assert registry.promote(second, "compared", expected_champion=1).previous_version == 1
    assert registry.promote(third, "compared", expected_champion=2).version == 3
    assert aliases(registry_home, "compared") == {"champion": 3, "previous_champion": 2}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real MLflow server, in MLFLOW_TRACKING_URI."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), process)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def test_a_server_takes_runs_versions_and_aliases_as_the_embedded_registry_does(server, finished, capfd):
    registry.run(finished("first", "served"))
    second = finished("second", "served")
    report.run(second)
    promotion = registry.run(second)
    assert (promotion.version, promotion.previous_version, promotion.tracking_uri) == (2, 1, server)
    assert registry.run(second) == promotion
    assert capfd.readouterr().out == ""
    champion = find_champion("served")
    assert (champion.version, champion.previous_version, champion.run_folder) == (2, 1, "second")
    expected = predict_probabilities(load_model(second.model), FACES)
    assert np.allclose(predict_probabilities(load_champion("served"), FACES), expected, atol=1e-6)


def wait_until(condition, process=None, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        assert process is None or process.poll() is None, "the process ended before"
        time.sleep(0.1)


def test_a_promotion_killed_between_registering_and_the_alias_is_ended_by_its_retry(registry_home, finished):
    run_dir = finished("killed", "killed")
    script = (
        "import sys; from fer_tasks import registry; from fer_tasks.run_directory import RunDirectory; "
        "registry.run(RunDirectory(sys.argv[1]))"
    )
    with locked(registry_home / "registry.lock"):
        process = subprocess.Popen([sys.executable, "-c", script, str(run_dir)], cwd=PROJECT)
        wait_until(lambda: versions(registry_home, "killed") == [1], process)
        assert aliases(registry_home, "killed") == {}
        process.kill()
        assert process.wait(timeout=60) == -9
    assert aliases(registry_home, "killed") == {}
    promotion = registry.run(run_dir)
    assert [attempt.status for attempt in run_dir.attempts("promote_model")] == ["running", "succeeded"]
    assert versions(registry_home, "killed") == [1]
    assert aliases(registry_home, "killed") == {"champion": 1}
    assert len(tracked_runs(registry_home, "killed")) == 1
    assert promotion.previous_version is None


def promote_first(root, answers):
    try:
        promotion = registry.promote(RunDirectory(root), "raced", expected_champion=None)
        answers.put((promotion.version, "won"))
    except RegistryError as error:
        answers.put((None, str(error)))


def num_waiting(lock):
    """So many processes wait for this lock."""
    inode = f":{lock.stat().st_ino} "
    return sum(" -> " in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_of_two_promotions_at_once_one_wins(registry_home, finished):
    runs = [finished(name, "raced") for name in ("left", "right one")]
    for run_dir in runs:
        with pytest.raises(RegistryError, match="was compared with version 99, but by now no champion is in use"):
            registry.promote(run_dir, "raced", expected_champion=99)
    assert versions(registry_home, "raced") == [1, 2]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    racers = [context.Process(target=promote_first, args=(run_dir.root, answers)) for run_dir in runs]
    with locked(registry_home / "registry.lock"):
        for racer in racers:
            racer.start()
        wait_until(lambda: num_waiting(registry_home / "registry.lock") == 2)
        assert aliases(registry_home, "raced") == {}
    told = dict(answers.get(timeout=200) for _ in racers)
    for racer in racers:
        racer.join(timeout=60)
    (winner,) = [version for version in told if version is not None]
    loser = {1: 2, 2: 1}[winner]
    assert told[None].startswith(
        f"raced version {loser} was compared with no champion, but by now version {winner} is in use."
    )
    assert aliases(registry_home, "raced") == {"champion": winner}
