"""The page of runs that were refused, killed or damaged, or that have too much to tell."""

import json
from typing import Any

import pytest
from parsed_page import publish
from reported_run import finish, write, write_gate, write_ingest, write_quality

from fer_tasks import report
from fer_tasks.errors import DataQualityError, ReportError


def test_refused_data(make_run: Any) -> None:
    run_dir = make_run()
    finish(run_dir, "start_run")
    write_ingest(run_dir)
    write_quality(run_dir, blocking=["Too many <bad> images."])
    with pytest.raises(DataQualityError), run_dir.attempt("check_data_quality"):
        raise DataQualityError("The data set was refused. Too many <bad> images.")
    page = publish(run_dir)
    assert "Data refused The data set was refused. Too many <bad> images." in page.text
    assert "check_data_quality : refused" in page.text
    assert "train_model : not reached" in page.text
    assert "Training Not reached: the run stopped in check_data_quality." in page.text
    assert "blocked Expectation few_bad." in page.text
    assert "Quarantined images (2)" in page.text


def test_killed_and_failed_training(complete: Any) -> None:
    run_dir = complete()
    tries = [
        {"started_at": "2099-01-01T00:00:00+00:00", "status": "running", "seconds": None, "reason": None},
        {
            "started_at": "2099-01-01T00:01:00+00:00",
            "status": "failed",
            "seconds": 3.0,
            "reason": "OSError: <full>",
        },
    ]
    (run_dir.root / "steps" / "train_model.json").write_text(json.dumps(tries))
    page = publish(run_dir)
    assert "Failed in train_model OSError: <full>" in page.text
    assert "2099-01-01 00:00:00 UTC: killed 2099-01-01 00:01:00 UTC: failed OSError: <full>" in page.text
    assert "evaluate_model : outdated" in page.text
    assert "Evaluation Not reached: the run stopped in train_model." in page.text
    assert "Of 6 images read" in page.text


def test_only_started(make_run: Any) -> None:
    run_dir = make_run()
    finish(run_dir, "start_run")
    run_dir.settings_json.unlink()
    page = publish(run_dir)
    assert "Stopped before ingest_dataset" in page.text
    assert f"Settings Not there: {run_dir.settings_json}." in page.text
    assert "Data quality Not reached: the run stopped before ingest_dataset." in page.text


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("settings_json", "Settings Cannot be read: "),
        ("evaluation_json", "Evaluation Cannot be read: "),
        ("history_json", "Training Cannot be read: "),
        ("explanations_json", "Explanations Cannot be read: "),
        ("explanation_maps", "Explanations Cannot be read: "),
        ("data_quality_json", "Data quality Cannot be read: "),
        ("preprocessing_json", "Preprocessing Cannot be read: "),
        ("gate_json", "Failed in accuracy_gate"),
        ("quarantine", "The quarantined images cannot be read: "),
        ("exclusions", "The images left out cannot be read: "),
        ("raw_faces", "The images left out cannot be read: "),
        ("ingestion_json", "Its SHA-256 –"),
        ("champion_comparison_json", "Against the champion Cannot be read: "),
        ("slices_json", "Weak spots Cannot be read: "),
        ("predictions", "Surest mistakes Cannot be read: "),
        ("champion_predictions", "Surest mistakes Cannot be read: "),
    ],
)
@pytest.mark.parametrize("content", [b'{"half', b"\xff\xfe\x00"])
def test_a_damaged_record_is_said_and_stops_nothing(complete: Any, record: str, words: str, content: bytes) -> None:
    run_dir = complete()
    getattr(run_dir, record).write_bytes(content)
    assert words in publish(run_dir).text


def test_every_record_empty_and_every_record_gone(complete: Any) -> None:
    run_dir = complete()
    records = [path for path in run_dir.root.iterdir() if path.is_file()]
    assert len(records) == 16
    for path in records:
        path.write_bytes(b"")
    assert "Failed in accuracy_gate" in publish(run_dir).text
    for path in records:
        path.unlink()
    assert f"Evaluation Not there: {run_dir.evaluation_json}." in publish(run_dir).text


def test_damaged_attempts_are_said(complete: Any) -> None:
    run_dir = complete()
    (run_dir.root / "steps" / "explain_predictions.json").write_text("[{")
    page = publish(run_dir)
    assert "The attempts of explain_predictions cannot be read" in page.text
    assert "Accepted" in page.text


def test_a_large_quarantine_is_cut_and_counted(complete: Any) -> None:
    run_dir = complete(num_bad=3000)
    page = publish(run_dir)
    assert "Quarantined images (3,000)" in page.text
    assert "2,976 more are not shown." in page.text
    assert run_dir.report_html.stat().st_size < 400_000


def test_a_page_over_the_limit_is_refused(complete: Any) -> None:
    run_dir = complete()
    write_gate(run_dir, passed=True)
    gate = json.loads(run_dir.gate_json.read_text())
    write(run_dir.gate_json, gate | {"reason": "x" * 3_000_000})
    with pytest.raises(ReportError, match="at most 3,000,000 are allowed"):
        report.run(run_dir)
    assert not run_dir.report_html.exists()
    assert run_dir.attempts("publish_report")[-1].status == "refused"
