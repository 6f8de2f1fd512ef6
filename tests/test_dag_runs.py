"""Where the arrows lead, run by Airflow: which tasks follow from a verdict, and which colour the run has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from smtp_server import Mailbox

PROJECT = Path(__file__).resolve().parent.parent
ASK = {"min_accuracy": 0.5, "require_approval": True, "approval_timeout_hours": 5}
SCENARIOS = {
    "accepted": {"conf": {"min_accuracy": 0.5}, "answer": None, "broken": None},
    "rejected": {"conf": {"min_accuracy": 0.6}, "answer": None, "broken": None},
    "rejected, skip": {"conf": {"min_accuracy": 0.6, "on_rejection": "skip"}, "answer": None, "broken": None},
    "approved": {"conf": ASK, "answer": "Approve", "broken": None},
    "not approved": {"conf": ASK, "answer": "Reject", "broken": None},
    "not approved, skip": {"conf": {**ASK, "on_rejection": "skip"}, "answer": "Reject", "broken": None},
    "not answered": {"conf": ASK, "answer": None, "broken": None},
    "not explained": {"conf": ASK, "answer": "Approve", "broken": "explain_predictions"},
    "not trained": {"conf": ASK, "answer": "Approve", "broken": "train_model"},
}


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, mailbox):
    """{scenario: what tests/staged_runs.py printed of it}, in an Airflow home of its own."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__API__BASE_URL": "https://airflow.example.org/team",
        "FER_RUNS_FOLDER": str(home / "runs"),
        "PYTHONPATH": str(PROJECT),
        **mailbox.variables(),
    }

    def airflow(*command):
        done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    airflow(Path(sys.executable).with_name("airflow"), "db", "migrate")
    printed = airflow(sys.executable, "tests/staged_runs.py", json.dumps(list(SCENARIOS.values())))
    told = [json.loads(line.removeprefix("TOLD ")) for line in printed.splitlines() if line.startswith("TOLD ")]
    return dict(zip(SCENARIOS, told, strict=True))


@pytest.mark.parametrize(
    ("scenario", "colour", "approval", "promotion", "rejection"),
    [
        ("accepted", "success", "skipped", "success", "skipped"),
        ("rejected", "failed", "skipped", "skipped", "failed"),
        ("rejected, skip", "success", "skipped", "skipped", "success"),
        ("approved", "success", "success", "success", "skipped"),
        ("not approved", "failed", "success", "skipped", "failed"),
        ("not approved, skip", "success", "success", "skipped", "success"),
        ("not answered", "failed", "success", "skipped", "failed"),
        ("not explained", "failed", "upstream_failed", "upstream_failed", "upstream_failed"),
        ("not trained", "failed", "upstream_failed", "upstream_failed", "upstream_failed"),
    ],
)
def test_a_verdict_leads_to_its_tasks_and_colour(runs, scenario, colour, approval, promotion, rejection):
    run = runs[scenario]
    followed = {name: run["states"][name] for name in ("approve_promotion", "promote_model", "reject_model")}
    assert followed == {"approve_promotion": approval, "promote_model": promotion, "reject_model": rejection}
    assert run["run"] == colour
    assert run["states"]["publish_report"] == "success"


def test_a_person_is_asked_only_where_that_is_wanted_and_never_about_a_rejected_model(runs):
    assert {name for name, run in runs.items() if run["asked"]} == {
        "approved", "not approved", "not approved, skip", "not answered",
    }  # fmt: skip


def test_the_person_sees_the_report_first_and_it_tells_the_answer_afterwards(runs):
    (asked,) = runs["approved"]["asked"]
    assert asked["reports"] == ["Accepted, waiting for approval"]
    assert asked["hours"] == 5.0
    assert "The gate accepted it: 50.0% (" in asked["body"]
    assert "[Open the report](fer/dags/fer_training/runs/manual__" in asked["body"]
    assert "Without an answer within 5 h it is rejected." in asked["body"]
    assert asked["subject"].endswith("to champion of fer-classifier?")
    reports = {name: run["reports"] for name, run in runs.items()}
    assert reports["approved"] == ["Accepted, waiting for approval", "Accepted"]
    assert reports["not approved"] == ["Accepted, waiting for approval", "Not approved"]
    assert reports["not answered"] == ["Accepted, waiting for approval", "Not approved"]
    assert reports["accepted"] == ["Accepted"]
    assert reports["not explained"] == ["Failed in explain_predictions"]
    assert reports["rejected, skip"] == ["Rejected by the gate"]


def test_people_are_told_of_failures_promotions_and_what_waits_for_them(runs, mailbox):
    waiting = "Accepted, waiting for approval"
    assert [mail["Subject"].rpartition(" (manual__")[0] for mail in mailbox.mails] == [
        "Promoted: fer-classifier version 1",  # accepted
        "Rejected by the gate",  # rejected; no word of a green one
        *(waiting, "Promoted: fer-classifier version 1"),  # approved
        *(waiting, "Not approved"),  # not approved; of the green one only that it waits
        waiting,
        *(waiting, "Not approved"),  # not answered
        "Failed in explain_predictions",  # not explained
        "Stopped before ingest_dataset",  # not trained; the staged steps before it keep no record then
    ]
    assert {mail["To"] for mail in mailbox.mails} == {"ml@example.org"}
    page = mailbox.mails[1].get_body(("html",)).get_content()
    assert "The test accuracy of 50.0%" in page
    assert 'href="https://airflow.example.org/team/fer/dags/fer_training/runs/manual__' in page


def test_make_run_refuses_to_wait_for_a_person(tmp_path):
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow"), "FER_RUNS_FOLDER": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "launcher.run", "--conf", '{"require_approval": true}']
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=550)
    assert done.returncode != 0
    assert "Setting 'require_approval' is on, and `make run` would wait for ever" in done.stderr
    assert "Start `make ui`" in done.stderr
    assert list(tmp_path.iterdir()) == []
