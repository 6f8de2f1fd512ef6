"""How far a run of fer_scoring came and what came of it, told from its steps and records."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fer_tasks.report_page import StepStatus, Verdict
from fer_tasks.report_text import grouped
from fer_tasks.run_directory import Attempt

if TYPE_CHECKING:
    from fer_tasks.score_checks import ScoreChecks
    from fer_tasks.scoring_plan import ScoringPlan

STEPS = ("start_run", "plan_scoring", "score_faces", "check_scores", "store_scores")
"""Each needs the one before it. What runs beside the page itself is not told in it."""

Steps = Sequence[tuple[str, StepStatus]]


def tell_steps(attempts: Mapping[str, Sequence[Attempt]], *, is_idle: bool) -> tuple[tuple[str, StepStatus], ...]:
    """(step, status of its last try), in the run's order. A try from before a step that it needs is none.

    is_idle: the plan holds no image, which leaves out what follows it. The page is written beside store_scores, which
    may still be running; any other step that is `running` has been killed.
    """
    told: list[tuple[str, StepStatus]] = []
    since, goes_on = "", True
    for step in STEPS:
        tries = attempts.get(step, ())
        status: StepStatus = "not reached"
        if is_idle and step in STEPS[2:]:
            status = "skipped"
        elif goes_on and tries and tries[-1].started_at >= since:
            status, since = _status(step, tries[-1]), tries[-1].started_at
        elif goes_on and step == "store_scores":
            status = "to follow"
        told.append((step, status))
        goes_on = goes_on and status == "succeeded"
    return tuple(told)


def judge(
    steps: Steps,
    attempts: Mapping[str, Sequence[Attempt]],
    plan: "ScoringPlan | None",
    checks: "ScoreChecks | None",
) -> Verdict:
    """plan, checks: None where the run did not come to them."""
    stopped = next(((step, status) for step, status in steps if status not in _GOING_WELL), None)
    if stopped is not None:
        return _stopped(*stopped, attempts)
    if plan is not None and not plan.num_planned:
        return Verdict("accepted", "Nothing new", _nothing_new(plan))
    if plan is None or checks is None:
        return Verdict("failed", "No scores", "The records of the run are missing or unreadable.")
    end = "store_scores adds" if dict(steps)["store_scores"] != "succeeded" else "They are"
    model = f"{plan.model.registered_model} version {plan.model.version}"
    told = f"{model} has scored {_images(checks.num_scored)} and refused {grouped(checks.num_refused)}."
    stored = "them to the tables of the registered model." if end == "store_scores adds" else "stored."
    return Verdict("accepted", "Scored", f"{told} {end} {stored}")


_GOING_WELL = ("succeeded", "skipped", "to follow", "running")


def _status(step: str, attempt: Attempt) -> StepStatus:
    if attempt.status == "running":
        return "running" if step == "store_scores" else "killed"
    return attempt.status  # type: ignore[return-value]


def _stopped(step: str, status: StepStatus, attempts: Mapping[str, Sequence[Attempt]]) -> Verdict:
    if status == "not reached":
        return Verdict("failed", f"Stopped before {step}", "No attempt of this step is on record.")
    reason = attempts[step][-1].reason or "Its process ended without a word: it was killed."
    if status == "refused":
        headline = "Scores refused" if step == "check_scores" else f"Refused in {step}"
        return Verdict("refused", headline, reason)
    return Verdict("failed", f"Failed in {step}", reason)


def _nothing_new(plan: "ScoringPlan") -> str:
    name = f"{plan.model.registered_model} version {plan.model.version}"
    if plan.num_found:
        return f"All {_images(plan.num_found)} were scored by {name} before."
    return f"There is no image in {plan.source.path}."


def _images(number: int) -> str:
    return f"{grouped(number)} image{'' if number == 1 else 's'}"
