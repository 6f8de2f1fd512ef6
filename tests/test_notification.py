"""What people are told of a run, and by whom: a real notifier and a real SMTP server. Runs: tests/test_dag_runs.py."""

import json

import pytest
from published_runs import write_attempts, write_run
from smtp_server import Mailbox

from fer_tasks.notification import compose

LINK = "https://airflow.example.org/team/fer/dags/fer_training/runs/manual__a"
DONE = {"started_at": "2026-01-01T08:00:00+00:00", "status": "succeeded", "seconds": 1.0}


@pytest.fixture
def mailbox():
    with Mailbox() as server:
        yield server
        server.shutdown()


def promoted(runs, **changes):
    run_dir = write_run(runs, "manual__a", version=3, **changes)
    write_attempts(run_dir, "promote_model", DONE)
    return run_dir


def test_a_promotion_is_told_with_version_verdict_and_link(tmp_path):
    message = compose(promoted(tmp_path), "success", LINK)
    assert message.subject == "Promoted: fer-classifier version 3 (manual__a)"
    assert message.text == (
        f"Promoted: fer-classifier version 3\nThe reason.\n\nRun: manual__a\nData set: fer2013.csv\nReport: {LINK}"
    )
    assert f'<a href="{LINK}">Open the report</a>' in message.html
    assert "<p>The reason.</p>" in message.html


def test_a_run_that_ends_green_without_a_promotion_is_no_news(tmp_path):
    assert compose(write_run(tmp_path, "manual__a", passed=False), "success", LINK) is None
    run_dir = promoted(tmp_path / "cleared", passed=False)  # of an earlier try
    assert compose(run_dir, "success", LINK) is None


def test_a_rejection_is_told_with_its_reason(tmp_path):
    message = compose(write_run(tmp_path, "manual__a", passed=False), "failure", LINK)
    assert (message.subject, message.text.splitlines()[1]) == ("Rejected by the gate (manual__a)", "The reason.")


def test_a_red_run_is_never_called_accepted(tmp_path):
    run_dir = promoted(tmp_path)
    write_attempts(run_dir, "publish_report", {**DONE, "status": "failed", "reason": "OSError: MLflow is away"})
    message = compose(run_dir, "failure", LINK)
    assert message.subject == "Failed in publish_report (manual__a)"
    assert "OSError: MLflow is away The gate accepted the model: The reason." in message.text
    assert "Champion by now: fer-classifier version 3" in message.text
    write_attempts(run_dir, "publish_report", DONE)
    assert compose(run_dir, "failure", LINK).subject == "Failed (manual__a)"


def test_a_killed_promotion_is_no_promotion(tmp_path):
    run_dir = promoted(tmp_path)
    write_attempts(run_dir, "promote_model", {**DONE, "status": "running"})
    message = compose(run_dir, "failure", LINK)
    assert message.subject == "Failed in promote_model (manual__a)"
    assert "Its process ended without a word" in message.text
    assert "Champion by now" not in message.text


def test_an_explanation_that_failed_keeps_an_accepted_model_from_its_place(tmp_path):
    run_dir = write_run(tmp_path, "manual__a")
    write_attempts(run_dir, "explain_predictions", {**DONE, "status": "failed", "reason": "MemoryError: "})
    message = compose(run_dir, "failure", LINK)
    assert message.text.splitlines()[:2] == [
        "Failed in explain_predictions",
        "The gate accepted the model: The reason. But: MemoryError: ",
    ]


def test_a_run_whose_folder_is_elsewhere_is_told_all_the_same(tmp_path):
    from fer_tasks.run_directory import RunDirectory

    message = compose(RunDirectory(tmp_path / "manual__a"), "failure", LINK)
    assert message.subject == "Failed (manual__a)"
    assert f"There is no folder {tmp_path / 'manual__a'} where this was sent from" in message.text


def test_texts_from_outside_are_neither_markup_nor_headers(tmp_path):
    run_dir = write_run(tmp_path, "manual__a", passed=False, dataset="x\r\nBcc: all@example.org\r\n/<b>{{ 7*7 }}</b>")
    message = compose(run_dir, "failure", LINK)
    assert "\n" not in message.subject
    assert "Data set: b>" in message.text
    assert "<b>" not in message.html
    gate = json.loads(run_dir.gate_json.read_text()) | {"reason": "<img src=x>\r\n.\r\nBcc: all@example.org {{ 7*7 }}"}
    run_dir.gate_json.write_text(json.dumps(gate))
    message = compose(run_dir, "failure", LINK)
    assert "&lt;img src=x&gt;" in message.html
    assert "{{ 7*7 }}" in message.html


@pytest.fixture
def notify(tmp_path, monkeypatch):
    """notify(event): tell of the run manual__a as Airflow calls a callback."""
    pytest.importorskip("airflow")
    from dags.fer_notifications import notifier_for

    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))

    def send(event):
        (notifier,) = notifier_for(event)
        notifier({"run_id": "manual__a", "dag": object()})

    return send


def test_without_the_variable_nobody_is_told(monkeypatch):
    from dags.fer_notifications import notifier_for

    monkeypatch.delenv("FER_NOTIFIER", raising=False)
    assert notifier_for("failure") == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nonsense", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'class'"),
        ('{"class": "no.such.Notifier"}', "ModuleNotFoundError"),
        ('{"class": "os.system", "command": "true"}', "is no Airflow notifier"),
        ('{"class": "subprocess.Popen", "args": ["true"]}', "<class 'subprocess.Popen'> is no Airflow notifier"),
        ('{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}', "missing a required argument: 'to'"),
    ],
)
def test_what_is_no_notifier_is_refused_without_repeating_its_secrets(monkeypatch, value, words):
    from dags.fer_notifications import notifier_for
    from fer_tasks.errors import SettingsError

    monkeypatch.setenv("FER_NOTIFIER", value)
    with pytest.raises(SettingsError, match=r"^FER_NOTIFIER names no notifier") as refused:
        notifier_for("failure")
    assert words in str(refused.value)
    assert value not in str(refused.value)


def test_texts_may_be_chosen_with_templates(notify, mailbox, tmp_path, monkeypatch):
    for name, value in mailbox.variables(subject="[fer] {{ fer.event }} {{ run_id }}").items():
        monkeypatch.setenv(name, value)
    write_run(tmp_path, "manual__a", passed=False)
    notify("failure")
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[fer] failure manual__a"


def test_a_mail_server_that_is_away_fails_nothing(notify, mailbox, tmp_path, monkeypatch, caplog):
    for name, value in mailbox.variables().items():
        monkeypatch.setenv(name, value)
    mailbox.shutdown()
    mailbox.server_close()
    write_run(tmp_path, "manual__a", passed=False)
    notify("failure")
    assert mailbox.mails == []
