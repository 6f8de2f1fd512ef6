"""What a run came to, in a few words: its data, accuracy and verdict, and what became of its model.

For the index of reports and for notifications, in processes that load nothing heavy. A runs folder outlives many
versions of the pipeline, so of each record only the fields that are told here are read.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fer_tasks.approval import Approval, told
from fer_tasks.report_page import Verdict
from fer_tasks.report_records import RunRecords
from fer_tasks.report_story import GateVerdict, judge, tell_steps
from fer_tasks.report_text import UNKNOWN
from fer_tasks.run_directory import RunDirectory, utc_now
from fer_tasks.settings import RunSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CriterionSummary:
    """The part of a line of gate.json that is told; of accuracy the values are in 0..1."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None


@dataclass(frozen=True)
class GateSummary:
    """The part of gate.json that is told."""

    passed: bool
    reason: str
    criteria: tuple[CriterionSummary, ...]
    needs_approval: bool = False

    @property
    def judged(self) -> CriterionSummary | None:
        """Accuracy with its interval and threshold; None where the model gave no number."""
        return next((line for line in self.criteria if line.metric == "accuracy" and line.value is not None), None)


@dataclass(frozen=True)
class PromotionSummary:
    """The part of promotion.json that is told. promoted_at: ISO 8601, UTC."""

    registered_model: str
    version: int
    promoted_at: str


@dataclass(frozen=True)
class RollbackNote:
    """Record rollback.json, in the folder of the run whose model was champion before a rollback.

    champion: the version that is in use since then. champion_run: the folder of its run, None where the registry does
    not tell. rolled_back_at: ISO 8601, UTC.
    """

    registered_model: str
    version: int
    champion: int
    champion_run: str | None
    rolled_back_at: str


@dataclass(frozen=True)
class RunSummary:
    """started_at: ISO 8601, UTC. gate is None where the run did not come to it, promotion where the model was not
    promoted, rollback where it was not rolled back, verdict where the records cannot be read."""

    folder: str
    started_at: str
    dataset: str
    gate: GateSummary | None
    promotion: PromotionSummary | None
    rollback: RollbackNote | None
    verdict: Verdict | None

    @property
    def is_rolled_back(self) -> bool:
        """Whether the model lost its place by a rollback after its last promotion."""
        return bool(self.promotion and self.rollback and self.rollback.rolled_back_at > self.promotion.promoted_at)


@dataclass(frozen=True)
class _Settings:
    dataset: str
    approval_timeout_hours: int = RunSettings().approval_timeout_hours


def summarise(run_dir: RunDirectory) -> RunSummary:
    """Read a run's records. What is missing or damaged is None, the start then the time of the report or now."""
    try:
        return _summary(run_dir)
    except (TypeError, ValueError, AttributeError):  # attempts that another program, or another version, wrote
        _log.warning("The records of %s cannot be read.", run_dir, exc_info=True)
    return RunSummary(run_dir.root.name, _written_at(run_dir), UNKNOWN, None, None, None, None)


def gate_verdict(run_dir: RunDirectory, *, passed: bool, reason: str, needs_approval: bool) -> GateVerdict:
    """What the gate and, where one was asked, a person said. Raises PipelineError for another approval.json."""
    if not (passed and needs_approval):
        return GateVerdict(passed, reason)
    if not run_dir.approval_json.exists():
        return GateVerdict(passed, reason, "awaited")
    approval = run_dir.load_json(run_dir.approval_json, Approval)
    hours = run_dir.load_json(run_dir.settings_json, _Settings).approval_timeout_hours
    return GateVerdict(passed, reason, "given" if approval.approved else "refused", told(approval, hours))


def _summary(run_dir: RunDirectory) -> RunSummary:
    records = RunRecords(run_dir)
    settings = records.or_gap("settings", lambda: run_dir.load_json(run_dir.settings_json, _Settings))
    gate = records.of_step("accuracy_gate", "gate", lambda: run_dir.load_json(run_dir.gate_json, GateSummary))
    starts = [attempt.started_at for attempts in records.attempts.values() for attempt in attempts]
    return RunSummary(
        folder=run_dir.root.name,
        started_at=min(starts, default=_written_at(run_dir)),
        dataset=_name(settings.dataset) if settings else UNKNOWN,
        gate=gate,
        promotion=records.or_gap("promotion", lambda: run_dir.load_json(run_dir.promotion_json, PromotionSummary)),
        rollback=records.or_gap("rollback", lambda: run_dir.load_json(run_dir.rollback_json, RollbackNote)),
        verdict=_verdict(run_dir, records, gate),
    )


def _verdict(run_dir: RunDirectory, records: RunRecords, gate: GateSummary | None) -> Verdict | None:
    if gate is None:
        return judge(tell_steps(records.attempts, None), None)
    said = records.or_gap(
        "approval",
        lambda: gate_verdict(run_dir, passed=gate.passed, reason=gate.reason, needs_approval=gate.needs_approval),
    )
    return judge(tell_steps(records.attempts, said), said) if said else None


def _written_at(run_dir: RunDirectory) -> str:
    try:
        changed = run_dir.report_html.stat().st_mtime
    except OSError:
        return utc_now()
    return datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")


def _name(dataset: str) -> str:
    """`/data/fer2013.csv` -> `fer2013.csv`."""
    return Path(dataset).name or dataset
