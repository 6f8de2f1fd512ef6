"""RunDirectory: the one place that knows where a run keeps what, and how it is written whole or not at all.

A run's folder is the interface between the steps: each step gets only its path. Light: standard library at import.
"""

import dataclasses
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from fer_tasks.errors import PipelineError
from fer_tasks.replacement import put_in_place, remove, sweep, temporary_beside
from fer_tasks.run_storage import storage_in_use
from fer_tasks.settings import RunSettings

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One try of one step. `seconds` is None while it runs, and for ever when it was killed.

    status: `running` (or killed), `succeeded`, `refused` (a PipelineError: a verdict or bad input) or `failed`.
    reused_from: the run that computed the result, where this one took it over.
    """

    started_at: str
    status: str = "running"
    seconds: float | None = None
    reason: str | None = None
    reused_from: str | None = None


def runs_folder() -> Path:
    """Where the runs' folders are: FER_RUNS_FOLDER, or `./runs`. The local mirror, where that is a URL."""
    storage = storage_in_use()
    return storage.mirror if storage else Path(os.environ.get("FER_RUNS_FOLDER", "runs")).absolute()


class RunDirectory:
    """Folder of one run. Paths are properties; `replacing` writes, `save_json` and `load_json` keep records.

    Where runs are kept on object storage, it is a folder of the local mirror: what is written or removed here is
    stored or deleted there, too, and `pull`, which each step's `attempt` begins with, brings what others stored.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        storage = storage_in_use()
        self._storage = storage if storage and self.root.is_relative_to(storage.mirror) else None

    @classmethod
    def for_run_id(cls, run_id: str) -> Self:
        """Folder of the Airflow run `run_id` below FER_RUNS_FOLDER (default `./runs`).

        Everything outside [A-Za-z0-9_.-] becomes `-`, since Hadoop paths refuse `:`; a run id cannot leave the folder.
        """
        slug = re.sub(r"[^A-Za-z0-9_.-]", "-", run_id).lstrip(".") or "run"
        return cls(runs_folder() / slug)

    def __str__(self) -> str:
        return str(self.root)

    settings_json = property(lambda self: self.root / "settings.json")
    sample_folder = property(lambda self: self.root / "sample")
    unpacked_folder = property(lambda self: self.root / "unpacked")
    ingestion_json = property(lambda self: self.root / "ingestion.json")
    raw_faces = property(lambda self: self.root / "raw_faces.parquet")
    data_quality_json = property(lambda self: self.root / "data_quality.json")
    data_docs_folder = property(lambda self: self.root / "data_docs")
    quarantine = property(lambda self: self.root / "quarantine.parquet")
    exclusions = property(lambda self: self.root / "exclusions.parquet")
    preprocessing_json = property(lambda self: self.root / "preprocessing.json")
    faces = property(lambda self: self.root / "faces.parquet")
    checkpoint_folder = property(lambda self: self.root / "checkpoint")
    model = property(lambda self: self.root / "model.keras")
    history_json = property(lambda self: self.root / "history.json")
    evaluation_json = property(lambda self: self.root / "evaluation.json")
    predictions = property(lambda self: self.root / "predictions.parquet")
    champion_comparison_json = property(lambda self: self.root / "champion_comparison.json")
    champion_predictions = property(lambda self: self.root / "champion_predictions.parquet")
    data_profile_json = property(lambda self: self.root / "data_profile.json")
    slices_json = property(lambda self: self.root / "slices.json")
    golden_predictions = property(lambda self: self.root / "golden_predictions.npz")
    serving_check_json = property(lambda self: self.root / "serving_check.json")
    explanations_json = property(lambda self: self.root / "explanations.json")
    explanation_maps = property(lambda self: self.root / "explanation_maps.npz")
    face_explanations = property(lambda self: self.root / "face_explanations.parquet")
    gate_json = property(lambda self: self.root / "gate.json")
    approval_json = property(lambda self: self.root / "approval.json")
    promotion_json = property(lambda self: self.root / "promotion.json")
    rollback_json = property(lambda self: self.root / "rollback.json")
    tracking_json = property(lambda self: self.root / "tracking.json")
    tracking_lock = property(lambda self: self.root / "tracking.lock")
    lineage_json = property(lambda self: self.root / "lineage.json")
    report_html = property(lambda self: self.root / "report.html")
    report_lock = property(lambda self: self.root / "report.lock")
    tuning_json = property(lambda self: self.root / "tuning.json")
    best_settings_json = property(lambda self: self.root / "best_settings.json")
    study_json = property(lambda self: self.root / "study.json")
    study_html = property(lambda self: self.root / "study.html")
    scoring_html = property(lambda self: self.root / "scoring.html")
    study_journal = property(lambda self: self.root / "journal.log")

    @classmethod
    def for_study(cls, study_name: str) -> "RunDirectory":
        """Folder of a study, which several runs may go on with: its journal and its trials."""
        return cls(runs_folder() / "studies" / study_name)

    def trial(self, number: int) -> "RunDirectory":
        """Folder of a trial of this study, where it trains."""
        return RunDirectory(self.root / "trials" / str(number))

    @property
    def page(self) -> Path | None:
        """What a person reads about the run: its report, the page of its study or of its scoring; None before it."""
        pages = (self.report_html, self.study_html, self.scoring_html)
        return next((path for path in pages if path.exists()), None)

    def load_settings(self) -> RunSettings:
        """The run's settings, as `start_run` wrote them. Raises PipelineError when the file is damaged."""
        try:
            return RunSettings.from_params(json.loads(self.settings_json.read_text()))
        except ValueError as error:
            raise PipelineError(f"{self.settings_json} is damaged ({error}); clear start_run of this run.") from error

    @contextmanager
    def replacing(self, path: Path, *, is_scratch: bool = False) -> Iterator[Path]:
        """Yield a temporary sibling of `path` (same suffix) and rename it to `path` when the block ends well.

        The block writes a file or makes a folder there. A block that fails or is killed leaves `path` as it was;
        what a killed one left beside it is swept by the next try. is_scratch: not for object storage.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        temporary = temporary_beside(path)
        try:
            yield temporary
            with self._guarded():
                put_in_place(temporary, path)
                if self._storage and not is_scratch:
                    self._storage.push(path)
        finally:
            remove(temporary)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder of this run, if it is there."""
        with self._guarded():
            remove(path)
            if self._storage:
                self._storage.forget(path)

    def pull(self, *, folders: bool = True) -> None:
        """Take over what others have stored of this run. folders: its tables, too."""
        if self._storage:
            with self._guarded():
                self._storage.pull(self.root, folders=folders)

    def _guarded(self) -> AbstractContextManager[None]:
        return self._storage.guarding(self.root) if self._storage else nullcontext()

    def save_json(self, path: Path, record: Any) -> None:
        """Write a result dataclass (or a plain dict) as JSON. NaN becomes null."""
        from pydantic import TypeAdapter

        with self.replacing(path) as temporary:
            temporary.write_bytes(TypeAdapter(type(record)).dump_json(record, indent=2) + b"\n")

    def load_json(self, path: Path, record_type: type[T]) -> T:
        """Read back what `save_json` wrote. Raises FileNotFoundError, or PipelineError when it is another record."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(record_type).validate_json(path.read_bytes())
        except ValidationError as error:
            raise PipelineError(
                f"{path} does not hold a {record_type.__name__} ({error.error_count()} fields differ); "
                "clear the step that writes it and let it run again."
            ) from error

    @contextmanager
    def attempt(self, step: str) -> Iterator[None]:
        """Record one try of `step`: when, how long, and how it ended. The report reads it."""
        self.pull()
        earlier = self._readable_attempts(step)
        started, clock = utc_now(), time.monotonic()

        def record(status: str, seconds: float | None = None, reason: str | None = None) -> None:
            self._save_attempts(step, [*earlier, Attempt(started, status, seconds, reason)])

        record("running")
        try:
            yield
        except BaseException as error:  # Airflow's timeout is no Exception
            status = "refused" if isinstance(error, PipelineError) else "failed"
            reason = str(error) if status == "refused" else f"{type(error).__name__}: {error}"
            try:
                record(status, time.monotonic() - clock, reason)
            except OSError as unrecorded:  # the disk that the step has filled, for instance: its error tells more
                _log.warning("How this try of %s ended could not be recorded: %s", step, unrecorded)
            raise
        record("succeeded", time.monotonic() - clock)

    def record_reuse(self, step: str, *, started_at: str, seconds: float, reused_from: str) -> None:
        """Record a try of `step` that took over what the run `reused_from` had computed."""
        attempt = Attempt(started_at, "succeeded", seconds, reused_from=reused_from)
        self._save_attempts(step, [*self._readable_attempts(step), attempt])

    def attempts(self, step: str) -> list[Attempt]:
        """Every try of `step` so far, oldest first."""
        path = self._attempts_json(step)
        return [Attempt(**attempt) for attempt in json.loads(path.read_text())] if path.exists() else []

    def _readable_attempts(self, step: str) -> list[Attempt]:
        """A damaged record must not keep the step from running again, which writes it anew."""
        try:
            return self.attempts(step)
        except (ValueError, TypeError) as error:
            _log.warning("Earlier tries of %s are lost, their record is damaged: %s", step, error)
            return []

    def result_json(self, step: str) -> Path:
        """What `step` made of what, by which later runs know whether to reuse it."""
        return self.root / "keys" / f"{step}.json"

    def _attempts_json(self, step: str) -> Path:
        return self.root / "steps" / f"{step}.json"

    def _save_attempts(self, step: str, attempts: list[Attempt]) -> None:
        self.save_json(self._attempts_json(step), [dataclasses.asdict(attempt) for attempt in attempts])


def utc_now() -> str:
    """Now, as every record writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
