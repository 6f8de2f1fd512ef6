"""Results taken over from former runs: by whom, when not, and that nobody's files suffer from it."""

import errno
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest
from raw_faces import LABELS, noise

from fer_tasks import data_quality, result_basis, reuse
from fer_tasks.errors import DataQualityError
from fer_tasks.ingestion import INGEST_DATASET
from fer_tasks.preprocessing import PREPROCESS_FACES
from fer_tasks.result_basis import ReusableStep
from fer_tasks.reuse import reuse_or_run
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

NAMES = ("ingest_dataset", "check_data_quality", "preprocess_faces")


@pytest.fixture
def faces(tmp_path):
    """A folder of 28 faces, two each of every emotion in train/ and in test/."""
    folder = tmp_path / "data"
    for number, (split, emotion) in enumerate((s, e) for s in ("train", "test") for e in LABELS for _ in range(2)):
        path = folder / split / emotion / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), noise(number))
    return folder


@pytest.fixture
def run_steps(spark, tmp_path, faces):
    """run_steps("b", denoise="median") -> {step: the run that it was reused from, or None} of a run of three steps."""
    from spark_jobs import ingest_faces, preprocess_faces

    def run(name, **settings):
        run_dir = RunDirectory(tmp_path / "runs" / name)
        chosen = {"dataset": str(faces), "min_images_per_emotion": 1, **settings}
        RunSettings.from_params(chosen).save(run_dir)
        reuse_or_run(INGEST_DATASET, run_dir, lambda: ingest_faces.main(str(run_dir)))
        data_quality.run(run_dir)
        reuse_or_run(PREPROCESS_FACES, run_dir, lambda: preprocess_faces.main(str(run_dir)))
        return {step: run_dir.attempts(step)[-1].reused_from for step in NAMES}

    return run


def from_run(name, *steps):
    """What run_steps returns where just these were reused from the run."""
    return {step: name if step in steps else None for step in NAMES}


def content(root):
    """{path: bytes} of the artefacts of a run."""
    files = (path for path in root.rglob("*") if path.is_file() and path.parent.name not in ("steps", "keys"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != "settings.json"}


def test_the_same_again_is_reused_with_the_same_files_and_said(run_steps, tmp_path, caplog):
    assert run_steps("a") == from_run(None)
    with caplog.at_level(logging.INFO):
        assert run_steps("b") == from_run("a", *NAMES)
    assert [log.message for log in caplog.records if log.name == "fer_tasks.reuse"] == [
        "Reused from run a, since data, settings and code are the same"
    ] * 3
    a, b = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    assert content(a) == content(b)
    assert {"ingestion.json", "data_quality.json", "quarantine.parquet", "preprocessing.json"} < content(b).keys()
    assert (b / "faces.parquet" / "split=train" / "part-00000-0.parquet").stat().st_nlink == 2
    assert not list(b.rglob("*.tmp*"))
    [attempt] = RunDirectory(b).attempts("preprocess_faces")
    assert attempt.status == "succeeded"
    assert 0 < attempt.seconds < 10


def test_either_run_outlives_the_other_and_the_first_maker_is_named(run_steps, tmp_path):
    run_steps("a")
    run_steps("b")
    before = content(tmp_path / "runs" / "b")
    shutil.rmtree(tmp_path / "runs" / "a")
    assert content(tmp_path / "runs" / "b") == before
    assert run_steps("c") == from_run("a", *NAMES)  # which computed it, though b has the files now
    shutil.rmtree(tmp_path / "runs" / "b")
    assert content(tmp_path / "runs" / "c") == before


def test_a_step_that_runs_again_leaves_the_files_that_it_shares(run_steps, tmp_path):
    run_steps("a")
    before = content(tmp_path / "runs" / "a")
    run_steps("b")
    assert run_steps("b", reuse=False, denoise="median", data_docs=True) == from_run(None)
    assert content(tmp_path / "runs" / "a") == before
    assert content(tmp_path / "runs" / "b")["preprocessing.json"] != before["preprocessing.json"]


def test_what_a_setting_decides_is_computed_and_no_more(run_steps, caplog):
    run_steps("a")
    with caplog.at_level(logging.INFO):
        assert run_steps("b", denoise="median") == from_run("a", "ingest_dataset", "check_data_quality")
    assert "Computed anew: differs from run a in settings (denoise)" in caplog.messages
    assert run_steps("c", seed=8) == from_run("a", "ingest_dataset", "check_data_quality")
    assert run_steps("d", min_image_side=9) == from_run("a", "ingest_dataset")
    assert run_steps("e", max_image_megapixels=49) == from_run(None)
    assert run_steps("f", epochs=3, architecture="paper_cnn", lime_samples=60) == from_run("a", *NAMES)


def test_another_image_or_another_name_is_another_data_set(run_steps, faces):
    run_steps("a")
    cv2.imwrite(str(faces / "train" / "sad" / "8.png"), noise(99))
    assert run_steps("b") == from_run(None)
    (faces / "train" / "sad" / "8.png").rename(faces / "train" / "sad" / "80.png")
    assert run_steps("c") == from_run(None)
    assert run_steps("d") == from_run("c", *NAMES)


def test_reuse_can_be_switched_off_and_what_was_computed_then_is_kept(run_steps):
    run_steps("a")
    assert run_steps("b", reuse=False) == from_run(None)
    assert run_steps("c") == from_run("b", *NAMES)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "No such file"),
        (truncate, "faces.parquet/split=test/part-00000-0.parquet has "),
        (flip_a_bit, "faces.parquet/split=test/part-00000-0.parquet holds other bytes than were written"),
    ],
)
def test_a_damaged_result_is_noticed_and_computed_again(run_steps, tmp_path, caplog, damage, said):
    run_steps("a")
    faces = tmp_path / "runs" / "a" / "faces.parquet" / "split=test" / "part-00000-0.parquet"
    whole = faces.read_bytes()
    damage(faces)
    assert run_steps("b") == from_run("a", "ingest_dataset", "check_data_quality")
    [warning] = [log.message for log in caplog.records if log.levelno == logging.WARNING and "reuse" in log.name]
    assert warning.startswith("Not reused from run a: ")
    assert said in warning
    b = tmp_path / "runs" / "b"
    assert (b / "faces.parquet" / "split=test" / "part-00000-0.parquet").read_bytes() == whole
    assert run_steps("c") == from_run("a", "ingest_dataset", "check_data_quality") | {"preprocess_faces": "b"}


