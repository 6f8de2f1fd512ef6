"""approve_promotion: what a person is asked about a model that the gate accepted, and the record of the answer."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approval:
    """answered_by: a user of Airflow, None when the time ran out. answered_at: UTC, ISO 8601."""

    approved: bool
    answered_by: str | None
    answered_at: str


@dataclass(frozen=True)
class ApprovalRequest:
    """What the Airflow UI shows (body: Markdown), and how long an answer is waited for."""

    subject: str
    body: str
    timeout: timedelta


def request(run_dir: RunDirectory, report_link: str) -> ApprovalRequest:
    """The question about the run's model. The answer to an earlier one is forgotten.

    report_link: where Airflow shows the report, relative to its base URL, as the UI takes addresses in a request.
    """
    from fer_tasks.accuracy_gate import GateDecision

    settings, decision = run_dir.load_settings(), run_dir.load_json(run_dir.gate_json, GateDecision)
    run_dir.approval_json.unlink(missing_ok=True)
    hours = settings.approval_timeout_hours
    return ApprovalRequest(
        subject=f"Promote the model of {run_dir.root.name} to champion of {settings.registered_model}?",
        body=(
            f"The gate accepted it: {decision.reason}\n\n"
            f"[Open the report]({report_link}) (on disk: `{run_dir.report_html}`)\n\n"
            f"Without an answer within {hours} h it is rejected."
        ),
        timeout=timedelta(hours=hours),
    )


def record(run_dir: RunDirectory, *, approved: bool, answered_by: str | None) -> Approval:
    """Keep the answer; write approval.json."""
    approval = Approval(approved, answered_by, datetime.now(UTC).isoformat(timespec="seconds"))
    run_dir.save_json(run_dir.approval_json, approval)
    _log.info("%s", told(approval, run_dir.load_settings().approval_timeout_hours))
    return approval


def told(approval: Approval, timeout_hours: int) -> str:
    """The answer as a sentence."""
    if approval.answered_by is None:
        verb = "approved" if approval.approved else "rejected"
        return f"Nobody answered within {timeout_hours} h, so it was {verb}."
    return f"{approval.answered_by} {'approved' if approval.approved else 'rejected'} it."
