import math

import pytest
from pydantic import TypeAdapter

from fer_tasks import accuracy_gate
from fer_tasks.accuracy_gate import GateDecision, decide
from fer_tasks.errors import ModelRejectedError


def decided(accuracy, min_accuracy=0.6, low=0.58, high=0.65):
    return decide(accuracy=accuracy, accuracy_low=low, accuracy_high=high, min_accuracy=min_accuracy)


def test_an_accuracy_above_the_minimum_passes():
    decision = decided(0.6321)
    assert decision.passed
    assert decision.reason == ("The test accuracy of 63.2% (95% interval 58.0% to 65.0%) reaches the minimum of 60.0%.")


def test_an_accuracy_below_the_minimum_is_rejected():
    decision = decided(0.5)
    assert not decision.passed
    assert "50.0% (95% interval 58.0% to 65.0%) is below the minimum of 60.0%" in decision.reason


def test_equality_passes():
    decision = decided(0.6)
    assert decision.passed
    assert "60.0% (95% interval 58.0% to 65.0%) reaches the minimum of 60.0%" in decision.reason


def test_not_a_number_never_passes():
    decision = decided(math.nan, min_accuracy=0.0)
    assert not decision.passed
    assert decision.reason == "The test accuracy is not a number, so it cannot reach the minimum of 0.0%."


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
    decision = decided(accuracy)
    assert not decision.passed
    assert said in decision.reason
    got = decision.reason.split("accuracy of ")[1].split(" ")[0]
    asked = decision.reason.rstrip(".").split(" ")[-1]
    assert got != asked


@pytest.fixture
def judged(make_run):
    """judged(accuracy) -> a run with that evaluation, after the gate with the minimum 0.6."""

    def judge(accuracy):
        run_dir = make_run(min_accuracy=0.6)
        empty = {"per_emotion": [], "confusion_matrix": [], "reliability": []}
        numbers = dict.fromkeys(
            ("majority_class_accuracy", "balanced_accuracy", "macro_f1", "top_2_accuracy", "log_loss",
             "expected_calibration_error", "uncalibrated_error", "temperature", "single_view_accuracy",
             "validation_accuracy", "images_per_second"), 0.5,
        )  # fmt: skip
        interval = {
            "accuracy_low": accuracy - 0.02,
            "accuracy_high": accuracy + 0.02,
            "num_images": 100,
            "num_views": 1,
        }
        run_dir.save_json(run_dir.evaluation_json, {**numbers, **empty, **interval, "accuracy": accuracy})
        accuracy_gate.run(run_dir)
        return run_dir

    return judge


def test_the_run_writes_its_verdict(judged):
    run_dir = judged(0.75)
    decision = run_dir.load_json(run_dir.gate_json, GateDecision)
    assert (decision.accuracy, decision.min_accuracy, decision.passed) == (0.75, 0.6, True)
    assert (decision.accuracy_low, decision.accuracy_high) == (0.73, 0.77)
    assert TypeAdapter(GateDecision).dump_python(decision)["reason"] == decision.reason
    assert run_dir.attempts("accuracy_gate")[0].status == "succeeded"


def test_a_rejected_run_fails_with_the_gates_reason(judged):
    run_dir = judged(0.55)
    with pytest.raises(ModelRejectedError, match=r"accuracy of 55\.0% .* is below the minimum of 60\.0%"):
        accuracy_gate.reject(run_dir)
    attempt = run_dir.attempts("reject_model")[0]
    assert attempt.status == "refused"
    assert attempt.reason.startswith("The test accuracy of 55.0%")
