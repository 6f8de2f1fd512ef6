"""promote_model: registers an accepted model in MLflow and makes it the champion.

The registry is the server at MLFLOW_TRACKING_URI or, without one, a SQLite file and a folder below FER_HOME.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import RegistryError
from fer_tasks.evaluation import Evaluation
from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory
from fer_tasks.training import History

_log = logging.getLogger(__name__)

CHAMPION = "champion"
PREVIOUS_CHAMPION = "previous_champion"
EXPERIMENT = "fer-training"


@dataclass(frozen=True)
class Promotion:
    """Which version became the champion, and which one was it before. promoted_at: UTC, ISO 8601."""

    registered_model: str
    version: int
    alias: str
    previous_version: int | None
    tracking_uri: str
    model_sha256: str
    promoted_at: str


def run(run_dir: RunDirectory) -> Promotion:
    """Register the run's model and move the alias `champion` to it; write promotion.json.

    A retry finds the version that an earlier try registered. Raises RegistryError unless the gate passed.
    """
    with run_dir.attempt("promote_model"):
        if not run_dir.gate_json.exists():
            raise RegistryError(f"{run_dir} has no gate.json; only a model that passed accuracy_gate is promoted.")
        decision = run_dir.load_json(run_dir.gate_json, GateDecision)
        if not decision.passed:
            raise RegistryError(f"The gate rejected this model, so it is not promoted: {decision.reason}")
        promotion = promote(run_dir, run_dir.load_settings().registered_model)
        run_dir.save_json(run_dir.promotion_json, promotion)
        _log.info(
            "%s version %d is the champion (before: %s).",
            promotion.registered_model, promotion.version, promotion.previous_version or "none",
        )  # fmt: skip
    return promotion


def promote(run_dir: RunDirectory, name: str) -> Promotion:
    """Make the run's model the champion of the registered model `name`, whatever the gate said."""
    digest = hashlib.sha256(run_dir.model.read_bytes()).hexdigest()
    identity = {"run_folder": run_dir.root.name, "model_sha256": digest}
    with _connected() as client:
        version = _find_version(client, name, identity) or _register(client, run_dir, name, identity)
        champion = _version_with_alias(client, name, CHAMPION)
        if champion is not None and champion != version:
            client.set_registered_model_alias(name, PREVIOUS_CHAMPION, str(champion))
        client.set_registered_model_alias(name, CHAMPION, str(version))
        previous = _version_with_alias(client, name, PREVIOUS_CHAMPION)
    return Promotion(
        registered_model=name,
        version=version,
        alias=CHAMPION,
        previous_version=previous,
        tracking_uri=without_password(tracking_uri()),
        model_sha256=digest,
        promoted_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class Champion:
    """The version that is in use, as the registry knows it; the texts are None for one made by other means."""

    registered_model: str
    version: int
    run_folder: str | None
    mlflow_run: str | None
    model_sha256: str | None

    def load_records(self) -> dict[str, Any]:
        """The JSON records of its run by name (`settings`, `evaluation`), those that the registry holds."""
        with _connected() as client, TemporaryDirectory() as folder:
            if not self.mlflow_run or not client.list_artifacts(self.mlflow_run, "records"):
                return {}
            files = Path(client.download_artifacts(self.mlflow_run, "records", folder)).glob("*.json")
            return {file.stem: json.loads(file.read_text()) for file in files}

    def load_model(self) -> Any:
        """Its Keras model. Raises RegistryError when it is none, TrainingError when it cannot be read."""
        name = f"models:/{self.registered_model}/{self.version}"
        with _connected():
            file = next(Path(_mlflow().artifacts.download_artifacts(name)).rglob("*.keras"), None)
        if file is None:
            raise RegistryError(f"{name} holds no .keras file; let a run of this pipeline be accepted instead.")
        return load_model(file)


def find_champion(name: str) -> Champion | None:
    """What is in use as `name`; None when nothing is."""
    if tracking_uri() == _embedded_uri() and not (_home() / "mlflow.db").exists():
        return None  # to connect would make its tables, for seconds
    with _connected() as client:
        version = _version_with_alias(client, name, CHAMPION)
        if version is None:
            return None
        it = client.get_model_version(name, str(version))
    return Champion(name, version, it.tags.get("run_folder"), it.run_id or None, it.tags.get("model_sha256"))


def load_champion(name: str) -> Any:
    """The Keras model that is the champion of `name`. Raises RegistryError when there is none."""
    if champion := find_champion(name):
        return champion.load_model()
    registry = without_password(tracking_uri())
    raise RegistryError(f"The registry {registry} has no champion of {name!r}; let a run be accepted first.")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the registry embedded in FER_HOME (default `.airflow` inside the project)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _embedded_uri()


def without_password(uri: str) -> str:
    """The address as a report may show it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _home() -> Path:
    project = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("FER_HOME", project / ".airflow")).absolute()


def _mlflow() -> Any:
    """MLflow without telemetry and chatter; both are read from the environment at import."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    return mlflow


def _embedded_uri() -> str:
    return f"sqlite:///{_home() / 'mlflow.db'}"


@contextmanager
def _connected() -> Iterator[Any]:
    """A client, with MLflow's global address set, which parts of it use; MLflow also writes it to the environment.

    Both are put back, so that neither outlives the step.
    """
    given, mlflow = os.environ.get("MLFLOW_TRACKING_URI"), _mlflow()
    if tracking_uri() == _embedded_uri():
        _home().mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(tracking_uri())
    try:
        yield mlflow.MlflowClient()
    finally:
        mlflow.set_tracking_uri(None)
        if given is not None:
            os.environ["MLFLOW_TRACKING_URI"] = given


def _find_version(client: Any, name: str, identity: dict[str, str]) -> int | None:
    found = client.search_model_versions(f"name = '{name}'")
    return next((int(v.version) for v in found if identity.items() <= v.tags.items()), None)


def _version_with_alias(client: Any, name: str, alias: str) -> int | None:
    versions = client.search_registered_models(f"name = '{name}'")
    return next((int(model.aliases[alias]) for model in versions if alias in model.aliases), None)


def _register(client: Any, run_dir: RunDirectory, name: str, identity: dict[str, str]) -> int:
    """Log the run and its model, and add the model's version. The tags come with the version, in one step."""
    tracked = client.create_run(_experiment(client), run_name=run_dir.root.name, tags=identity)
    _log_records(client, tracked.info.run_id, run_dir)
    mlflow = _mlflow()
    with mlflow.start_run(run_id=tracked.info.run_id):
        logged = mlflow.keras.log_model(
            load_model(run_dir.model), name="model", pip_requirements=_requirements(), signature=_signature()
        )
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, logged.model_uri, run_id=tracked.info.run_id, tags=identity)
    return int(version.version)


