"""promote_model: registers an accepted model in MLflow and makes it the champion."""

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fer_tasks import report
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.approval import Approval
from fer_tasks.champion_alias import (
    CHAMPION,
    NOT_CHECKED,
    NotChecked,
    Succession,
    advance,
    successions,
    versions_in_use,
)
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import RegistryError
from fer_tasks.evaluation import Evaluation
from fer_tasks.file_lock import locked
from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory
from fer_tasks.tracking import connected, import_mlflow, log_run, tracking_uri
from fer_tasks.visible_text import without_password

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """Which version became the champion, and which one was it before.

    accuracy: on the test split, in [0, 1]. mlflow_run: the id of the run in MLflow. promoted_at: UTC, ISO 8601.
    """

    registered_model: str
    version: int
    alias: str
    previous_version: int | None
    accuracy: float
    run_folder: str
    mlflow_run: str
    tracking_uri: str
    model_sha256: str
    promoted_at: str


@dataclass(frozen=True)
class Champion:
    """The version that is in use, as the registry knows it.

    accuracy     on the test split of its own run, in [0, 1]; None, like the texts, for a version made by other means
    history      who became champion when, oldest first
    """

    registered_model: str
    version: int
    previous_version: int | None
    accuracy: float | None
    run_folder: str | None
    mlflow_run: str | None
    model_sha256: str | None
    history: tuple[Succession, ...]

    def load_records(self) -> dict[str, Any]:
        """The JSON records of its run by name (`settings`, `evaluation`), those that the registry holds."""
        with connected() as client, TemporaryDirectory() as folder:
            if not self.mlflow_run or not client.list_artifacts(self.mlflow_run, "records"):
                return {}
            files = Path(client.download_artifacts(self.mlflow_run, "records", folder)).glob("*.json")
            return {file.stem: json.loads(file.read_text()) for file in files}

    def load_model(self) -> Any:
        """Its Keras model. Raises RegistryError when it is none or gone, TrainingError when it cannot be read."""
        return load_model(self._model_file())

    def copy_model(self, path: Path) -> None:
        """Write its .keras file to `path`. Raises RegistryError when there is none or it is gone."""
        shutil.copyfile(self._model_file(), path)

    def _model_file(self) -> Path:
        from mlflow.exceptions import MlflowException

        name = f"models:/{self.registered_model}/{self.version}"
        try:
            with connected():
                file = next(Path(import_mlflow().artifacts.download_artifacts(name)).rglob("*.keras"), None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise  # the registry is away, which may pass
            raise RegistryError(f"{name} has no files any more. Roll back, or promote another model.") from error
        if file is None:
            raise RegistryError(f"{name} holds no .keras file; let a run of this pipeline be accepted instead.")
        return file


def run(run_dir: RunDirectory) -> Promotion:
    """Register the run's model and move the alias `champion` to it; write promotion.json.

    A retry finds the version that an earlier try registered. Raises RegistryError unless the gate passed, and when the
    champion is no longer the one that the gate compared the model with.
    """
    with report.updated_after(run_dir), run_dir.attempt("promote_model"):
        if not run_dir.gate_json.exists():
            raise RegistryError(f"{run_dir} has no gate.json; only a model that passed accuracy_gate is promoted.")
        decision = run_dir.load_json(run_dir.gate_json, GateDecision)
        if not decision.passed:
            raise RegistryError(f"The gate rejected this model, so it is not promoted: {decision.reason}")
        if decision.needs_approval and not run_dir.load_json(run_dir.approval_json, Approval).approved:
            raise RegistryError("A person rejected this model, so it is not promoted.")
        compared = run_dir.load_json(run_dir.champion_comparison_json, ChampionComparison)
        promotion = promote(run_dir, compared.registered_model, expected_champion=compared.version)
        run_dir.save_json(run_dir.promotion_json, promotion)
        with connected() as client:  # publish_report may have looked before promotion.json was there
            log_run(client, run_dir)
        _log.info(
            "%s version %d is the champion (before: %s).",
            promotion.registered_model, promotion.version, promotion.previous_version or "none",
        )  # fmt: skip
    return promotion


def promote(run_dir: RunDirectory, name: str, *, expected_champion: int | NotChecked | None = NOT_CHECKED) -> Promotion:
    """Make the run's model the champion of the registered model `name`, whatever the gate said.

    expected_champion: the version that the model was compared with, None if there was none. Raises RegistryError when
    another one is in use by now; a version that is champion already stays it.
    """
    digest = hashlib.sha256(run_dir.model.read_bytes()).hexdigest()
    accuracy = run_dir.load_json(run_dir.evaluation_json, Evaluation).accuracy
    identity = {"run_folder": run_dir.root.name, "model_sha256": digest}
    with connected() as client:
        mlflow_run = log_run(client, run_dir)
        with locked(run_dir.tracking_lock):
            version = _find_version(client, name, identity)
            if version is None:
                version = _register(client, run_dir, name, mlflow_run, {**identity, "accuracy": str(accuracy)})
        succession = advance(client, name, version, expected=expected_champion)
        _, previous = versions_in_use(client, name)
    return Promotion(
        registered_model=name,
        version=version,
        alias=CHAMPION,
        previous_version=previous,
        accuracy=accuracy,
        run_folder=run_dir.root.name,
        mlflow_run=mlflow_run,
        tracking_uri=without_password(tracking_uri()),
        model_sha256=digest,
        promoted_at=succession.at,
    )


def find_champion(name: str) -> Champion | None:
    """What is in use as `name`; None when nothing is."""
    with connected() as client:
        champion, previous = versions_in_use(client, name)
        if champion is None:
            return None
        version = client.get_model_version(name, str(champion))
        accuracy = version.tags.get("accuracy")
        return Champion(
            registered_model=name,
            version=champion,
            previous_version=previous,
            accuracy=None if accuracy is None else float(accuracy),
            run_folder=version.tags.get("run_folder"),
            mlflow_run=version.run_id or None,
            model_sha256=version.tags.get("model_sha256"),
            history=tuple(successions(client, name)),
        )


def load_champion(name: str) -> Any:
    """The Keras model that is the champion of `name`. Raises RegistryError when there is none."""
    return champion_in_use(name).load_model()


def champion_in_use(name: str) -> Champion:
    """As find_champion. Raises RegistryError when there is none."""
    if champion := find_champion(name):
        return champion
    registry = without_password(tracking_uri())
    raise RegistryError(f"The registry {registry} has no champion of {name!r}; let a run be accepted first.")


def _find_version(client: Any, name: str, identity: dict[str, str]) -> int | None:
    found = client.search_model_versions(f"name = '{name}'")
    return next((int(v.version) for v in found if identity.items() <= v.tags.items()), None)


def _register(client: Any, run_dir: RunDirectory, name: str, mlflow_run: str, tags: dict[str, str]) -> int:
    """Log the model and add its version. The tags come with the version, in one step."""
    from mlflow.exceptions import MlflowException

    mlflow = import_mlflow()
    with mlflow.start_run(run_id=mlflow_run):
        logged = mlflow.keras.log_model(
            load_model(run_dir.model), name="model", pip_requirements=_requirements(), signature=_signature()
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, logged.model_uri, run_id=mlflow_run, tags=tags, model_id=logged.model_id
    )
    return int(version.version)


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
