"""Lineage of a run, and git states made with real git."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from fer_tasks import lineage
from fer_tasks.lineage import Code, Lineage, ParentModel, git_state
from fer_tasks.run_directory import Attempt
from fer_tasks.settings import RunSettings
from fer_tasks.training_history import History

NOT_TRAINED: dict[str, Any] = {"dataset_sha256": None, "history": None, "finished_at": "2026-01-02T03:04:05+00:00"}


def history(**weights: str | None) -> History:
    return History("resnet", 1, "float32", (), 1, False, (), 1.0, **weights)


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
    attempts = {
        "start_run": [Attempt("2026-01-02T03:00:00+00:00", "succeeded", 0.5)],
        "ingest_dataset": [
            Attempt("2026-01-02T03:00:01+00:00", "failed", 2.0, "OSError: lost"),
            Attempt("2026-01-02T03:00:04+00:00", "succeeded", 0.25, reused_from="earlier"),
        ],
        "train_model": [],
    }
    record = lineage.collect(
        "run",
        attempts,
        settings=RunSettings(epochs=3),
        dataset_sha256="ab" * 32,
        history=history(weights_sha256="cd" * 32),
        finished_at="2026-01-02T03:04:05+00:00",
    )
    run_dir.save_json(run_dir.lineage_json, record)
    assert run_dir.load_json(run_dir.lineage_json, Lineage) == record
    kept = json.loads(run_dir.lineage_json.read_text())
    assert kept["run_name"] == "run"
    assert kept["versions"]["python"] == sys.version.split()[0]
    assert kept["versions"]["numpy"] == numpy.__version__
    assert kept["versions"]["lime"] == "0.2.0.1"
    assert (kept["started_at"], kept["finished_at"]) == ("2026-01-02T03:00:00+00:00", "2026-01-02T03:04:05+00:00")
    assert (kept["dataset"], kept["dataset_sha256"], kept["seed"]) == ("sample", "ab" * 32, 7)
    assert (kept["settings"]["epochs"], kept["settings"]["denoise"]) == (3, "none")
    assert list(kept["steps"]) == ["start_run", "ingest_dataset"]
    assert [(attempt["status"], attempt["seconds"]) for attempt in kept["steps"]["ingest_dataset"]] == [
        ("failed", 2.0),
        ("succeeded", 0.25),
    ]
    assert kept["steps"]["ingest_dataset"][1]["reused_from"] == "earlier"
    assert (kept["model_weights_sha256"], kept["parent_model"]) == ("cd" * 32, None)
    assert kept["machine"]["num_cores"] >= 1
    assert kept["machine"]["memory_gib"] > 0.1


def test_a_run_that_never_started_has_no_start() -> None:
    record = lineage.collect("run", {}, settings=None, **NOT_TRAINED)
    assert (record.started_at, record.settings, record.steps, record.parent_model) == (None, {}, {}, None)


@pytest.mark.parametrize(
    ("settings", "parent"),
    [
        ({"initial_weights": "champion"}, ParentModel("champion", "fer-classifier", "ef" * 32)),
        ({"initial_weights": "pretrained"}, ParentModel("pretrained", None, "ef" * 32)),
        ({"initial_weights": "/runs/a"}, ParentModel("/runs/a", None, "ef" * 32)),
    ],
)
def test_the_parent_is_named_with_the_weights_that_training_found(settings: Any, parent: ParentModel) -> None:
    trained = {**NOT_TRAINED, "history": history(initial_weights_sha256="ef" * 32)}
    assert lineage.collect("run", {}, settings=RunSettings(**settings), **trained).parent_model == parent


def test_a_lineage_from_before_these_records_can_still_be_read(make_run: Any) -> None:
    run_dir = make_run()
    record = lineage.collect("run", {}, settings=RunSettings(), **NOT_TRAINED)
    run_dir.save_json(run_dir.lineage_json, record)
    kept = json.loads(run_dir.lineage_json.read_text())
    for name in ("settings", "steps", "model_weights_sha256", "parent_model"):
        del kept[name]
    run_dir.lineage_json.write_text(json.dumps(kept))
    assert run_dir.load_json(run_dir.lineage_json, Lineage).seed == 7


def test_no_heavy_import() -> None:
    code = "import sys, fer_tasks.lineage; print([m for m in ('numpy', 'tensorflow', 'airflow') if m in sys.modules])"
    project = Path(__file__).resolve().parent.parent
    answer = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_missing_package_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "PACKAGES", ("no-such-package-here",))
    record = lineage.collect("run", {}, settings=None, **NOT_TRAINED)
    assert record.versions["no-such-package-here"] is None
