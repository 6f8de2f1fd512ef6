import hashlib
import os
import sqlite3

import numpy as np
import pytest
from tiny_faces import write_faces

from fer_tasks import registry
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.errors import RegistryError
from fer_tasks.evaluation import evaluate
from fer_tasks.model import build_model, import_keras, load_model, predict_probabilities
from fer_tasks.registry import Promotion, load_champion
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.training import EpochRecord, History

FACES = np.random.default_rng(0).random((3, 48, 48, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One embedded registry for the module: making its tables takes seconds. Tests use names of their own."""
    folder = tmp_path_factory.mktemp("home with blank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def finished(tmp_path):
    """finished(run name, model name, accuracy) -> a run that came through the gate, whose minimum is 0.6."""

    def finish(run_name, registered_model, accuracy=0.9):
        run_dir = RunDirectory(tmp_path / run_name)
        run_dir.save_json(run_dir.settings_json, RunSettings(registered_model=registered_model).to_params())
        write_faces(run_dir, {"test": 2})
        import_keras().utils.set_random_seed(len(run_name))
        build_model("paper_cnn").save(run_dir.model)
        record = EpochRecord(1, 1.5, 0.5, 1.0, 0.25, 0.1, 1.0, 9.0)
        run_dir.save_json(run_dir.history_json, History("paper_cnn", 5, "float32", (record,), 1, False, (), 1.0))
        measured = evaluate(
            np.zeros(2, np.int32),
            np.eye(7, dtype=np.float32)[None, :2],
            temperature=1.0,
            validation_accuracy=0.5,
            images_per_second=9.0,
        )
        run_dir.save_json(run_dir.evaluation_json, measured)
        passed = accuracy >= 0.6
        reason = f"{accuracy:.0%} {'reaches' if passed else 'is below'} the minimum of 60%."
        run_dir.save_json(run_dir.gate_json, GateDecision(passed, reason, (), needs_approval=False))
        return run_dir

    return finish


def versions(home, name):
    with sqlite3.connect(home / "mlflow.db") as database:
        rows = database.execute("SELECT version FROM model_versions WHERE name = ? ORDER BY version", (name,))
        return [version for (version,) in rows]


def aliases(home, name):
    with sqlite3.connect(home / "mlflow.db") as database:
        return dict(database.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,)))


def test_the_first_accepted_model_becomes_champion_and_a_retry_registers_nothing_more(home, finished, capfd):
    run_dir = finished("first", "retried")
    promotion = registry.run(run_dir)
    assert promotion.model_sha256 == hashlib.sha256(run_dir.model.read_bytes()).hexdigest()
    assert (promotion.registered_model, promotion.version, promotion.alias) == ("retried", 1, "champion")
    assert promotion.previous_version is None
    assert promotion.tracking_uri == f"sqlite:///{home}/mlflow.db"
    assert promotion.promoted_at.endswith("+00:00")
    assert run_dir.load_json(run_dir.promotion_json, Promotion) == promotion

    again = registry.run(run_dir)
    assert (again.version, again.previous_version) == (1, None)
    assert versions(home, "retried") == [1]
    assert aliases(home, "retried") == {"champion": 1}
    assert "http" not in capfd.readouterr().out

    expected = predict_probabilities(load_model(run_dir.model), FACES)
    assert np.allclose(predict_probabilities(load_champion("retried"), FACES), expected, atol=1e-6)


def test_the_next_one_takes_the_alias_and_the_former_is_kept_as_previous(home, finished):
    registry.run(finished("first", "followed"))
    second = finished("second", "followed")
    promotion = registry.run(second)
    assert (promotion.version, promotion.previous_version) == (2, 1)
    assert aliases(home, "followed") == {"champion": 2, "previous_champion": 1}
    assert registry.run(second).previous_version == 1
    assert aliases(home, "followed") == {"champion": 2, "previous_champion": 1}
    expected = predict_probabilities(load_model(second.model), FACES)
    assert np.allclose(predict_probabilities(load_champion("followed"), FACES), expected, atol=1e-6)


def test_mlflow_knows_the_settings_the_measures_and_the_records(home, finished):
    from mlflow import MlflowClient

    run_dir = finished("told", "told")
    registry.run(run_dir)
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("fer-training").experiment_id
    (tracked,) = client.search_runs([experiment], "attributes.run_name = 'told'")
    assert tracked.data.params["learning_rate"] == "0.05"
    assert tracked.data.metrics["test_accuracy"] == 0.5
    assert tracked.data.metrics["val_accuracy"] == 0.25
    assert tracked.data.tags["run_folder"] == "told"
    records = {item.path for item in client.list_artifacts(tracked.info.run_id, "records")}
    assert {"records/settings.json", "records/evaluation.json", "records/gate.json"} <= records
    assert list((home / "mlflow-artifacts").rglob("model.keras"))


def test_other_tools_load_the_champion_with_mlflow_alone(home, finished, monkeypatch):
    import mlflow

    run_dir = finished("shared", "shared")
    registry.run(run_dir)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/shared@champion")
    expected = predict_probabilities(load_model(run_dir.model), FACES)
    assert np.allclose(model.predict(FACES), expected, atol=1e-6)


def test_a_model_that_the_gate_rejected_is_refused(home, finished):
    run_dir = finished("rejected", "rejected", accuracy=0.5)
    with pytest.raises(
        RegistryError, match=r"gate rejected this model, so it is not promoted: .* is below the minimum"
    ):
        registry.run(run_dir)
    assert run_dir.attempts("promote_model")[0].status == "refused"
    assert not run_dir.promotion_json.exists()


def test_a_run_without_a_verdict_is_refused(home, finished):
    run_dir = finished("unjudged", "unjudged")
    run_dir.gate_json.unlink()
    with pytest.raises(RegistryError, match=r"has no gate\.json"):
        registry.run(run_dir)


def test_without_a_champion_there_is_none_to_load(home):
    with pytest.raises(RegistryError, match="has no champion of 'nobody'"):
        load_champion("nobody")


def test_a_server_of_ones_own_is_used(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert registry.tracking_uri() == "https://mlflow.example.org"


def test_a_password_in_the_servers_address_stays_out_of_the_record():
    assert registry.without_password("postgresql://me:secret@db/mlflow") == "postgresql://db/mlflow"
    assert registry.without_password("https://mlflow.example.org/x") == "https://mlflow.example.org/x"
