"""The page of a scoring: what it says of runs that ended in every way, from their records alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scored_run import MODEL, passed, planned, profile, score, write_run, write_table

from fer_tasks import scoring_plan, scoring_report
from fer_tasks.drift import Drift
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DataQualityError, RegistryError
from fer_tasks.expectation_outcome import ExpectationOutcome
from fer_tasks.face_rows import FaceRow
from fer_tasks.image_decoding import DecodedImage
from fer_tasks.run_directory import Attempt
from fer_tasks.score_checks import FormerBatch
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_story import STEPS, tell_steps

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A run of three images, one of them refused, that came through its checks."""
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path / "runs"))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (48, 48), np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(inbox / name)
    (inbox / "c.png").write_bytes(b"no image")
    face = FaceRow(0, "", None, None, DecodedImage(pixels, 1)).image_id
    scores = [
        score(f"{inbox}/a.png", "happy", 0.9, image_id=face),
        score(f"{inbox}/b.png", "sad", 0.4, image_id="of another image"),
    ]
    run = ScoringDirectory.for_run_id("run")
    write_run(run, scores, {f"{inbox}/c.png": HOSTILE}, root=inbox)
    names = (b"a.png", b"b.png", b"c.png")
    rows = [planned(number, f"{inbox}/{name.decode()}", "v1") | {"member": name} for number, name in enumerate(names)]
    write_table(run.plan, rows)
    run.save_json(run.checks_json, checks())
    for step in STEPS[:4]:
        with run.attempt(step):
            pass
    return run


def checks(**changed):
    outcome = ExpectationOutcome("counts_add_up", "Every image.", "times_answered", "block", True, "0 of 3 images", 0)
    drift = Drift("predicted", 0.5, 0.1, "large", now=(0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0), then=(1 / 7,) * 7)
    values = {
        "emotions": (0, 0, 0, 1, 1, 0, 0),
        "mean_probabilities": (0.02, 0.03, 0.05, 0.45, 0.35, 0.06, 0.04),
        "mean_confidence": 0.65,
        "batch_drift": (drift,),
        "former": FormerBatch("former", 2, "2026-11-24", 1234),
        "expectations": (outcome,),
    }
    return replace(passed(2, 1), **{**values, **changed})


def page(run_dir):
    """(the page, its HTML)."""
    built = scoring_report.write(run_dir)
    return built, run_dir.scoring_html.read_text()


def with_plan(run_dir, **changed):
    run_dir.save_json(run_dir.plan_json, replace(scoring_plan.load(run_dir), **changed))


def test_it_tells_what_was_scored_and_refused_and_what_comes_next(run_dir):
    built, html = page(run_dir)
    assert (built.verdict.outcome, built.verdict.headline) == ("accepted", "Scored")
    assert built.verdict.reason == (
        "m version 3 has scored 2 images and refused 1. store_scores adds them to the tables of the registered model."
    )
    assert built.steps == (*((step, "succeeded") for step in STEPS[:4]), ("store_scores", "to follow"))
    assert [(row.emotion, row.num_images, row.share, row.usual) for row in built.scores.emotions][3] == (
        "happy", 1, 0.5, None,
    )  # fmt: skip
    assert built.plan.counts == (
        ("Images found", "3"),
        ("Scored before", "0"),
        ("New", "3"),
        ("Scored", "2"),
        ("Refused", "1"),
    )
    assert "Its mean confidence is 65.0%." in html
    assert "The last batch is of 2026-11-24: 1,234 images, by version 2. Since then these have moved" in html
    assert "looked like is not on record" in html
    assert built.read_line is None
    assert "pandas.read_parquet" not in html


def test_pictures_stand_only_where_the_file_is_still_the_image_that_was_scored(run_dir):
    built, _ = page(run_dir)
    surest, unsure = built.images.faces
    assert [thumbnail.reason for thumbnail in surest.shown] == ["happy 90.0%", "sad 40.0%"]
    assert [thumbnail.reason for thumbnail in unsure.shown] == ["sad 40.0%", "happy 90.0%"]
    assert [thumbnail.lines for thumbnail in surest.shown] == [("a.png",), ("b.png",)]
    assert surest.shown[0].picture.startswith("data:image/png;base64,")
    assert (surest.shown[1].picture, surest.shown[1].size) == (None, "changed since it was scored")
    [refused] = built.images.refused
    assert (refused.total, refused.shown[0].picture, refused.shown[0].size) == (1, None, "not decoded")


def test_what_the_images_bring_along_is_escaped(run_dir):
    with_plan(run_dir, num_ignored=1, ignored_examples=("<img src=x>",))
    _, html = page(run_dir)
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "1 other file there is no image by the name, such as &lt;img src=x&gt;." in html


def test_the_champion_s_own_predictions_stand_beside(run_dir):
    with_plan(run_dir, model=replace(MODEL, profile=profile((1, 1, 1, 4, 1, 1, 1))))
    built, _ = page(run_dir)
    assert [row.usual for row in built.scores.emotions] == [0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1]
    assert built.scores.drift[0].told.startswith("Neither the data nor the predictions have moved")


