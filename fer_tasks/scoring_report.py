"""publish_scoring: what a scoring came to as one offline page, however far the run came."""

import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fer_tasks import score_checks, scoring_plan
from fer_tasks.errors import PipelineError
from fer_tasks.file_lock import locked
from fer_tasks.page_rendering import render
from fer_tasks.report_data_sections import setting_lines
from fer_tasks.run_directory import utc_now
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_page import (
    ImagesSection,
    ScoringPage,
    plan_section,
    read_line,
    reason_counts,
    scores_section,
)
from fer_tasks.scoring_pictures import face_galleries, refused_gallery
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_source import ImageSource
from fer_tasks.scoring_story import STEPS, judge, tell_steps

_log = logging.getLogger(__name__)

T = TypeVar("T")


def run(run_dir: ScoringDirectory) -> Path:
    """Write scoring.html and return its path."""
    with run_dir.attempt("publish_scoring"), locked(run_dir.scoring_lock):
        write(run_dir)
    scoring_html: Path = run_dir.scoring_html
    return scoring_html


@contextmanager
def updated_after(run_dir: ScoringDirectory) -> Iterator[None]:
    """Around store_scores, which runs beside publish_scoring: the page tells how the step ended."""
    try:
        yield
    finally:
        with locked(run_dir.scoring_lock):
            if run_dir.scoring_html.exists():
                write(run_dir)


def write(run_dir: ScoringDirectory) -> ScoringPage:
    """Write scoring.html. What is missing or damaged is said in the page."""
    page = build_page(run_dir)
    html = render(page, "scoring.html.j2")
    with run_dir.replacing(run_dir.scoring_html) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
    _log.info("%s. %s", page.verdict.headline, page.verdict.reason)
    _log.info("Page of the scoring: %s", run_dir.scoring_html)
    return page


def build_page(run_dir: ScoringDirectory) -> ScoringPage:
    """Everything the page says."""
    records = _Records(run_dir)
    settings = records.of_step("start_run", lambda: ScoringSettings.load(run_dir))
    plan = records.of_step("plan_scoring", lambda: scoring_plan.load(run_dir))
    is_idle = plan is not None and not plan.num_planned
    checks = None if is_idle else records.of_step("check_scores", lambda: score_checks.load(run_dir))
    steps = tell_steps(records.attempts, is_idle=is_idle)
    images = records.of_step("check_scores", lambda: _images(run_dir, plan.source)) if plan and checks else None
    is_stored = ("store_scores", "succeeded") in steps
    return ScoringPage(
        run_name=run_dir.root.name,
        written_at=utc_now(),
        is_sample=settings is not None and settings.is_sample,
        verdict=judge(steps, records.attempts, plan, checks),
        steps=steps,
        plan=plan_section(plan, checks) if plan else None,
        scores=scores_section(plan, checks) if plan and checks else None,
        images=images,
        settings=setting_lines(settings, ScoringSettings()) if settings else (),
        read_line=read_line(ScoreFolder.for_model(plan.model.registered_model).scores) if plan and is_stored else None,
        problems=tuple(records.problems),
    )


class _Records:
    """What there is of a run; `problems` says what is there and cannot be read."""

    def __init__(self, run_dir: ScoringDirectory) -> None:
        self.attempts = {step: run_dir.attempts(step) for step in STEPS}
        self.problems: list[str] = []
        self._statuses = dict(tell_steps(self.attempts, is_idle=False))

    def of_step(self, step: str, load: Callable[[], T]) -> T | None:
        """What the step left; None where the run did not come through it, or where it cannot be read."""
        status = self._statuses[step]
        if status != "succeeded" and (step, status) != ("check_scores", "refused"):
            return None
        try:
            return load()
        except (PipelineError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            if status == "succeeded" or not isinstance(error, FileNotFoundError):  # it may be refused before it judges
                self.problems.append(f"What {step} left cannot be read: {error}")
        return None


def _images(run_dir: ScoringDirectory, source: ImageSource) -> ImagesSection:
    import pyarrow.parquet as pq

    reasons = pq.read_table(run_dir.refused, columns=["reason"], partitioning=None)["reason"].to_pylist()
    return ImagesSection(face_galleries(run_dir, source), refused_gallery(run_dir, source), reason_counts(reasons))
