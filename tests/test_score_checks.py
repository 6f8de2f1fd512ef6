"""check_scores on tiny tables, with the real Great Expectations."""

import json

import pytest
from scored_run import MODEL, profile, score, write_run

from fer_tasks import score_checks, store_scores
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DataQualityError
from fer_tasks.score_checks import profile_of
from fer_tasks.score_table import score_table
from fer_tasks.scored_model import ScoredModel
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings

GOOD = [score("a", "happy", 0.9), score("b", "happy", 0.7), score("c", "sad", 0.5)]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))


def check(scores, refused=(), **more):
    """(the run's folder, why the scores were refused or None)."""
    run_dir = write_run(ScoringDirectory.for_run_id("now"), list(scores), dict(refused), **more)
    try:
        score_checks.run(run_dir)
    except DataQualityError as error:
        return run_dir, str(error)
    return run_dir, None


def failed(run_dir):
    outcomes = json.loads(run_dir.checks_json.read_text())["expectations"]
    return [outcome["name"] for outcome in outcomes if not outcome["passed"]]


def settings(**values):
    return ScoringSettings.from_params({"images": "/data/inbox", "max_refused_share": 1.0, **values})


def test_sound_scores_pass_and_their_numbers_are_told():
    run_dir, refusal = check(GOOD, {"d": "empty"}, settings=settings())
    assert refusal is None
    checks = score_checks.load(run_dir)
    assert (checks.passed, checks.blocking, checks.num_scored, checks.num_refused) == (True, (), 3, 1)
    assert checks.emotions == (0, 0, 0, 2, 1, 0, 0)
    assert checks.mean_confidence == pytest.approx(0.7)
    happy, sad, other = (0.9 + 0.7 + 0.5 / 6) / 3, (0.1 / 6 + 0.3 / 6 + 0.5) / 3, (0.1 + 0.3 + 0.5) / 18
    assert checks.mean_probabilities == pytest.approx([other, other, other, happy, sad, other, other])
    assert (checks.training_drift, checks.batch_drift, checks.former) == ((), (), None)
    assert len(checks.expectations) == 8


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ({"probability_fear": 1.2}, ["emotion_is_likeliest", "probability_most", "probability_sum"]),
        ({"probability_fear": -0.2}, ["probability_least", "probability_sum"]),
        ({"probability_fear": 0.06}, ["probability_sum"]),
        ({"emotion": "sad"}, ["emotion_is_likeliest"]),
        ({"emotion": "cheerful"}, ["emotion_is_likeliest", "emotion_known"]),
        ({"emotion": None}, ["emotion_is_likeliest", "nothing_missing"]),
        ({"image_id": None}, ["nothing_missing"]),
        ({"confidence": 0.8}, ["emotion_is_likeliest"]),
        ({f"probability_{emotion}": float("nan") for emotion in EMOTIONS}, ["emotion_is_likeliest", "nothing_missing"]),
    ],
    ids=str,
)
def test_an_answer_that_no_sound_model_gives_refuses_the_batch(broken, names):
    run_dir, refusal = check([*GOOD, score("e", "happy") | broken])
    assert sorted(set(failed(run_dir))) == names
    assert refusal.startswith("The scores were refused. ")
    assert "1 of" in refusal
    assert "roll the champion back" in refusal
    assert run_dir.attempts("check_scores")[-1].status == "refused"


def test_an_image_without_an_answer_with_two_or_unasked_for_refuses_the_batch():
    planned = write_run(ScoringDirectory.for_run_id("plan"), [*GOOD, score("e", "fear")], {"f": "empty"})
    for scores, refused in (
        (GOOD, {"f": "empty"}),
        ([*GOOD, score("e", "fear"), score("e", "fear")], {"f": "empty"}),
        ([*GOOD, score("e", "fear"), score("f", "fear")], {"f": "empty"}),
        ([*GOOD, score("e", "fear"), score("g", "fear")], {"f": "empty"}),
    ):
        run_dir = write_run(ScoringDirectory.for_run_id("now"), scores, refused, settings=settings())
        run_dir.plan.write_bytes(planned.plan.read_bytes())
        with pytest.raises(DataQualityError, match="Every planned image, and no other, was scored or refused, once"):
            score_checks.run(run_dir)
        assert failed(run_dir) == ["counts_add_up"]


