"""What the gate says of measurements made up for it; criterion by criterion, then the run's whole verdict."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fer_tasks import accuracy_gate
from fer_tasks.accuracy_gate import GateDecision, decide
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.emotions import EMOTIONS
from fer_tasks.evaluation import EmotionScore, Evaluation
from fer_tasks.paired_test import PairedTest, compare_paired
from fer_tasks.report_gate_section import criterion_lines
from fer_tasks.serving_check import Served, ServingCheck
from fer_tasks.settings import RunSettings

MEASURED = Evaluation(
    num_images=700,
    accuracy=0.7,
    accuracy_low=0.665,
    accuracy_high=0.733,
    majority_class_accuracy=0.25,
    balanced_accuracy=0.68,
    macro_f1=0.66,
    top_2_accuracy=0.8,
    log_loss=0.9,
    expected_calibration_error=0.034,
    uncalibrated_error=0.09,
    temperature=1.1,
    single_view_accuracy=0.69,
    num_views=10,
    validation_accuracy=0.7,
    per_emotion=tuple(EmotionScore(emotion, 0.7, 0.5 if emotion == "fear" else 0.7, 0.7, 100) for emotion in EMOTIONS),
    confusion_matrix=tuple(tuple(70 if row == column else 5 for column in range(7)) for row in range(7)),
    reliability=(),
    images_per_second=100.0,
)
NO_CHAMPION = ChampionComparison("fer-classifier", "ab" * 32)
SERVED = Served(1.2e-7, load_seconds=0.4, p50_milliseconds=4.12, p99_milliseconds=7.9, images_per_second=1234.4)
SERVES = ServingCheck(16, 9_400_000, SERVED, None)


def decided(measured=MEASURED, comparison=NO_CHAMPION, serving=SERVES, **settings):
    return decide(measured, comparison, serving, RunSettings(**settings))


def line(decision, metric):
    (found,) = [criterion for criterion in decision.criteria if criterion.metric == metric]
    return found


def against_champion(*, gained, lost, both, neither, **changes):
    answers = [(1, 0)] * gained + [(0, 1)] * lost + [(1, 1)] * both + [(0, 0)] * neither
    challenger, champion = (np.array(column) for column in zip(*answers, strict=True))
    paired = compare_paired(np.ones(len(answers), np.int32), challenger, champion, seed=7)
    return replace(NO_CHAMPION, outcome="compared", version=3, paired=paired, **changes)


def test_every_criterion_has_its_line_and_the_defaults_ask_little():
    decision = decided()
    assert decision.passed
    assert decision.reason == "70.0% (66.5–73.3%), no champion yet."
    lines = [(c.metric, c.value, c.bound, c.threshold, c.passed) for c in decision.criteria]
    assert lines == [
        ("accuracy", 0.7, "at least", 0.6, True),
        ("macro_f1", 0.66, "at least", None, True),
        ("lowest_recall", 0.5, "at least", None, True),
        ("calibration_error", 0.034, "at most", None, True),
        ("majority_class", 0.7, "above", 0.25, True),
        ("champion", None, "at least", -0.01, True),
        ("serving", 1.2e-7, "at most", 1e-5, True),
    ]
    assert line(decision, "champion").reason == "There is no champion of 'fer-classifier' yet to compare with."


def test_an_accuracy_below_the_minimum_is_rejected_and_the_interval_is_said():
    decision = decided(min_accuracy=0.75)
    assert not decision.passed
    assert decision.reason == "The test accuracy of 70.0% (95% interval 66.5% to 73.3%) is below the minimum of 75.0%."
    assert (line(decision, "accuracy").low, line(decision, "accuracy").high) == (0.665, 0.733)


@pytest.mark.parametrize(
    ("setting", "metric", "exactly", "too_much", "name"),
    [
        ("min_accuracy", "accuracy", 0.7, math.nextafter(0.7, 1), "The test accuracy of"),
        ("min_macro_f1", "macro_f1", 0.66, 0.67, "The macro F1 of"),
        ("min_recall_per_emotion", "lowest_recall", 0.5, 0.51, "The lowest recall, that of fear, of"),
        ("max_calibration_error", "calibration_error", 0.034, 0.033, "The calibration error of"),
    ],
)
def test_equality_passes_and_anything_beyond_it_does_not(setting, metric, exactly, too_much, name):
    passing, failing = decided(**{setting: exactly}), decided(**{setting: too_much})
    assert passing.passed
    assert line(passing, metric).threshold == exactly
    assert not failing.passed
    assert [c.metric for c in failing.criteria if not c.passed] == [metric]
    assert failing.reason.startswith(name)


@pytest.mark.parametrize("field", ["accuracy", "macro_f1", "expected_calibration_error"])
def test_not_a_number_never_passes_whatever_is_asked(field):
    measured = replace(MEASURED, **{field: math.nan})
    decision = decided(measured, min_accuracy=0.0, must_beat_majority_class=False)
    assert not decision.passed
    assert "is not a number" in decision.reason


def test_intervals_of_macro_f1_and_of_the_lowest_recall():
    decision = decided()
    recall = line(decision, "lowest_recall")
    # Wilson of 50 in 100
    assert (recall.low, recall.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))
    assert line(decision, "macro_f1").low < 0.7 < line(decision, "macro_f1").high


def test_an_emotion_without_test_images_fails_only_where_a_recall_is_asked():
    scores = (*MEASURED.per_emotion[:6], EmotionScore("neutral", None, None, None, 0))
    measured = replace(MEASURED, per_emotion=scores)
    assert decided(measured).passed
    decision = decided(measured, min_recall_per_emotion=0.1)
    assert not decision.passed
    assert "no test image shows neutral" in decision.reason


def test_always_saying_the_commonest_emotion_is_not_good_enough():
    constant = replace(MEASURED, accuracy=0.7, majority_class_accuracy=0.7)
    assert not decided(constant).passed
    assert decided(constant).reason == (
        "The test accuracy of 70.0% is not above the 70.0% of always saying the commonest emotion."
    )
    assert decided(constant, must_beat_majority_class=False).passed


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (0.59996, "59.996%"),
        (0.5999, "59.99%"),
        (0.5999999999, "59.99999999%"),
        (math.nextafter(0.6, 0), "is below"),
    ],
)
def test_the_sentence_never_says_that_a_number_is_below_itself(accuracy, said):
    decision = decided(replace(MEASURED, accuracy=accuracy))
    assert not decision.passed
    assert said in decision.reason
    got = decision.reason.split("accuracy of ")[1].split(" ")[0]
    asked = decision.reason.rstrip(".").split(" ")[-1]
    assert got != asked


def test_a_model_as_good_as_the_champion_is_accepted_with_both_numbers_in_a_line():
    decision = decided(comparison=against_champion(gained=30, lost=28, both=460, neither=182))
    assert decision.passed
    assert decision.reason == "70.0% (66.5–73.3%), champion 69.7%, not worse."
    champion = line(decision, "champion")
    assert (champion.value, champion.threshold) == (pytest.approx(2 / 700), -0.01)
    assert champion.low < 0 < champion.high
    assert champion.reason.startswith(
        "The champion, version 3, has 69.7% on the same images, a difference of +0.3 points (95% interval "
    )
    assert champion.reason.endswith("McNemar p = 0.896): not found worse than the allowed −1.0.")


def test_a_clear_regression_is_rejected():
    decision = decided(comparison=against_champion(gained=20, lost=90, both=470, neither=120))
    assert not decision.passed
    assert "a difference of −10.0 points" in decision.reason
    assert decision.reason.endswith("McNemar p < 0.001): worse than the allowed −1.0.")
    assert decided(comparison=against_champion(gained=20, lost=90, both=470, neither=120), max_regression=1.0).passed


def test_a_drop_that_chance_explains_is_let_through():
    comparison = against_champion(gained=20, lost=34, both=470, neither=176)
    assert comparison.paired.difference == -0.02
    assert decided(comparison=comparison).passed


def test_a_certain_drop_within_what_is_allowed_is_let_through():
    comparison = against_champion(gained=0, lost=20, both=480, neither=200)
    assert comparison.paired.mcnemar_p < 0.001
    assert not decided(comparison=comparison).passed
    assert decided(comparison=comparison, max_regression=0.03).passed


def test_a_few_lost_images_do_not_tell_two_models_apart():
    """All four images that tell them apart are lost: the bootstrap's interval leaves out 0, p is 2/16."""
    comparison = against_champion(gained=0, lost=4, both=2, neither=4)
    assert comparison.paired.difference_high < -0.01
    assert comparison.paired.mcnemar_p == 0.125
    assert decided(comparison=comparison).passed