def test_what_is_made_from_a_damaged_input_is_not_kept(run_steps, tmp_path):
    """Two files are missing of raw_faces, of which a reader notices nothing."""
    run_steps("a")
    run_dir = RunDirectory(tmp_path / "runs" / "a")
    for path in run_dir.raw_faces.glob(".*.crc"):
        path.unlink()
    data_quality.run(run_dir)
    assert not run_dir.result_json("check_data_quality").exists()
    assert run_dir.result_json("ingest_dataset").exists()


def test_a_refused_data_set_is_refused_each_time(run_steps, tmp_path, faces):
    shutil.rmtree(faces / "train" / "sad")
    for name in ("a", "b"):
        with pytest.raises(DataQualityError, match="sad"):
            run_steps(name)
        [attempt] = RunDirectory(tmp_path / "runs" / name).attempts("check_data_quality")
        assert (attempt.status, attempt.reused_from) == ("refused", None)


def test_data_docs_are_part_of_the_result(run_steps, tmp_path):
    run_steps("a", data_docs=True)
    assert run_steps("b", data_docs=True) == from_run("a", *NAMES)
    assert (tmp_path / "runs" / "b" / "data_docs" / "index.html").is_file()
    assert run_steps("c") == from_run("a", "ingest_dataset")
    assert not (tmp_path / "runs" / "c" / "data_docs").exists()


def test_other_code_computes_the_steps_that_it_is_part_of(run_steps, tmp_path, monkeypatch, caplog):
    run_steps("a")
    project = tmp_path / "project"
    for folder in ("fer_tasks", "spark_jobs"):
        shutil.copytree(result_basis.PROJECT / folder, project / folder)
    monkeypatch.setattr(result_basis, "PROJECT", project)
    assert run_steps("b") == from_run("a", *NAMES)
    with (project / "fer_tasks" / "face_filters.py").open("a") as source:
        source.write("# another filter\n")
    with caplog.at_level(logging.INFO):
        assert run_steps("c") == from_run("a", "ingest_dataset", "check_data_quality")
    assert "Computed anew: differs from run a in code (fer_tasks/face_filters.py)" in caplog.messages


def test_the_drawn_sample_is_reused_with_its_pictures_for_the_same_seed(spark, tmp_path):
    from spark_jobs import ingest_faces

    def ingest(name, **settings):
        run_dir = RunDirectory(tmp_path / "runs" / name)
        RunSettings(**{"sample_images": 350, **settings}).save(run_dir)
        reuse_or_run(INGEST_DATASET, run_dir, lambda: ingest_faces.main(str(run_dir)))
        return run_dir.attempts("ingest_dataset")[-1].reused_from

    assert [ingest("a"), ingest("b"), ingest("c", seed=8), ingest("d", sample_images=351)] == [None, "a", None, None]
    a, b = (content(tmp_path / "runs" / name) for name in "ab")
    assert a == b
    assert sum(path.startswith("sample/train/") for path in b) > 100
    assert b"runs" not in b["ingestion.json"]  # no path into a folder that may be deleted