def test_too_many_refused_images_refuse_the_batch_and_equality_passes():
    half = {"images": "/data/inbox", "max_refused_share": 0.5}
    refused = {"x": "empty", "y": "empty", "z": "too small"}
    _, refusal = check(GOOD, refused, settings=ScoringSettings(**half))
    assert refusal is None
    run_dir, refusal = check(GOOD[:2], refused, settings=ScoringSettings(**half))
    assert failed(run_dir) == ["refused_share"]
    assert "Found: 3 of 5 images (60.00%)" in refusal
    _, refusal = check([], refused, settings=settings())
    assert refusal is None


def test_a_champion_that_is_unsure_refuses_the_batch_where_that_is_asked():
    run_dir, refusal = check(GOOD, settings=settings(min_mean_confidence=0.71))
    assert failed(run_dir) == ["mean_confidence"]
    assert "71.0% or more" in refusal
    assert check(GOOD, settings=settings(min_mean_confidence=0.69))[1] is None


def test_drift_since_training_and_since_the_last_batch_is_told_and_blocks_where_that_is_asked():
    model = ScoredModel(**{**vars(MODEL), "profile": profile((50, 50, 50, 50, 50, 50, 50))})
    happy = [score(f"{number}", "happy") for number in range(70)]
    spread = [score(f"{number}", EMOTIONS[number % 7]) for number in range(70)]

    former, refusal = check(spread, model=model, settings=settings(max_training_drift=0.25))
    assert refusal is None
    (line,) = score_checks.load(former).training_drift
    assert (line.subject, line.reading, line.index) == ("predicted", "stable", pytest.approx(0.0, abs=1e-3))
    store_scores.run(former)

    run_dir = write_run(ScoringDirectory.for_run_id("next"), happy, {}, model=model, settings=settings())
    checks = score_checks.run(run_dir)
    assert [(line.subject, line.reading) for line in checks.training_drift] == [("predicted", "large")]
    assert {line.subject: line.reading for line in checks.batch_drift} == {
        "brightness": "stable",
        "contrast": "stable",
        "sharpness": "stable",
        "predicted": "large",
    }
    assert (checks.former.run, checks.former.version, checks.former.num_images) == ("now", 3, 70)
    for limit in ("max_training_drift", "max_batch_drift"):
        settings(**{limit: 0.25}).save(run_dir)
        with pytest.raises(DataQualityError, match=rf"more than 0\.25 beyond chance \(setting {limit}\)"):
            score_checks.run(run_dir)


def test_a_drift_that_chance_explains_never_blocks():
    model = ScoredModel(**{**vars(MODEL), "profile": profile((2, 2, 2, 2, 2, 2, 2))})
    few = [score("a", "happy"), score("b", "happy"), score("c", "sad"), score("d", "fear")]
    run_dir, refusal = check(few, model=model, settings=settings(max_training_drift=0.0))
    (line,) = score_checks.load(run_dir).training_drift
    assert line.index > 0.25
    assert line.index < line.chance
    assert refusal is None


def test_a_batch_s_profile_counts_what_was_predicted_and_measured(tmp_path):
    import pandas as pd

    rows = [score("a", "happy", brightness=1.0), score("b", "neutral", brightness=300.0), score("c", "happy")]
    found = profile_of(pd.DataFrame(rows))
    assert found.predicted == (0, 0, 0, 2, 0, 0, 1)
    assert found.labels == (0,) * 7
    assert [place for place, count in enumerate(found.measures["brightness"]) if count] == [0, 30, 63]


def test_the_table_has_a_row_for_every_image_that_was_asked_for_or_answered():
    import pandas as pd

    planned = pd.DataFrame({"path": ["a", "b", "c"]})
    scores = pd.DataFrame([score("a", "happy"), score("x", "happy")])
    table = score_table(planned, scores, pd.DataFrame({"path": ["b"]})).set_index("path")
    assert table["times_answered"].to_dict() == {"a": 1, "b": 1, "c": 0, "x": 0}
    assert table["is_refused"].to_dict() == {"a": False, "b": True, "c": False, "x": False}
    assert table["probability_sum"]["a"] == pytest.approx(1.0)
