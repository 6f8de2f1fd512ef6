"""The look for known vulnerabilities in `make check`: what fails it, and that no answer fails nothing."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from launcher import audit

PROJECT = Path(__file__).resolve().parent.parent
ANSWER = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "holed", "version": "2.0", "vulns": [
            {"id": "PYSEC-2026-1", "fix_versions": ["2.1", "3.0"]},
            {"id": "GHSA-x", "fix_versions": []},
        ]},
        {"name": "ours", "skip_reason": "Dependency not found on PyPI"},
    ]
}  # fmt: skip


def test_findings_are_told_with_what_mends_them():
    assert audit.open_findings(ANSWER, date(2026, 11, 25)) == [
        "holed 2.0: PYSEC-2026-1, mended in 2.1, 3.0",
        "holed 2.0: GHSA-x, mended in none",
    ]
    assert audit.audited(ANSWER) == 2


def test_an_accepted_finding_is_one_again_from_its_day_on(monkeypatch):
    monkeypatch.setattr(audit, "ACCEPTED", (audit.Accepted("GHSA-x", "no fix yet", date(2026, 12, 24)),))
    assert len(audit.open_findings(ANSWER, date(2026, 12, 23))) == 1
    assert len(audit.open_findings(ANSWER, date(2026, 12, 24))) == 2


def test_what_is_accepted_has_a_reason_and_ends_within_half_a_year():
    for entry in audit.ACCEPTED:
        assert len(entry.reason) > 20
        assert (entry.until - date.today()).days <= 183


def test_every_pin_of_a_lock_file_is_asked_for_once():
    lock = '# a comment\na==1.0 \\\n    --hash=sha256:0\n    # via b\nb[extra]==2.0 ; python_version < "3"\nb==3.0\n'
    assert audit.pinned(lock) == ["a==1.0", "b==3.0"]
    pins = [pin for lock in audit.LOCKS for pin in audit.pinned((PROJECT / lock).read_text())]
    assert {"tensorflow", "pillow", "mlflow", "pip-audit"} <= {pin.partition("==")[0] for pin in pins}


@pytest.mark.timeout(120)
def test_an_index_that_does_not_answer_fails_nothing(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    command = [sys.executable, "-m", "launcher.audit", "--seconds", "4"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip-audit: skipped, as its index did not answer in time." in done.stdout
