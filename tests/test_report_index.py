"""The page that lists all reports: what it says of each run, and what does not stop it."""

import json
import os
import re
from pathlib import Path

import pytest
from parsed_page import Page
from published_runs import write_attempts, write_run

from fer_tasks import report_index
from fer_tasks.report_index import build_page, find_report, render_index
from fer_tasks.report_notice import tell_progress
from fer_tasks.run_directory import RunDirectory


def index(runs: Path) -> Page:
    return Page(render_index(runs))


def rows(page: Page) -> list[str]:
    return re.findall(r"2026-01-\d\d 00:00:00 UTC .*?(?= 2026-01-|$)", page.text.partition("Verdict ")[2])


def test_runs_stand_newest_first_with_their_verdicts(tmp_path):
    write_run(tmp_path, "manual__a", day=1, accuracy=0.6512, version=1)
    write_run(tmp_path, "manual__b", day=3, accuracy=0.55, passed=False)
    write_run(tmp_path, "manual__c", day=2, accuracy=0.7034, version=2)
    page = index(tmp_path)
    assert rows(page)[:2] == [
        "2026-01-03 00:00:00 UTC manual__b fer2013.csv 55.0% 53.0% to 57.0% Rejected by the gate",
        "2026-01-02 00:00:00 UTC manual__c champion fer2013.csv 70.3% 68.3% to 72.3% Accepted",
    ]
    assert "2026-01-01 00:00:00 UTC manual__a fer2013.csv 65.1% 63.1% to 67.1% Accepted" in page.text
    assert "3 runs have a report." in page.text
    assert "Champion of fer-classifier version 2, run manual__c, since 2026-01-02 09:00:00 UTC Runs" in page.text
    links = [link["href"] for link in page.all("a")]
    assert links == ["manual__b/report.html", "manual__c/report.html", "manual__a/report.html"]
    assert all((tmp_path / link).is_file() for link in links)


def test_the_trend_keeps_to_the_data_set_of_the_newest_model(tmp_path):
    for day, dataset in enumerate(("sample", "/a/fer2013.csv", "/b/fer2013.csv", "sample", "/c/fer2013.csv"), start=1):
        write_run(tmp_path, f"run-{day}", day=day, accuracy=0.6 + day / 100, dataset=dataset, version=day % 3)
    trend = build_page(tmp_path).trend
    assert trend is not None
    assert trend.title == "Test accuracy on fer2013.csv"
    assert trend.description == "Accuracy of 3 runs on fer2013.csv; 65.0% in the newest."
    thresholds, accuracies = (series.points for series in trend.series)
    assert [x for x, _ in accuracies] == [46.0, 256.0, 466.0]
    assert len({y for _, y in thresholds}) == 1
    assert [y for _, y in accuracies] == sorted((y for _, y in accuracies), reverse=True)
    assert [(marker.at, marker.text) for marker in trend.markers] == [(466.0, "champion")]
    assert build_page(tmp_path / "run-1").trend is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (None, "Accepted, waiting for approval"),
        ({"approved": True, "answered_by": "ada", "answered_at": "2026-01-01T10:00:00+00:00"}, "Accepted"),
        ({"approved": False, "answered_by": "ada", "answered_at": "2026-01-01T10:00:00+00:00"}, "Not approved"),
        ({"approved": "who knows"}, "its records cannot be read"),
    ],
)
def test_a_persons_answer_is_part_of_the_verdict(tmp_path, answer, verdict):
    run_dir = write_run(tmp_path, "asked")
    gate = json.loads(run_dir.gate_json.read_text()) | {"needs_approval": True}
    run_dir.gate_json.write_text(json.dumps(gate))
    if answer:
        run_dir.approval_json.write_text(json.dumps(answer))
    assert rows(index(tmp_path))[0].startswith(
        f"2026-01-01 00:00:00 UTC asked fer2013.csv 70.0% 68.0% to 72.0% {verdict} One file"
    )


def roll_back(runs: Path, folder: str, *, version: int, to: int, run: str | None, day: int) -> None:
    note = {"registered_model": "fer-classifier", "version": version, "champion": to, "champion_run": run}
    note["rolled_back_at"] = f"2026-01-{day:02}T12:00:00.000000+00:00"
    (runs / folder / "rollback.json").write_text(json.dumps(note))


def tags(page: Page) -> list[tuple[str, str]]:
    return re.findall(r"UTC (run-\d) (champion|rolled back)", page.text)


def test_after_a_rollback_the_one_before_is_champion_until_the_next_promotion(tmp_path):
    for day in (1, 2, 3):
        write_run(tmp_path, f"run-{day}", day=day, version=day)
    roll_back(tmp_path, "run-3", version=3, to=2, run="run-2", day=4)
    page = index(tmp_path)
    assert tags(page) == [("run-3", "rolled back"), ("run-2", "champion")]
    assert "version 2, run run-2, since 2026-01-04 12:00:00 UTC by a rollback" in page.text
    assert [marker.at for marker in build_page(tmp_path).trend.markers] == [256.0]
    roll_back(tmp_path, "run-2", version=2, to=1, run=None, day=5)
    page = index(tmp_path)
    assert tags(page) == [("run-3", "rolled back"), ("run-2", "rolled back")]
    assert "Champion of fer-classifier version 1, since 2026-01-05 12:00:00 UTC by a rollback" in page.text
    write_run(tmp_path, "run-6", day=6, version=4)
    assert tags(index(tmp_path))[0] == ("run-6", "champion")


def test_what_was_rolled_back_and_promoted_again_is_champion(tmp_path):
    write_run(tmp_path, "run-1", day=1, version=1)
    write_run(tmp_path, "run-2", day=5, version=2)
    roll_back(tmp_path, "run-2", version=2, to=1, run="run-1", day=4)
    assert tags(index(tmp_path)) == [("run-2", "champion")]


