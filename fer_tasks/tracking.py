"""The MLflow run of a run: its settings, measures, curves, records, lineage and report.

promote_model and publish_report both log into it, at the same time or again after a kill; each thing is there once.
MLflow is the server at MLFLOW_TRACKING_URI or, without one, a SQLite file and a folder below FER_HOME.
"""

import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fer_tasks.errors import PipelineError
from fer_tasks.evaluation import Evaluation
from fer_tasks.file_lock import locked
from fer_tasks.lineage import Lineage
from fer_tasks.report_page import Verdict
from fer_tasks.run_directory import RunDirectory
from fer_tasks.run_storage import home
from fer_tasks.training_history import History
from fer_tasks.visible_text import without_password

_log = logging.getLogger(__name__)

T = TypeVar("T")

EXPERIMENT = "fer-training"

_POINTS_IN_ONE_CALL = 1000
_LONGEST_DIGEST = 36
"""What MLflow takes at most."""


@dataclass(frozen=True)
class TrackedRun:
    """Which MLflow run belongs to a run's folder.

    key             its tag `run_key` there; random, since two installations may have runs of one name
    fingerprints    {file name: sha256} of what MLflow keeps for ever, a setting or a point of a curve: when these
                    change, because a task was cleared, the folder gets another MLflow run
    mlflow_run      its id; None until MLflow has given it one
    """

    key: str
    fingerprints: dict[str, str]
    mlflow_run: str | None = None


def log_run(client: Any, run_dir: RunDirectory) -> str:
    """Log what the run's folder holds by now, and return the id of its MLflow run. What is unreadable is left out."""
    with locked(run_dir.tracking_lock):
        mlflow_run = _find_or_create(client, run_dir)
        settings = _readable(run_dir.load_settings)
        if settings is not None:
            from mlflow.entities import Param

            client.log_batch(mlflow_run, params=[Param(key, str(value)) for key, value in settings.to_params().items()])
        metrics = [*_test_metrics(run_dir), *_curves(run_dir)]
        for start in range(0, len(metrics), _POINTS_IN_ONE_CALL):
            client.log_batch(mlflow_run, metrics=metrics[start : start + _POINTS_IN_ONE_CALL])
        for record in sorted(run_dir.root.glob("[!.]*.json")):
            client.log_artifact(mlflow_run, str(record), "records")
        for attempts in sorted((run_dir.root / "steps").glob("[!.]*.json")):
            client.log_artifact(mlflow_run, str(attempts), "records/steps")
    return mlflow_run


