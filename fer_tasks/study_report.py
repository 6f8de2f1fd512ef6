"""publish_study: the study as a record and as one offline page, however far the run came."""

import logging
from pathlib import Path

from fer_tasks import retention
from fer_tasks.page_rendering import render
from fer_tasks.run_directory import RunDirectory, utc_now
from fer_tasks.study import open_study
from fer_tasks.study_page import StudyPage, build_page
from fer_tasks.study_record import StudyRecord, record_study
from fer_tasks.tuning_settings import TuningSettings

_log = logging.getLogger(__name__)


def run(run_dir: RunDirectory) -> Path:
    """Write study.json, where the run came to the study, and study.html; return the latter's path."""
    with run_dir.attempt("publish_study"):
        tuning = TuningSettings.load(run_dir) if run_dir.settings_json.exists() else None
        record = _record(run_dir, tuning)
        page = _page(run_dir, record, is_sample=tuning is not None and tuning.is_sample)
        html = render(page, "study.html.j2")
        with run_dir.replacing(run_dir.study_html) as temporary:
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
        _log.info("%s. %s", page.headline, page.reason)
        _log.info("Page of the study: %s", run_dir.study_html)
        retention.clean_after(run_dir)
    study_html: Path = run_dir.study_html
    return study_html


def _record(run_dir: RunDirectory, tuning: TuningSettings | None) -> StudyRecord | None:
    planned = run_dir.attempts("plan_trials")
    if tuning is None or not planned or planned[-1].status != "succeeded":
        return None
    record = record_study(open_study(tuning), tuning)
    run_dir.save_json(run_dir.study_json, record)
    return record


def _page(run_dir: RunDirectory, record: StudyRecord | None, *, is_sample: bool) -> StudyPage:
    steps = [path.stem for path in (run_dir.root / "steps").glob("[!.]*.json") if path.stem != "publish_study"]
    return build_page(
        record,
        {step: run_dir.attempts(step) for step in steps},
        run_name=run_dir.root.name,
        written_at=utc_now(),
        is_sample=is_sample,
    )
