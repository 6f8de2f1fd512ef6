"""preprocess_faces on tiny tables in a real Spark, after the real check_data_quality."""

import hashlib
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import raw_faces
from raw_faces import image, noise, seven_emotions

from fer_tasks import data_quality
from fer_tasks.errors import DatasetError
from fer_tasks.preprocessing import Preprocessing

THREE_SPLITS = seven_emotions({"Training": 2, "PublicTest": 1, "PrivateTest": 1})


@pytest.fixture
def preprocess(spark, make_run):
    from spark_jobs import preprocess_faces

    def run(rows, **settings):
        run_dir = make_run(**{"min_images_per_emotion": 1, "max_quarantine_share": 0.5, **settings})
        raw_faces.write(run_dir, rows)
        data_quality.run(run_dir)
        preprocess_faces.main(str(run_dir))
        return run_dir

    return run


def read(run_dir):
    """All faces, in the order of the splits' names, then of the files' names."""
    files = sorted(run_dir.faces.rglob("*.parquet"))
    tables = [pq.ParquetFile(file).read().to_pandas().assign(split=file.parent.name.split("=")[1]) for file in files]
    return pd.concat(tables, ignore_index=True)


def record(run_dir):
    return run_dir.load_json(run_dir.preprocessing_json, Preprocessing)


