"""accuracy_gate decides whether a measured model is good enough; reject_model is how a run ends when it is not."""

import logging
from dataclasses import dataclass

from fer_tasks.errors import ModelRejectedError
from fer_tasks.evaluation import Evaluation
from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateDecision:
    """The verdict, and what it was based on; shares are in [0, 1]. reason: a sentence for people."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    min_accuracy: float
    passed: bool
    reason: str


def decide(*, accuracy: float, accuracy_low: float, accuracy_high: float, min_accuracy: float) -> GateDecision:
    """Pass when the test accuracy reaches min_accuracy; equality passes, NaN never does.

    The 95% interval (low, high) is said and decides nothing.
    """
    passed = accuracy >= min_accuracy
    digits = _digits_that_tell_apart(accuracy, min_accuracy)
    got, low, high, asked = (f"{share:.{digits}%}" for share in (accuracy, accuracy_low, accuracy_high, min_accuracy))
    if accuracy != accuracy:
        reason = f"The test accuracy is not a number, so it cannot reach the minimum of {asked}."
    else:
        verb = "reaches" if passed else "is below"
        reason = f"The test accuracy of {got} (95% interval {low} to {high}) {verb} the minimum of {asked}."
    return GateDecision(accuracy, accuracy_low, accuracy_high, min_accuracy, passed, reason)


def run(run_dir: RunDirectory) -> GateDecision:
    """Judge the run's evaluation; write gate.json."""
    with run_dir.attempt("accuracy_gate"):
        settings = run_dir.load_settings()
        evaluation = run_dir.load_json(run_dir.evaluation_json, Evaluation)
        decision = decide(
            accuracy=evaluation.accuracy,
            accuracy_low=evaluation.accuracy_low,
            accuracy_high=evaluation.accuracy_high,
            min_accuracy=settings.min_accuracy,
        )
        run_dir.save_json(run_dir.gate_json, decision)
        _log.info("%s: %s", "Accepted" if decision.passed else "Rejected", decision.reason)
    return decision


def reject(run_dir: RunDirectory) -> None:
    """The task reject_model. Raises ModelRejectedError with the gate's reason."""
    with run_dir.attempt("reject_model"):
        raise ModelRejectedError(run_dir.load_json(run_dir.gate_json, GateDecision).reason)


def _digits_that_tell_apart(one: float, other: float) -> int:
    """Fewest decimals of a percentage, at least 1, with which two different shares do not look alike."""
    for digits in range(1, 16):
        if one == other or f"{one:.{digits}%}" != f"{other:.{digits}%}":
            return digits
    return 16
