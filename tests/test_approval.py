"""What a person is asked, what is kept of the answer, and how a run ends whose model was not accepted."""

import json
from datetime import timedelta

import pytest

from fer_tasks import approval, rejection
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.errors import ModelRejectedError


@pytest.fixture
def judged(make_run):
    """judged(passed, **settings) -> a run after the gate."""

    def judge(passed, **settings):
        run_dir = make_run(**settings)
        reason = "70.4%, champion 69.8%, not worse." if passed else "The test accuracy of 55% is below the minimum."
        run_dir.save_json(run_dir.gate_json, GateDecision(passed, reason, (), needs_approval=passed))
        return run_dir

    return judge


def test_the_question_names_the_verdict_the_report_and_the_time(judged):
    run_dir = judged(True, approval_timeout_hours=48, registered_model="faces")
    approval.record(run_dir, approved=True, answered_by="ada")
    request = approval.request(run_dir, "fer/dags/fer_training/runs/manual__1")
    assert request.subject == "Promote the model of run to champion of faces?"
    assert request.body == (
        f"The gate accepted it: 70.4%, champion 69.8%, not worse.\n\n"
        f"[Open the report](fer/dags/fer_training/runs/manual__1) (on disk: `{run_dir.report_html}`)\n\n"
        "Without an answer within 48 h it is rejected."
    )
    assert request.timeout == timedelta(days=2)
    assert not run_dir.approval_json.exists()


def test_the_answer_is_kept(judged):
    run_dir = judged(True)
    approval.record(run_dir, approved=True, answered_by="ada")
    record = json.loads(run_dir.approval_json.read_text())
    assert (record["approved"], record["answered_by"]) == (True, "ada")
    assert record["answered_at"].endswith("+00:00")


def test_a_model_below_a_threshold_makes_a_red_run_with_the_gates_reason(judged):
    run_dir = judged(False)
    with pytest.raises(ModelRejectedError, match=r"^The test accuracy of 55% is below the minimum\.$"):
        rejection.run(run_dir)
    attempt = run_dir.attempts("reject_model")[0]
    assert (attempt.status, attempt.reason) == ("refused", "The test accuracy of 55% is below the minimum.")


@pytest.mark.parametrize(
    ("person", "told"),
    [("ada", "ada rejected it."), (None, "Nobody answered within 24 h, so it was rejected.")],
)
def test_a_model_that_nobody_approved_makes_a_red_run_that_says_so(judged, person, told):
    run_dir = judged(True)
    approval.record(run_dir, approved=False, answered_by=person)
    with pytest.raises(ModelRejectedError) as rejected:
        rejection.run(run_dir)
    assert str(rejected.value) == f"The gate accepted the model: 70.4%, champion 69.8%, not worse. {told}"


def test_a_rejection_may_be_skipped(judged):
    run_dir = judged(False, on_rejection="skip")
    rejection.run(run_dir)
    assert run_dir.attempts("reject_model")[0].status == "succeeded"