def log_outcome(run_dir: RunDirectory, verdict: Verdict) -> None:
    """Log the run with its report, its lineage and how it ended. MLflow's `FAILED` means that no model was judged."""
    with connected() as client:
        mlflow_run = log_run(client, run_dir)
        client.log_artifact(mlflow_run, str(run_dir.report_html))
        run_lineage = _readable(lambda: run_dir.load_json(run_dir.lineage_json, Lineage))
        if run_lineage is not None:
            _log_lineage(client, mlflow_run, run_lineage)
        client.set_tag(mlflow_run, "outcome", verdict.outcome)
        client.set_tag(mlflow_run, "mlflow.note.content", f"{verdict.headline}: {verdict.reason}")
        is_judged = verdict.outcome in ("accepted", "rejected")
        client.set_terminated(mlflow_run, "FINISHED" if is_judged else "FAILED")
    _log.info("Logged to %s as run %s.", without_password(tracking_uri()), mlflow_run)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the registry embedded in `home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _embedded_uri()


def import_mlflow() -> Any:
    """MLflow without telemetry and chatter; both are read from the environment at import."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    return mlflow


@contextmanager
def connected() -> Iterator[Any]:
    """A client, with MLflow's global address set, which parts of it use; MLflow also writes it to the environment.

    Both are put back, so that neither outlives the step. Raises ConnectionError in place of an error of MLflow's that
    holds the server's password, which reports and logs would repeat.
    """
    given, mlflow = os.environ.get("MLFLOW_TRACKING_URI"), import_mlflow()
    if tracking_uri() == _embedded_uri():
        _make_embedded_database(mlflow)
    mlflow.set_tracking_uri(tracking_uri())
    try:
        yield mlflow.MlflowClient()
    except PipelineError:
        raise
    except Exception as error:
        told = without_password(str(error))
        if told == str(error):
            raise
        raise ConnectionError(told) from None
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if given is not None:
            os.environ["MLFLOW_TRACKING_URI"] = given


def _embedded_uri() -> str:
    return f"sqlite:///{home() / 'mlflow.db'}"


def _make_embedded_database(mlflow: Any) -> None:
    """Make the tables, unless they are there: whole or not at all, by one process. MLflow itself would let two try."""
    database = home() / "mlflow.db"
    with locked(home() / "mlflow.lock"):
        if not database.exists():
            temporary = home() / ".mlflow-new.db"
            temporary.unlink(missing_ok=True)
            mlflow.MlflowClient(f"sqlite:///{temporary}")
            temporary.replace(database)


def _find_or_create(client: Any, run_dir: RunDirectory) -> str:
    """The id of the folder's MLflow run. Its key is on disk before MLflow has it, so a killed step leaves no second."""
    kept = [path for path in (run_dir.settings_json, run_dir.history_json) if path.exists()]
    fingerprints = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    known = TrackedRun(uuid.uuid4().hex, fingerprints)
    earlier = _readable(lambda: run_dir.load_json(run_dir.tracking_json, TrackedRun))
    if earlier and all(fingerprints.get(name, digest) == digest for name, digest in earlier.fingerprints.items()):
        known = TrackedRun(earlier.key, {**earlier.fingerprints, **fingerprints})
    run_dir.save_json(run_dir.tracking_json, known)

    experiment = _experiment(client)
    found = client.search_runs([experiment], f"tags.run_key = '{known.key}'", max_results=1)
    tags = {"run_key": known.key, "run_folder": run_dir.root.name}
    tracked = found[0] if found else client.create_run(experiment, run_name=run_dir.root.name, tags=tags)
    run_dir.save_json(run_dir.tracking_json, replace(known, mlflow_run=tracked.info.run_id))
    return str(tracked.info.run_id)


def _experiment(client: Any) -> str:
    from mlflow.exceptions import MlflowException

    artifacts = str(home() / "mlflow-artifacts") if tracking_uri() == _embedded_uri() else None
    if client.get_experiment_by_name(EXPERIMENT) is None:
        try:
            client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run has just made it
                raise
    return str(client.get_experiment_by_name(EXPERIMENT).experiment_id)


def _test_metrics(run_dir: RunDirectory) -> list[Any]:
    from mlflow.entities import Metric

    evaluation = _readable(lambda: run_dir.load_json(run_dir.evaluation_json, Evaluation))
    if evaluation is None:
        return []
    written = _milliseconds(run_dir.evaluation_json)
    measures = {key: value for key, value in asdict(evaluation).items() if isinstance(value, int | float)}
    return [Metric(f"test_{key}", value, written, 0) for key, value in measures.items()]


def _curves(run_dir: RunDirectory) -> list[Any]:
    from mlflow.entities import Metric

    history = _readable(lambda: run_dir.load_json(run_dir.history_json, History))
    if history is None:
        return []
    written = _milliseconds(run_dir.history_json)
    return [
        Metric(key, value, written, epoch.epoch)
        for epoch in history.epochs
        for key, value in asdict(epoch).items()
        if key != "epoch"
    ]


def _milliseconds(record: Path) -> int:
    """When a record was written. MLflow drops a point that it has already, with the same time and value."""
    return record.stat().st_mtime_ns // 1_000_000


def _log_lineage(client: Any, mlflow_run: str, run_lineage: Lineage) -> None:
    from mlflow.entities import Dataset, DatasetInput

    if run_lineage.code.commit is not None:
        client.set_tag(mlflow_run, "mlflow.source.git.commit", run_lineage.code.commit)
        client.set_tag(mlflow_run, "code_has_local_changes", str(run_lineage.code.has_local_changes).lower())
    if run_lineage.dataset_sha256 is not None:
        client.set_tag(mlflow_run, "dataset_sha256", run_lineage.dataset_sha256)
        name = Path(run_lineage.dataset or "").name
        digest = run_lineage.dataset_sha256[:_LONGEST_DIGEST]
        dataset = Dataset(name, digest, "local", run_lineage.dataset or "")
        client.log_inputs(mlflow_run, [DatasetInput(dataset)])


def _readable(load: Callable[[], T]) -> T | None:
    """What `load` returns; None where the run has not come so far, or where its record is damaged."""
    try:
        return load()
    except FileNotFoundError:
        return None
    except (PipelineError, ValueError, TypeError) as error:
        _log.warning("Not logged to MLflow: %s", error)
        return None