def test_a_champion_that_cannot_be_compared_is_not_replaced_unless_that_is_wanted():
    comparison = replace(NO_CHAMPION, outcome="not comparable", version=2, notes=("It knows other classes.",))
    decision = decided(comparison=comparison)
    assert not decision.passed
    assert decision.reason == (
        "The champion, version 2, cannot be compared. It knows other classes. Choose another registered_model, or set "
        "max_regression to 1 to replace it without a comparison."
    )
    accepted = decided(comparison=comparison, max_regression=1.0)
    assert accepted.passed
    assert accepted.reason == "70.0% (66.5–73.3%), champion not comparable."


def test_what_has_to_be_said_of_the_comparison_is_said():
    notes = ("It was promoted on another test set, and may have been trained on some of these images.",)
    decision = decided(comparison=against_champion(gained=3, lost=3, both=4, neither=0, notes=notes))
    assert line(decision, "champion").reason.endswith(notes[0])


@pytest.mark.parametrize(
    ("serving", "words"),
    [
        (
            replace(SERVES, served=replace(SERVED, deviation=2e-5)),
            "does not repeat the predictions (largest difference 2",
        ),
        (replace(SERVES, served=replace(SERVED, deviation=None)), "Its predictions are not numbers."),
        (replace(SERVES, served=None, problem="It gave no answer within 300 s."), "It gave no answer within 300 s."),
    ],
)
def test_a_model_that_does_not_serve_is_rejected(serving, words):
    decision = decided(serving=serving)
    assert not decision.passed
    assert words in decision.reason


