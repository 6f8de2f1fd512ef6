"""Lineage of a run, and git states made with real git."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from fer_tasks import lineage
from fer_tasks.lineage import Code, Lineage, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_git_state_of_a_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == Code(commit=None, has_local_changes=False)
    (tmp_path / "a.txt").write_text("a")
    assert git_state(tmp_path) == Code(commit=None, has_local_changes=True)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "log", "-1", "--format=%H")
    assert git_state(tmp_path) == Code(commit=commit, has_local_changes=False)
    (tmp_path / "a.txt").write_text("b")
    assert git_state(tmp_path) == Code(commit=commit, has_local_changes=True)


def test_git_state_without_a_repository_or_inside_anothers(tmp_path: Path) -> None:
    nowhere = Code(commit=None, has_local_changes=None)
    assert git_state(tmp_path) == nowhere
    git(tmp_path, "init", "-q")
    inner = tmp_path / "site-packages"
    inner.mkdir()
    assert git_state(inner) == nowhere
    assert git_state(tmp_path / "gone") == nowhere


def test_git_state_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == Code(commit=None, has_local_changes=None)


def test_collect_and_keep(make_run: Any) -> None:
    run_dir = make_run()
    with run_dir.attempt("start_run"):
        pass
    record = lineage.collect(
        run_dir, dataset="sample", dataset_sha256="ab" * 32, seed=7, finished_at="2026-01-02T03:04:05+00:00"
    )
    run_dir.save_json(run_dir.lineage_json, record)
    assert run_dir.load_json(run_dir.lineage_json, Lineage) == record
    kept = json.loads(run_dir.lineage_json.read_text())
    assert kept["run_name"] == "run"
    assert kept["versions"]["python"] == sys.version.split()[0]
    assert kept["versions"]["numpy"] == numpy.__version__
    assert kept["versions"]["lime"] == "0.2.0.1"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", kept["started_at"])
    assert kept["machine"]["num_cores"] >= 1
    assert kept["machine"]["memory_gib"] > 0.1


def test_a_run_that_never_started_has_no_start(make_run: Any) -> None:
    record = lineage.collect(make_run(), dataset=None, dataset_sha256=None, seed=None, finished_at=lineage.utc_now())
    assert record.started_at is None


def test_no_heavy_import() -> None:
    code = "import sys, fer_tasks.lineage; print([m for m in ('numpy', 'tensorflow', 'airflow') if m in sys.modules])"
    project = Path(__file__).resolve().parent.parent
    answer = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_missing_package_is_none(monkeypatch: pytest.MonkeyPatch, make_run: Any) -> None:
    monkeypatch.setattr(lineage, "PACKAGES", ("no-such-package-here",))
    record = lineage.collect(make_run(), dataset=None, dataset_sha256=None, seed=1, finished_at=lineage.utc_now())
    assert record.versions["no-such-package-here"] is None
