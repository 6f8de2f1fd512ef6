"""How far a run came and why it stopped, told from the attempts of its steps and the gate's verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fer_tasks.report_page import AttemptLine, StepLine, StepStatus, Verdict
from fer_tasks.run_directory import Attempt

STEPS = (
    "start_run",
    "ingest_dataset",
    "check_data_quality",
    "preprocess_faces",
    "train_model",
    "evaluate_model",
    "accuracy_gate",
    "explain_predictions",
    "promote_model",
    "reject_model",
)
MAIN_PATH = STEPS[:7]
"""Each of these needs the one before it; the others hang off the path."""

_DATA_STEPS = ("ingest_dataset", "check_data_quality")
_ACTING_STEPS = ("promote_model", "reject_model")


@dataclass(frozen=True)
class GateVerdict:
    """What the gate said, and a person after it. answer: the person's in words, empty while there is none."""

    passed: bool
    reason: str
    approval: Literal["not needed", "awaited", "given", "refused"] = "not needed"
    answer: str = ""

    def leads_to(self, step: str) -> bool:
        """Whether promote_model or reject_model may follow."""
        if self.passed and self.approval == "awaited":
            return True
        return (step == "promote_model") == (self.passed and self.approval != "refused")


def tell_steps(attempts: Mapping[str, Sequence[Attempt]], gate: GateVerdict | None) -> tuple[StepLine, ...]:
    """One line a step in STEPS order. The report is written beside promote_model and reject_model, so one of these
    may still be running; any other step that is `running` has been killed."""
    lines: list[StepLine] = []
    for step in STEPS:
        tries = _tries(step, attempts.get(step, ()))
        status: StepStatus = tries[-1].status if tries else "not reached"
        stopped = stopped_at([line for line in lines if line.step in _needed(step)])
        if not tries and gate is not None and step in _ACTING_STEPS:
            status = "to follow" if gate.leads_to(step) else "skipped"
        elif tries and stopped and stopped.attempts and tries[-1].started_at < stopped.attempts[-1].started_at:
            status = "outdated"
        is_eventful = len(tries) > 1 or status in ("refused", "failed", "killed")
        lines.append(StepLine(step=step, status=status, attempts=tries, is_eventful=is_eventful))
    return tuple(lines)


def stopped_at(steps: Sequence[StepLine]) -> StepLine | None:
    """The first step of the main path whose last try did not succeed; None for a run that reached its verdict."""
    return next((line for line in steps if line.step in MAIN_PATH and line.status != "succeeded"), None)


def why_missing(step: str, steps: Sequence[StepLine]) -> str | None:
    """Why no record of `step` belongs to this run's story, in words; None where one does.

    A record may lie there from an earlier try and still not belong: when the step itself, or one that it needs, was
    run again since and did not succeed.
    """
    line_of = {line.step: line for line in steps}
    for earlier in _needed(step):
        status = line_of[earlier].status
        if status != "succeeded":
            return f"Not reached: the run stopped {'before' if status == 'not reached' else 'in'} {earlier}."
    line = line_of[step]
    if line.status == "succeeded" or (line.status == "refused" and step == "check_data_quality"):
        return None
    if line.status == "not reached":
        return f"{step} has not run."
    reason = line.attempts[-1].reason
    return f"{step} {line.status}: {reason}" if reason else f"{step} was {line.status}."


def judge(steps: Sequence[StepLine], gate: GateVerdict | None) -> Verdict:
    """The verdict in words: the gate's where the run reached it, otherwise the step that stopped it and its reason."""
    stopped = stopped_at(steps)
    if stopped is not None:
        return _judge_stop(stopped)
    if gate is None:
        return Verdict("failed", "Failed in accuracy_gate", "The gate's record, gate.json, is missing or unreadable.")
    return _judge_gate(steps, gate)


def _needed(step: str) -> tuple[str, ...]:
    """The steps of the main path that `step` builds on."""
    if step in _ACTING_STEPS:
        return MAIN_PATH
    return MAIN_PATH[: MAIN_PATH.index("accuracy_gate" if step == "explain_predictions" else step)]


def _judge_stop(stopped: StepLine) -> Verdict:
    reason = stopped.attempts[-1].reason if stopped.attempts else None
    if stopped.status == "not reached":
        return Verdict("failed", f"Stopped before {stopped.step}", "No attempt of this step is on record.")
    if stopped.status == "refused" and stopped.step in _DATA_STEPS:
        return Verdict("refused", "Data refused", reason or "No reason is on record.")
    return Verdict("failed", f"Failed in {stopped.step}", reason or "Its process ended without a word: it was killed.")


def _judge_gate(steps: Sequence[StepLine], gate: GateVerdict) -> Verdict:
    if not gate.passed:
        return Verdict("rejected", "Rejected by the gate", gate.reason)
    if gate.approval == "refused":
        return Verdict("rejected", "Not approved", f"{gate.answer} The gate accepted the model: {gate.reason}")
    line_of = {line.step: line for line in steps}
    for step in ("explain_predictions", "promote_model"):
        if line_of[step].status in ("refused", "failed", "killed") and line_of["promote_model"].status != "succeeded":
            why = line_of[step].attempts[-1].reason or "no reason is on record"
            return Verdict("failed", f"Failed in {step}", f"The gate accepted the model: {gate.reason} But: {why}")
    if gate.approval == "awaited":
        return Verdict("accepted", "Accepted, waiting for approval", gate.reason)
    return Verdict("accepted", "Accepted", " ".join(filter(None, (gate.reason, gate.answer))))


def _tries(step: str, attempts: Sequence[Attempt]) -> tuple[AttemptLine, ...]:
    def status(attempt: Attempt, is_last: bool) -> StepStatus:
        if attempt.status == "running":
            return "running" if is_last and step in _ACTING_STEPS else "killed"
        return attempt.status  # type: ignore[return-value]

    return tuple(
        AttemptLine(
            status=status(attempt, attempt is attempts[-1]),
            started_at=attempt.started_at,
            seconds=attempt.seconds,
            reason=attempt.reason,
            reused_from=attempt.reused_from,
        )
        for attempt in attempts
    )