def test_store_scores_has_the_page_tell_how_it_ended(run_dir):
    page(run_dir)
    with scoring_report.updated_after(run_dir), run_dir.attempt("store_scores"):
        pass
    html = run_dir.scoring_html.read_text()
    assert "They are stored." in html
    assert "/scored/m/scores.parquet" in html
    run_dir.scoring_html.unlink()
    with scoring_report.updated_after(run_dir):
        pass
    assert not run_dir.scoring_html.exists()  # publish_scoring has yet to write it


def test_refused_scores_are_told_with_the_reason_and_shown_all_the_same(run_dir):
    run_dir.save_json(run_dir.checks_json, checks(passed=False, blocking=("Too dark.",)))
    with pytest.raises(DataQualityError), run_dir.attempt("check_scores"):
        raise DataQualityError("The scores were refused. Too dark.")
    built, html = page(run_dir)
    assert (built.verdict.outcome, built.verdict.headline) == ("refused", "Scores refused")
    assert "Too dark." in html
    assert len(built.images.faces) == 2
    assert built.steps[-1] == ("store_scores", "not reached")


def test_a_run_with_nothing_new_says_so(run_dir):
    with_plan(run_dir, num_found=1234, num_known=1234, num_planned=0)
    built, _ = page(run_dir)
    assert (built.verdict.outcome, built.verdict.headline) == ("accepted", "Nothing new")
    assert built.verdict.reason == "All 1,234 images were scored by m version 3 before."
    assert built.steps[2:] == (("score_faces", "skipped"), ("check_scores", "skipped"), ("store_scores", "skipped"))
    assert (built.scores, built.images) == (None, None)
    with_plan(run_dir, num_found=0, num_known=0, num_planned=0)
    assert page(run_dir)[0].verdict.reason.startswith("There is no image in /")


def test_a_run_without_a_champion_tells_why(tmp_path):
    run_dir = ScoringDirectory(tmp_path / "run")
    with run_dir.attempt("start_run"):
        ScoringSettings().save(run_dir)
    with pytest.raises(RegistryError), run_dir.attempt("plan_scoring"):
        raise RegistryError(f"no champion {HOSTILE}")
    built, html = page(run_dir)
    assert (built.verdict.outcome, built.verdict.headline) == ("refused", "Refused in plan_scoring")
    assert "no champion &lt;script&gt;" in html
    assert "These faces are drawn by the program." in html
    assert (built.plan, built.scores, built.problems) == (None, None, ())


def test_a_run_that_never_began_has_a_page_too(tmp_path):
    built, _ = page(ScoringDirectory(tmp_path / "run"))
    assert (built.verdict.outcome, built.verdict.headline) == ("failed", "Stopped before start_run")


def test_damaged_records_are_named_and_the_rest_is_shown(run_dir):
    run_dir.checks_json.write_text("{}")
    built, html = page(run_dir)
    assert built.scores is None
    assert built.verdict.headline == "No scores"
    assert "What check_scores left cannot be read: " in html
    assert built.plan.counts[0] == ("Images found", "3")
    run_dir.save_json(run_dir.checks_json, checks())
    (run_dir.scores / "part-0.parquet").write_bytes(b"x")
    built, _ = page(run_dir)
    assert built.images is None
    assert built.scores.num_scored == 2
    assert len(built.problems) == 1


def test_a_try_from_before_a_step_that_ran_again_is_none():
    def tries(*times):
        return [Attempt(f"2026-11-25T{time}:00+00:00", "succeeded") for time in times]

    attempts = {step: tries("10:00") for step in STEPS} | {"plan_scoring": tries("10:00", "11:00")}
    assert [status for _, status in tell_steps(attempts, is_idle=False)] == [
        "succeeded", "succeeded", "not reached", "not reached", "not reached",
    ]  # fmt: skip
    attempts = {"start_run": tries("10:00"), "plan_scoring": [Attempt("2026-11-25T10:01:00+00:00")]}
    assert tell_steps(attempts, is_idle=False)[1] == ("plan_scoring", "killed")
    attempts = {step: tries("10:00") for step in STEPS} | {"store_scores": [Attempt("2026-11-25T10:01:00+00:00")]}
    assert tell_steps(attempts, is_idle=False)[-1] == ("store_scores", "running")


def test_the_surest_are_two_of_each_emotion_and_the_least_sure_twelve(run_dir):
    inbox = Path(scoring_plan.load(run_dir).source.path)
    scores = [score(f"{inbox}/a.png", EMOTIONS[number % 7], 0.3 + number / 100) for number in range(35)]
    model = scoring_plan.load(run_dir).model
    write_run(run_dir, scores, {}, root=inbox, model=model)
    run_dir.save_json(run_dir.checks_json, checks())
    surest, unsure = page(run_dir)[0].images.faces
    assert [thumbnail.reason for thumbnail in surest.shown[:3]] == ["angry 58.0%", "angry 51.0%", "disgust 59.0%"]
    assert (len(surest.shown), len(unsure.shown)) == (14, 12)
    assert [thumbnail.reason for thumbnail in unsure.shown[:2]] == ["angry 30.0%", "disgust 31.0%"]
    assert len(pq.read_table(run_dir.scores)) == 35
