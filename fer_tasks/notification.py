"""What people are told of a run that failed, that promoted its model, or that waits for their approval."""

from dataclasses import dataclass
from typing import Literal

from fer_tasks.page_rendering import render
from fer_tasks.report_page import Verdict
from fer_tasks.report_records import RunRecords
from fer_tasks.run_directory import RunDirectory
from fer_tasks.run_summary import RunSummary, summarise
from fer_tasks.visible_text import visible

Event = Literal["failure", "success", "waiting"]


@dataclass(frozen=True)
class Message:
    """subject: one line. text: plain. html: the same as a page, all texts escaped. link: where the report is."""

    event: Event
    run: str
    subject: str
    text: str
    html: str
    link: str


@dataclass(frozen=True)
class _Letter:
    headline: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    link: str


def compose(run_dir: RunDirectory, event: Event, link: str) -> Message | None:
    """The message about the event; None for a run that succeeded without a promotion, which is no news.

    link: the address of the report.
    """
    summary = summarise(run_dir)
    is_promoted = _is_promoted(run_dir, summary)
    if event == "success" and not is_promoted:
        return None
    verdict = summary.verdict or Verdict("failed", "Failed", "The records of the run cannot be read.")
    if event == "failure":
        verdict = _why_failed(run_dir, verdict)
    promotion = summary.promotion
    promoted = f"{promotion.registered_model} version {promotion.version}" if promotion and is_promoted else ""
    letter = _Letter(
        headline=f"Promoted: {promoted}" if event == "success" else verdict.headline,
        reason=verdict.reason,
        facts=(
            ("Run", summary.folder),
            ("Data set", summary.dataset),
            *((("Champion by now", promoted),) if promoted and event == "failure" else ()),
        ),
        link=link,
    )
    return Message(
        event=event,
        run=summary.folder,
        subject=_one_line(f"{letter.headline} ({summary.folder})"),
        text=_plain(letter),
        html=render(letter, "notification.html.j2"),
        link=link,
    )


def _is_promoted(run_dir: RunDirectory, summary: RunSummary) -> bool:
    tries = RunRecords(run_dir).attempts["promote_model"]
    is_accepted = summary.verdict is not None and summary.verdict.outcome == "accepted"
    return bool(summary.promotion and is_accepted and tries and tries[-1].status == "succeeded")


def _why_failed(run_dir: RunDirectory, verdict: Verdict) -> Verdict:
    """The verdict, unless the run failed for another reason than it."""
    if not run_dir.root.is_dir():
        reason = f"There is no folder {run_dir} where this was sent from, so more is only known where the run ran."
        return Verdict("failed", "Failed", reason)
    if verdict.outcome != "accepted":
        return verdict
    for step, tries in RunRecords(run_dir).attempts.items():
        if tries and tries[-1].status != "succeeded":
            why = tries[-1].reason or "Its process ended without a word: it was killed."
            return Verdict("failed", f"Failed in {step}", f"{why} The gate accepted the model: {verdict.reason}")
    return Verdict("failed", "Failed", f"No step says why; Airflow's logs do. The gate accepted it: {verdict.reason}")


def _plain(letter: _Letter) -> str:
    facts = [f"{name}: {_one_line(value)}" for name, value in letter.facts]
    return visible("\n".join([letter.headline, letter.reason, "", *facts, f"Report: {letter.link}"]))


def _one_line(text: str) -> str:
    """A line break in a subject would begin another header."""
    return visible(" ".join(text.split()))