def content(run_dir):
    return {
        str(file.relative_to(run_dir.faces)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in run_dir.faces.rglob("*.parquet")
    }


def test_published_splits_become_train_validation_and_test(preprocess):
    run_dir = preprocess(THREE_SPLITS)
    faces = read(run_dir)
    assert list(faces.columns) == ["position", "image_id", "source", "label", "augmentation", "pixels", "split"]
    assert faces.groupby("split")["position"].apply(list).to_dict() == {
        "train": [*range(14)],
        "validation": [*range(14, 21)],
        "test": [*range(21, 28)],
    }
    assert faces[faces["split"] == "train"]["label"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert faces["augmentation"].isna().all()
    for face in faces.itertuples():
        raw = np.frombuffer(THREE_SPLITS[face.position]["pixels"], np.uint8)
        assert face.pixels.dtype == np.float32
        np.testing.assert_array_equal(face.pixels, raw.astype(np.float32) / 255)
        assert face.image_id == hashlib.sha256(raw.tobytes()).hexdigest()
        assert face.source == f"image-{face.position}.png"


def test_the_record_says_where_every_image_went(preprocess):
    public = next(row for row in THREE_SPLITS if row["usage"] == "PublicTest")
    more = [
        image(noise(1), "Training", "joy"),
        public | {"usage": "Training", "usage_text": "Training"},
        THREE_SPLITS[0],
        public | {"usage": "PrivateTest", "usage_text": "PrivateTest"},
    ]
    found = record(preprocess(THREE_SPLITS + more))
    assert (found.images_read, found.quarantined) == (32, 1)
    assert found.excluded == {"leaked": 1, "conflicting": 0, "duplicate": 1}
    assert found.faces_per_split == {"train": 14, "validation": 7, "test": 8}
    assert found.faces_per_split_and_emotion["test"] == {
        "angry": 2, "disgust": 1, "fear": 1, "happy": 1, "sad": 1, "surprise": 1, "neutral": 1,
    }  # fmt: skip
    assert found.roles == {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    assert (found.validation_is_carved, found.augmented_copies, found.shared_by_evaluation_splits) == (False, 0, 1)


def test_validation_is_carved_by_emotion_and_keeps_equal_pictures_together(preprocess):
    rows = seven_emotions({"Training": 10, "PublicTest": 1})
    rows += [row | {"source": f"again-{number}"} for number, row in enumerate(rows[:70])]
    run_dir = preprocess(rows, validation_share=0.2, drop_duplicates=False)
    faces = read(run_dir)
    assert record(run_dir).validation_is_carved
    assert record(run_dir).faces_per_split_and_emotion["validation"] == dict.fromkeys(raw_faces.LABELS, 4)
    assert record(run_dir).faces_per_split == {"train": 112, "validation": 28, "test": 7}
    splits_of_a_picture = faces.groupby("image_id")["split"].nunique()
    assert splits_of_a_picture.max() == 1


def test_equal_pictures_with_different_labels_stay_together_too(spark):
    from spark_jobs.preprocess_faces import choose_validation

    pictures = [(f"picture-{number}", label) for number in range(40) for label in (0, 1)]
    training = spark.createDataFrame(pictures, "image_id string, label int")
    chosen = choose_validation(training, share=0.25, seed=3)
    assert chosen.count() == 10
    assert chosen.distinct().count() == 10


def test_a_tenth_is_at_least_one_and_never_all(spark):
    from spark_jobs.preprocess_faces import choose_validation

    sizes = {0: 1, 1: 2, 2: 4, 3: 30}
    pictures = [(f"{label}-{number}", label) for label, size in sizes.items() for number in range(size)]
    training = spark.createDataFrame(pictures, "image_id string, label int")
    chosen = choose_validation(training, share=0.1, seed=3).join(training, "image_id").groupBy("label").count()
    assert {row["label"]: row["count"] for row in chosen.collect()} == {1: 1, 2: 1, 3: 3}


def test_balancing_adds_changed_copies_to_training_alone(preprocess):
    happy = [image(noise(5000 + number), "Training", "happy") for number in range(5)]
    run_dir = preprocess(THREE_SPLITS + happy, balance_emotions=True, max_copies=2)
    found, faces = record(run_dir), read(run_dir)
    six = dict.fromkeys(raw_faces.LABELS, 6)  # 2 originals and 2 copies of each; 7 happy ones need none
    assert found.faces_per_split_and_emotion["train"] == six | {"happy": 7}
    assert found.faces_per_split == {"train": 43, "validation": 7, "test": 7}
    assert found.augmented_copies == 24
    copies = faces[faces["augmentation"].notna()]
    assert len(copies) == 24
    assert set(copies["split"]) == {"train"}
    assert copies["position"].min() >= 33
    assert faces["position"].is_unique
    for copy in copies.itertuples():
        original = faces[(faces["source"] == copy.source) & faces["augmentation"].isna()].iloc[0]
        assert (original["image_id"], original["label"]) == (copy.image_id, copy.label)
        assert np.abs(original["pixels"] - copy.pixels).mean() > 0.01
        assert 0 <= copy.pixels.min() <= copy.pixels.max() <= 1


def test_same_seed_gives_the_same_files_and_another_seed_another_validation(preprocess, spark):
    rows = seven_emotions({"Training": 6, "PublicTest": 1})
    settings = {"balance_emotions": True, "denoise": "median", "contrast": "clahe"}
    first = preprocess(rows, **settings)
    before, validation = content(first), set(read(first).query("split == 'validation'")["position"])
    from spark_jobs import preprocess_faces

    partitions = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    preprocess_faces.main(str(first))
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    assert content(first) == before
    first.settings_json.write_text('{"seed": 8}')
    preprocess_faces.main(str(first))
    assert set(read(first).query("split == 'validation'")["position"]) != validation


def test_images_of_other_sizes_become_faces(preprocess):
    block = np.kron(noise(6), np.ones((3, 3), np.uint8))
    wide = [image(block, "Training", "sad"), image(noise(7, 20, 30), "PublicTest", "sad")]
    run_dir = preprocess(THREE_SPLITS + wide)
    faces = read(run_dir).set_index("source")
    np.testing.assert_array_equal(faces.loc["image-28.png", "pixels"] * 255, noise(6).ravel())
    assert len(faces.loc["image-29.png", "pixels"]) == 48 * 48


def test_files_stay_near_one_byte_a_pixel(preprocess):
    rows = seven_emotions({"Training": 100, "PublicTest": 20, "PrivateTest": 20})
    run_dir = preprocess(rows, denoise="gaussian")
    files = list(run_dir.faces.rglob("*.parquet"))
    assert sum(file.stat().st_size for file in files) / (980 * 2304) < 1.3
    assert record(run_dir).bytes_per_pixel < 1.3


def test_tables_of_another_ingestion_are_refused_and_nothing_is_left(preprocess, make_run):
    from spark_jobs import preprocess_faces

    run_dir = preprocess(THREE_SPLITS)
    before = content(run_dir)
    stray = pd.DataFrame({"image_id": ["x"], "source": ["elsewhere.png"], "reason": ["broken"]})
    stray.to_parquet(run_dir.quarantine)
    with pytest.raises(
        DatasetError, match=r"Expected 27 usable images after cleaning, got 28.*Clear check_data_quality"
    ):
        preprocess_faces.main(str(run_dir))
    assert content(run_dir) == before
    assert run_dir.attempts("preprocess_faces")[-1].status == "refused"
    assert [path.name for path in run_dir.root.glob(".*")] == []


def test_a_leak_that_was_not_planned_for_is_refused(preprocess):
    from spark_jobs import preprocess_faces

    leaked = THREE_SPLITS[-1] | {"usage": "Training", "usage_text": "Training"}
    run_dir = preprocess([*THREE_SPLITS, leaked], drop_leaked=False)
    assert record(run_dir).faces_per_split == {"train": 15, "validation": 7, "test": 7}
    run_dir.settings_json.write_text("{}")
    with pytest.raises(DatasetError, match="1 pictures stand in train and in an evaluation split"):
        preprocess_faces.main(str(run_dir))


def test_an_empty_split_is_refused(preprocess):
    from spark_jobs import preprocess_faces

    run_dir = preprocess(THREE_SPLITS)
    test_images = [row["source"] or f"image-{place}.png" for place, row in enumerate(THREE_SPLITS)][21:]
    excluded = pd.DataFrame({"image_id": "x", "source": test_images, "reason": "broken"})
    excluded.to_parquet(run_dir.quarantine)
    with pytest.raises(DatasetError, match="No face is left for test"):
        preprocess_faces.main(str(run_dir))


def test_a_refusal_is_one_line_and_exit_status_65(preprocess, monkeypatch, capsys):
    from spark_jobs import preprocess_faces

    run_dir = preprocess(THREE_SPLITS)
    run_dir.settings_json.write_text('{"denoise": "sharpen"}')
    monkeypatch.setattr(sys, "argv", ["preprocess_faces.py", "--run-dir", str(run_dir)])
    with pytest.raises(SystemExit) as ended:
        preprocess_faces.run_job(preprocess_faces.main)
    assert ended.value.code == 65
    assert capsys.readouterr().err.splitlines() == [
        "SettingsError: Setting 'denoise' is 'sharpen'; allowed: none, median, gaussian, nlmeans."
    ]
