"""Results taken over from former runs: by whom, when not, and that nobody's files suffer from it."""

import ast
import errno
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from raw_faces import LABELS, noise

from fer_tasks import data_quality, ingestion, result_basis, reuse
from fer_tasks.data_quality import CHECK_DATA_QUALITY
from fer_tasks.errors import DataQualityError
from fer_tasks.ingestion import INGEST_DATASET, SAMPLE_SETTINGS_READ
from fer_tasks.preprocessing import PREPROCESS_FACES
from fer_tasks.result_basis import code_sha256
from fer_tasks.reuse import reuse_or_run
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

STEPS = (INGEST_DATASET, CHECK_DATA_QUALITY, PREPROCESS_FACES)
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
