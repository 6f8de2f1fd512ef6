"""A short page that stands where a report would: the run has none yet, or none may be shown. Light, as the index is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fer_tasks import scoring_story
from fer_tasks.report_records import RunRecords
from fer_tasks.report_story import STEPS
from fer_tasks.run_directory import RunDirectory

RunState = Literal["queued", "running", "success", "failed"]
"""As Airflow calls the states of a run."""


@dataclass(frozen=True)
class Notice:
    """headline and text: what is the matter, what to do. steps: (step, status of its last try), in the run's order."""

    headline: str
    text: str
    steps: tuple[tuple[str, str], ...] = ()


def tell_progress(run_dir: RunDirectory, state: RunState) -> Notice:
    """How far a run without a report is."""
    return _progress(run_dir, state, STEPS, "publish_report")


def tell_scoring_progress(run_dir: RunDirectory, state: RunState) -> Notice:
    """The same of a run of fer_scoring."""
    return _progress(run_dir, state, scoring_story.STEPS, "publish_scoring")


def _progress(run_dir: RunDirectory, state: RunState, steps: Sequence[str], publisher: str) -> Notice:
    is_over = state in ("success", "failed")
    attempts = RunRecords(run_dir, steps).attempts
    statuses = [(step, attempts[step][-1].status if attempts[step] else "not reached") for step in steps]
    return Notice(
        headline="No report" if is_over else "No report yet",
        text=_text(run_dir, state, is_over, publisher),
        steps=tuple((step, "killed" if is_over and status == "running" else status) for step, status in statuses),
    )


def _text(run_dir: RunDirectory, state: RunState, is_over: bool, publisher: str) -> str:
    if state == "queued":
        return "The run waits for its turn. Reload this page to see how far it came."
    if not is_over:
        return f"The run is going on. {publisher} writes the report at its end; reload this page to look again."
    if not run_dir.root.is_dir():
        return (
            f"The run has ended ({state}), but there is no folder {run_dir.root.name} in the runs folder of Airflow's "
            "API server. Give it the FER_RUNS_FOLDER of the workers; if the folder was deleted, so was the report."
        )
    return f"The run has ended ({state}) without one. Clear its task {publisher} to have it written."
