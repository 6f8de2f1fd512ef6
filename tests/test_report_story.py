"""How far a run came, from attempts to words."""

import pytest

from fer_tasks.report_story import MAIN_PATH, STEPS, GateVerdict, judge, tell_steps, why_missing
from fer_tasks.run_directory import Attempt

ACCEPTED = GateVerdict(True, "0.70 reaches 0.60.")
REJECTED = GateVerdict(False, "0.50 is below 0.60.")


def attempt(status: str, minute: int = 0, reason: str | None = None) -> Attempt:
    seconds = None if status == "running" else 1.0
    return Attempt(f"2026-01-01T00:{minute:02d}:00+00:00", status, seconds, reason)


def attempts_up_to(step: str, **changes: list[Attempt]) -> dict[str, list[Attempt]]:
    done = STEPS[: STEPS.index(step) + 1]
    return {name: [attempt("succeeded", minute)] for minute, name in enumerate(done)} | changes


def status_of(steps: object) -> dict[str, str]:
    return {line.step: line.status for line in steps}


def test_accepted_and_rejected() -> None:
    attempts = attempts_up_to("explain_predictions")
    steps = tell_steps(attempts, ACCEPTED)
    assert status_of(steps)["promote_model"] == "to follow"
    assert status_of(steps)["reject_model"] == "skipped"
    verdict = judge(steps, ACCEPTED)
    assert (verdict.outcome, verdict.headline, verdict.reason) == ("accepted", "Accepted", "0.70 reaches 0.60.")
    steps = tell_steps(attempts, REJECTED)
    assert status_of(steps)["promote_model"] == "skipped"
    assert status_of(steps)["reject_model"] == "to follow"
    verdict = judge(steps, REJECTED)
    assert (verdict.outcome, verdict.headline) == ("rejected", "Rejected by the gate")


def test_a_promotion_beside_the_report_is_running_and_a_failed_one_is_said() -> None:
    attempts = attempts_up_to("explain_predictions", promote_model=[attempt("running", 9)])
    steps = tell_steps(attempts, ACCEPTED)
    assert status_of(steps)["promote_model"] == "running"
    assert judge(steps, ACCEPTED).headline == "Accepted"
    attempts["promote_model"] = [attempt("refused", 9, "The registry is locked.")]
    verdict = judge(tell_steps(attempts, ACCEPTED), ACCEPTED)
    assert (verdict.outcome, verdict.headline) == ("failed", "Failed in promote_model")
    assert verdict.reason == "The gate accepted the model: 0.70 reaches 0.60. But: The registry is locked."


@pytest.mark.parametrize("approval", ["not needed", "awaited"])
def test_an_accepted_model_that_was_not_explained_is_not_promoted_and_the_verdict_says_so(approval: str) -> None:
    attempts = attempts_up_to("explain_predictions", explain_predictions=[attempt("failed", 8, "MemoryError: ")])
    accepted = GateVerdict(True, "0.70 reaches 0.60.", approval)  # type: ignore[arg-type]
    steps = tell_steps(attempts, accepted)
    verdict = judge(steps, accepted)
    assert (verdict.outcome, verdict.headline) == ("failed", "Failed in explain_predictions")
    assert verdict.reason == "The gate accepted the model: 0.70 reaches 0.60. But: MemoryError: "
    assert judge(steps, REJECTED).headline == "Rejected by the gate"
    assert why_missing("explain_predictions", steps) == "explain_predictions failed: MemoryError: "


@pytest.mark.parametrize(
    ("step", "status", "outcome", "headline"),
    [
        ("start_run", "refused", "failed", "Failed in start_run"),
        ("ingest_dataset", "refused", "refused", "Data refused"),
        ("ingest_dataset", "failed", "failed", "Failed in ingest_dataset"),
        ("check_data_quality", "refused", "refused", "Data refused"),
        ("check_data_quality", "failed", "failed", "Failed in check_data_quality"),
        ("train_model", "refused", "failed", "Failed in train_model"),
        ("accuracy_gate", "failed", "failed", "Failed in accuracy_gate"),
    ],
)
def test_the_step_that_stopped_the_run_gives_the_verdict(step: str, status: str, outcome: str, headline: str) -> None:
    steps = tell_steps(attempts_up_to(step, **{step: [attempt(status, 30, "Because.")]}), None)
    verdict = judge(steps, None)
    assert (verdict.outcome, verdict.headline, verdict.reason) == (outcome, headline, "Because.")


def test_a_step_without_end_has_been_killed() -> None:
    steps = tell_steps(attempts_up_to("train_model", train_model=[attempt("running", 30)]), None)
    assert status_of(steps)["train_model"] == "killed"
    assert judge(steps, None).reason == "Its process ended without a word: it was killed."


def test_a_killed_try_and_its_retry_are_both_told() -> None:
    tries = [attempt("running", 30), attempt("succeeded", 31)]
    line = {line.step: line for line in tell_steps(attempts_up_to("train_model", train_model=tries), None)}[
        "train_model"
    ]
    assert line.status == "succeeded"
    assert [one.status for one in line.attempts] == ["killed", "succeeded"]
    assert line.is_eventful


def test_nothing_on_record() -> None:
    steps = tell_steps({}, None)
    assert set(status_of(steps).values()) == {"not reached"}
    assert judge(steps, None).headline == "Stopped before start_run"


def test_a_gate_without_a_record_is_no_acceptance() -> None:
    verdict = judge(tell_steps(attempts_up_to("accuracy_gate"), None), None)
    assert (verdict.outcome, verdict.headline) == ("failed", "Failed in accuracy_gate")


def test_records_behind_a_step_that_was_run_again_and_failed_do_not_count() -> None:
    tries = [attempt("succeeded", 4), attempt("failed", 40, "OSError: disk full")]
    steps = tell_steps(attempts_up_to("explain_predictions", train_model=tries), ACCEPTED)
    assert judge(steps, ACCEPTED).headline == "Failed in train_model"
    assert status_of(steps)["evaluate_model"] == "outdated"
    assert why_missing("evaluate_model", steps) == "Not reached: the run stopped in train_model."
    assert why_missing("explain_predictions", steps) == "Not reached: the run stopped in train_model."
    assert why_missing("train_model", steps) == "train_model failed: OSError: disk full"
    assert why_missing("preprocess_faces", steps) is None


def test_the_record_of_refused_data_is_shown() -> None:
    refused = [attempt("refused", 30, "Too many.")]
    steps = tell_steps(attempts_up_to("check_data_quality", check_data_quality=refused), None)
    assert why_missing("check_data_quality", steps) is None
    assert why_missing("preprocess_faces", steps) == "Not reached: the run stopped in check_data_quality."


def test_the_explanations_do_not_need_the_gate() -> None:
    steps = tell_steps(attempts_up_to("explain_predictions", accuracy_gate=[attempt("failed", 30, "x")]), None)
    assert why_missing("explain_predictions", steps) is None
    assert MAIN_PATH[-1] == "accuracy_gate"
