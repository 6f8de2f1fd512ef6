"""A disk that fills up in every step, one that is read-only, and artefacts that a former try left damaged.

The steps run one by one on a small file system of their own; whole runs show what a person is told.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from finished_run import aliases, versions
from killed_runs import ACCEPTED, assert_whole, fill, small_disk
from test_end_to_end import run_dag

from fer_tasks import accuracy_gate, data_quality, evaluation, explanation, registry, report, start_run, training
from fer_tasks.run_directory import RunDirectory
from spark_jobs import ingest_faces, preprocess_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small file system takes root"
    ),
]

RUN_ID = "on a small disk"

# What is free when the step begins: nothing, or too little for what it makes but enough for the record of the try.
STEPS: dict[str, tuple[int, Callable[[RunDirectory], object]]] = {
    "start_run": (0, lambda run_dir: start_run.run(RUN_ID, ACCEPTED | {"epochs": 1, "reuse": False})),
    "ingest_dataset": (64, lambda run_dir: ingest_faces.main(str(run_dir))),
    "check_data_quality": (16, data_quality.run),
    "preprocess_faces": (64, lambda run_dir: preprocess_faces.main(str(run_dir))),
    "train_model": (64, training.run),
    "evaluate_model": (16, evaluation.run),
    "accuracy_gate": (0, accuracy_gate.run),
    "explain_predictions": (16, explanation.run),
    "promote_model": (8, registry.run),
    "publish_report": (64, report.run),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, registry_home: Path, spark: object) -> Iterator[Path]:
    """The runs folder of this module: 64 MB that are its own."""
    folder = tmp_path_factory.mktemp("small") / "runs"
    with pytest.MonkeyPatch.context() as patch, small_disk(folder, "size=64m"):
        patch.setenv("FER_RUNS_FOLDER", str(folder))
        yield folder


@pytest.fixture(scope="module")
def finished(runs: Path, registry_home: Path) -> RunDirectory:
    """A run each of whose steps has met a full disk, and was then tried again."""
    run_dir = RunDirectory.for_run_id(RUN_ID)
    for step, (kilobytes, run) in STEPS.items():
        ballast = fill(runs, spare=kilobytes * 1024)
        before = aliases(registry_home, "fer-classifier") if step == "promote_model" else {}
        try:
            with pytest.raises(Exception, match="No space left on device"):
                run(run_dir)
        finally:
            ballast.unlink()
        if step == "promote_model":
            assert aliases(registry_home, "fer-classifier") == before == {}
        if kilobytes == 64:  # with less, what the step had written before leaves no room for the record of its end
            last = run_dir.attempts(step)[-1]
            assert last.status == "failed", step
            assert "No space left on device" in str(last.reason), step
        assert_whole(run_dir)
        run(run_dir)
        assert run_dir.attempts(step)[-1].status == "succeeded", step
        assert_whole(run_dir)
    return run_dir


def test_each_step_fails_on_a_full_disk_in_words_and_succeeds_when_there_is_room(finished, registry_home):
    assert versions(registry_home, "fer-classifier") == [1]
    assert aliases(registry_home, "fer-classifier") == {"champion": 1}
    assert "Accepted" in finished.report_html.read_text()


@pytest.mark.parametrize(
    ("artefact", "reader", "writer"),
    [
        ("raw_faces", "check_data_quality", "ingest_dataset"),
        ("quarantine", "preprocess_faces", "check_data_quality"),
        ("faces", "train_model", "preprocess_faces"),
        ("model", "evaluate_model", "train_model"),
        ("predictions", "explain_predictions", "evaluate_model"),
        ("evaluation_json", "accuracy_gate", "evaluate_model"),
        ("gate_json", "promote_model", "accuracy_gate"),
        ("settings_json", "evaluate_model", "start_run"),
    ],
)
def test_a_damaged_artefact_fails_its_reader_in_words_and_clearing_its_writer_mends_it(
    finished, artefact, reader, writer
):
    path = getattr(finished, artefact)
    for file in [path] if path.is_file() else [file for file in path.rglob("*.parquet") if file.is_file()]:
        os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever; the record tells
        STEPS[reader][1](finished)
    last = finished.attempts(reader)[-1]
    assert last.status in ("failed", "refused")
    assert last.reason
    for step in (writer, reader):
        STEPS[step][1](finished)
        assert finished.attempts(step)[-1].status == "succeeded"
    assert_whole(finished)


@pytest.mark.parametrize(
    ("options", "reason"), [("size=600k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_run_on_such_a_disk_ends_red_and_says_so(tmp_path, options, reason):
    with small_disk(tmp_path / "runs", options):
        status, output = run_dag(tmp_path, ACCEPTED)
        assert status == 1
        assert reason in " ".join(output.splitlines()[-2:]), output  # the last may be the report's path