def test_the_serving_line_says_how_fast_and_how_large():
    assert line(decided(), "serving").reason == (
        "A fresh process repeats the predictions (largest difference 1.2e-07). One face takes 4.1 ms (99th percentile "
        "7.9 ms), batches go at 1,234 images a second, the file has 9.4 MB."
    )


def test_no_difference_at_all_is_written_as_0():
    decision = decided(serving=replace(SERVES, served=replace(SERVED, deviation=0.0)))
    assert "repeats the predictions (largest difference 0)." in line(decision, "serving").reason
    (told,) = (row for row in criterion_lines(decision) if row.title == "Serving check")
    assert (told.value, told.asked) == ("0", "at most 1e-05")


def test_all_failures_are_said_at_once():
    decision = decided(min_accuracy=0.9, min_macro_f1=0.9)
    assert decision.reason.count("is below the minimum of 90.0%") == 2


@pytest.mark.parametrize(
    ("settings", "task"),
    [
        ({}, "promote_model"),
        ({"require_approval": True}, "approve_promotion"),
        ({"min_accuracy": 1.0}, "reject_model"),
        ({"min_accuracy": 1.0, "require_approval": True}, "reject_model"),
    ],
)
def test_the_verdict_names_the_task_that_acts_on_it(settings, task):
    assert decided(**settings).next_task == task


def test_the_run_reads_what_was_measured_and_writes_its_verdict(make_run):
    run_dir = make_run(min_accuracy=0.8, require_approval=True)
    run_dir.save_json(run_dir.evaluation_json, MEASURED)
    run_dir.save_json(run_dir.champion_comparison_json, against_champion(gained=20, lost=90, both=470, neither=120))
    run_dir.save_json(run_dir.serving_check_json, SERVES)
    decision = accuracy_gate.run(run_dir)
    assert run_dir.load_json(run_dir.gate_json, GateDecision) == decision
    written = json.loads(run_dir.gate_json.read_text())
    assert (written["passed"], written["needs_approval"]) == (False, True)
    assert written["criteria"][0] == {
        "metric": "accuracy",
        "value": 0.7,
        "low": 0.665,
        "high": 0.733,
        "bound": "at least",
        "threshold": 0.8,
        "passed": False,
        "reason": "The test accuracy of 70.0% (95% interval 66.5% to 73.3%) is below the minimum of 80.0%.",
    }
    assert [c["metric"] for c in written["criteria"] if not c["passed"]] == ["accuracy", "champion"]
    assert run_dir.attempts("accuracy_gate")[0].status == "succeeded"
    assert isinstance(run_dir.load_json(run_dir.champion_comparison_json, ChampionComparison).paired, PairedTest)