TOY = ReusableStep(
    name="toy",
    module="fer_tasks.emotions",
    settings=("seed",),
    inputs=lambda run_dir: {"text": (run_dir.root.parent / "input.txt").read_text()},
    artefacts=("faces", "gate_json"),
)
"""Copies its input into two files, without Spark."""


@pytest.fixture
def run_toy(tmp_path):
    """run_toy("b") -> the run that it was reused from, or None."""
    (tmp_path / "input.txt").write_text("one")

    def run(name, **settings):
        run_dir = RunDirectory(tmp_path / name)
        RunSettings(**settings).save(run_dir)
        reuse_or_run(TOY, run_dir, lambda: make_toy(run_dir))
        return run_dir.attempts("toy")[-1].reused_from

    return run


def make_toy(run_dir):
    with run_dir.attempt("toy"):
        text = (run_dir.root.parent / "input.txt").read_text()
        with run_dir.replacing(run_dir.faces) as folder:
            folder.mkdir()
            (folder / "part").write_text(text)
        with run_dir.replacing(run_dir.gate_json) as temporary:
            temporary.write_text(text)


def toy(run_dir_path):
    return [(run_dir_path / name).read_text() for name in ("faces.parquet/part", "gate.json")]


def test_a_run_that_is_deleted_while_it_is_reused_leads_to_computing(run_toy, tmp_path, monkeypatch, caplog):
    run_toy("a")
    link_file = reuse._link_file

    def link_and_delete(source, target):
        link_file(source, target)
        shutil.rmtree(tmp_path / "a")

    monkeypatch.setattr(reuse, "_link_file", link_and_delete)
    assert run_toy("b") is None
    assert toy(tmp_path / "b") == ["one", "one"]
    assert "Not reused from run a: " in caplog.text
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "faces.parquet", "gate.json", "keys", "settings.json", "steps",
    ]  # fmt: skip


def test_a_damaged_latest_run_is_passed_over_for_the_one_before(run_toy, tmp_path):
    run_toy("a")
    run_toy("b", reuse=False)
    truncate(tmp_path / "b" / "gate.json")
    assert run_toy("c") == "a"
    (tmp_path / "c" / "keys" / "toy.json").write_text("{")
    (tmp_path / "not-a-run").write_text("")
    assert run_toy("d") == "a"


def test_runs_side_by_side_all_end_whole(run_toy, tmp_path):
    names = [str(number) for number in range(24)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(run_toy, names))
    assert None in found  # of eight that begin together, any may be the first to end
    assert found[-1] in names
    assert all(toy(tmp_path / name) == ["one", "one"] for name in names)


def test_on_another_disk_the_files_are_copied(run_toy, tmp_path, monkeypatch):
    def other_disk(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))

    monkeypatch.setattr(os, "link", other_disk)
    run_toy("a")
    assert run_toy("b") == "a"
    assert toy(tmp_path / "b") == ["one", "one"]
    assert (tmp_path / "b" / "gate.json").stat().st_nlink == 1


def test_what_was_made_while_its_input_changed_is_not_kept(run_toy, tmp_path):
    def change_and_make(run_dir):
        (tmp_path / "input.txt").write_text("two")
        make_toy(run_dir)

    run_dir = RunDirectory(tmp_path / "a")
    RunSettings().save(run_dir)
    reuse_or_run(TOY, run_dir, lambda: change_and_make(run_dir))
    assert not run_dir.result_json("toy").exists()
    assert run_toy("b") is None
    assert run_toy("c") == "b"


def test_a_retry_that_fails_takes_the_key_away(run_toy, tmp_path):
    """Or the files of the two tries would be taken for one result."""

    def lose():
        raise OSError("disk lost")

    run_toy("a")
    with pytest.raises(OSError, match="disk lost"):
        reuse_or_run(TOY, RunDirectory(tmp_path / "a"), lose)
    assert run_toy("b") is None


def test_a_disk_that_is_full_when_the_key_is_written_fails_nothing(run_toy, monkeypatch, caplog):
    save_json = RunDirectory.save_json

    def full(self, path, record):
        if path.parent.name == "keys":
            raise OSError(errno.ENOSPC, "No space left on device")
        save_json(self, path, record)

    monkeypatch.setattr(RunDirectory, "save_json", full)
    assert run_toy("a") is None
    assert "Later runs cannot reuse this result: [Errno 28] No space left on device" in caplog.text
