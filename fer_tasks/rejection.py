"""reject_model: how a run ends whose model the gate, or a person, did not accept."""

import logging

from fer_tasks import report
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.approval import Approval, told
from fer_tasks.errors import ModelRejectedError
from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)


def run(run_dir: RunDirectory) -> None:
    """Raise ModelRejectedError with the reason; with on_rejection `skip`, only log it."""
    with report.updated_after(run_dir), run_dir.attempt("reject_model"):
        settings, decision = run_dir.load_settings(), run_dir.load_json(run_dir.gate_json, GateDecision)
        reason = decision.reason
        if decision.passed:
            approval = run_dir.load_json(run_dir.approval_json, Approval)
            reason = f"The gate accepted the model: {reason} {told(approval, settings.approval_timeout_hours)}"
        if settings.on_rejection == "fail":
            raise ModelRejectedError(reason)
        _log.info("Rejected, and the run ends green, as on_rejection is 'skip': %s", reason)