def test_a_run_that_stopped_before_the_gate(tmp_path):
    run_dir = write_run(tmp_path, "refused")
    write_attempts(
        run_dir,
        "check_data_quality",
        {"started_at": "2026-01-01T05:30:00+00:00", "status": "refused", "seconds": 1.0, "reason": "Too many."},
    )
    run_dir.gate_json.unlink()
    assert rows(index(tmp_path)) == ["2026-01-01 00:00:00 UTC refused fer2013.csv – – Data refused One file without "
                                     "scripts; it loads nothing from anywhere."]  # fmt: skip


def test_foreign_and_half_made_folders_are_left_out(tmp_path):
    write_run(tmp_path / "elsewhere", "outside")
    runs = tmp_path / "runs"
    write_run(runs, "good")
    write_run(runs, "half-made").report_html.unlink()
    write_run(runs, ".hidden")
    write_run(runs, "a name with blanks")
    (runs / "linked").symlink_to(tmp_path / "elsewhere" / "outside")
    (runs / "studies").mkdir()
    (runs / "report.html").write_text("a file")
    (runs / "foreign").mkdir()
    (runs / "foreign" / "report.html").write_text("of another program")
    os.mkfifo(runs / "foreign" / "pipe")
    assert [line.folder for line in build_page(runs).lines] == ["good"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"[1]", b'[{"started_at": 1}]', b'[{"other": 1}]'])
@pytest.mark.parametrize(
    "record", ["settings.json", "gate.json", "promotion.json", "rollback.json", "steps/accuracy_gate.json"]
)
def test_damaged_records_stop_nothing(tmp_path, record, content):
    write_run(tmp_path, "good", day=2)
    (write_run(tmp_path, "bad", day=1).root / record).write_bytes(content)
    assert sorted(link["href"] for link in index(tmp_path).all("a")) == ["bad/report.html", "good/report.html"]


def test_texts_from_outside_stay_text(tmp_path):
    run_dir = write_run(tmp_path, "run", dataset="<script>alert(1)</script>.csv", version=3)
    promotion = json.loads(run_dir.promotion_json.read_text()) | {"registered_model": "<b>bold</b>"}
    run_dir.promotion_json.write_text(json.dumps(promotion))
    page = index(tmp_path)
    assert not page.all("script")
    assert "Champion of <b>bold</b>" in page.text


def test_one_offline_file_readable_without_eyes(tmp_path):
    write_run(tmp_path, "a", day=1)
    write_run(tmp_path, "b", day=2)
    page = index(tmp_path)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all("aria-hidden" in svg or svg.get("aria-label") for svg in page.all("svg"))
    assert all(cell.get("scope") in {"col", "row"} for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_an_empty_and_a_missing_folder_have_an_index_too(tmp_path):
    assert "No run has a report yet." in index(tmp_path).text
    assert "No run has a report yet." in index(tmp_path / "missing").text


def test_the_index_is_written_whole_beside_the_runs(tmp_path):
    write_run(tmp_path, "a")
    report_index.publish(tmp_path)
    assert 'href="a/report.html"' in (tmp_path / "index.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".index.lock", "a", "index.html"]


def test_an_index_that_cannot_be_written_is_logged_and_fails_nothing(tmp_path, caplog):
    (tmp_path / "runs").touch()  # no folder
    report_index.publish(tmp_path / "runs")
    assert "could not be written" in caplog.text


def test_most_runs_are_listed_and_the_others_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(report_index, "_MOST_LINES", 2)
    for day in (1, 2, 3):
        write_run(tmp_path, f"run-{day}", day=day)
    page = index(tmp_path)
    assert "3 runs have a report." in page.text
    assert "1 older runs are not listed" in page.text
    assert [link["href"] for link in page.all("a")] == ["run-3/report.html", "run-2/report.html"]


@pytest.mark.parametrize("folder", ["", ".", "..", "../x/good", "good/../good", "good\n", "good\0", "%2e%2e", "góod"])
def test_a_name_that_is_no_folder_of_a_run_has_no_report(tmp_path, folder):
    write_run(tmp_path, "good")
    assert find_report(tmp_path, "good") == tmp_path / "good" / "report.html"
    assert find_report(tmp_path, folder) is None


def test_the_runs_folder_itself_may_be_a_link(tmp_path):
    write_run(tmp_path / "disk", "good")
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert find_report(tmp_path / "runs", "good") == tmp_path / "disk" / "good" / "report.html"


@pytest.mark.parametrize(
    ("state", "headline", "words", "last"),
    [
        ("queued", "No report yet", "waits for its turn", "running"),
        ("running", "No report yet", "publish_report writes the report at its end", "running"),
        ("failed", "No report", "Clear its task publish_report", "killed"),
    ],
)
def test_a_run_without_a_report_tells_how_far_it_is(tmp_path, state, headline, words, last):
    run_dir = RunDirectory(tmp_path / "run")
    (run_dir.root / "steps").mkdir(parents=True)
    write_attempts(run_dir, "start_run", {"started_at": "2026-01-01T00:00:00+00:00", "status": "succeeded"})
    write_attempts(run_dir, "ingest_dataset", {"started_at": "2026-01-01T00:01:00+00:00"})
    notice = tell_progress(run_dir, state)
    assert notice.headline == headline
    assert words in notice.text
    assert notice.steps[:3] == (
        ("start_run", "succeeded"),
        ("ingest_dataset", last),
        ("check_data_quality", "not reached"),
    )


def test_a_run_that_ended_elsewhere_says_what_to_set(tmp_path):
    assert "FER_RUNS_FOLDER" in tell_progress(RunDirectory(tmp_path / "run"), "success").text