def _experiment(client: Any) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    artifacts = str(_home() / "mlflow-artifacts") if tracking_uri() == _embedded_uri() else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))


def _log_records(client: Any, tracked_run: str, run_dir: RunDirectory) -> None:
    """Settings as parameters, the evaluation and each epoch as metrics, the JSON records as artifacts."""
    from mlflow.entities import Metric, Param

    now = int(datetime.now(UTC).timestamp() * 1000)
    evaluation = asdict(run_dir.load_json(run_dir.evaluation_json, Evaluation))
    metrics = [
        Metric(f"test_{key}", value, now, 0) for key, value in evaluation.items() if isinstance(value, int | float)
    ]
    for epoch in run_dir.load_json(run_dir.history_json, History).epochs:
        values = {key: value for key, value in asdict(epoch).items() if key != "epoch"}
        metrics += [Metric(key, value, now, epoch.epoch) for key, value in values.items()]
    settings = [Param(key, str(value)) for key, value in run_dir.load_settings().to_params().items()]
    for start in range(0, len(metrics), 1000):  # MLflow's most in one call
        client.log_batch(tracked_run, metrics=metrics[start : start + 1000])
    client.log_batch(tracked_run, params=settings)
    for record in sorted(run_dir.root.glob("*.json")):
        client.log_artifact(tracked_run, str(record), "records")


def _requirements() -> list[str]:
    """Pinned by hand: MLflow's own inference runs the model in a new process, for twenty seconds."""
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in ("keras", "numpy", "tensorflow")]


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    faces = TensorSpec(np.dtype("float32"), (-1, IMAGE_SIDE, IMAGE_SIDE, 1), "face")
    emotions = TensorSpec(np.dtype("float32"), (-1, NUM_EMOTIONS))
    return ModelSignature(inputs=Schema([faces]), outputs=Schema([emotions]))
