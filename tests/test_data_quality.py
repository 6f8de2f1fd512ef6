"""check_data_quality on tiny tables, with the real Great Expectations."""

import json
import logging

import pandas as pd
import pytest
import raw_faces
from raw_faces import image, noise, seven_emotions, undecodable

from fer_tasks import data_quality
from fer_tasks.data_quality import DataQuality
from fer_tasks.errors import DataQualityError

GOOD = seven_emotions({"Training": 3, "PublicTest": 1, "PrivateTest": 1})


def check(make_run, rows, **settings):
    """Run the check; the RunDirectory, and the error if it blocked."""
    run_dir = make_run(**{"min_images_per_emotion": 1, **settings})
    raw_faces.write(run_dir, rows)
    try:
        data_quality.run(run_dir)
    except DataQualityError as refusal:
        return run_dir, str(refusal)
    return run_dir, None


def record(run_dir):
    return json.loads(run_dir.data_quality_json.read_text())


def failed(run_dir):
    """{name: (severity, observed, unexpected)} of the expectations that failed."""
    return {
        outcome["name"]: (outcome["severity"], outcome["observed"], outcome["unexpected"])
        for outcome in record(run_dir)["expectations"]
        if not outcome["passed"]
    }


def reasons(path):
    table = pd.read_parquet(path)
    assert list(table.columns) == ["image_id", "source", "reason"]
    return dict(zip(table["source"], table["reason"], strict=True))


def test_a_good_set_passes_and_every_artefact_is_there(make_run):
    run_dir, refusal = check(make_run, GOOD)
    assert refusal is None
    found = record(run_dir)
    assert found["passed"] is True
    assert found["blocking"] == []
    assert failed(run_dir) == {}
    assert found["counts"] == {
        "images": 35,
        "quarantined": 0,
        "undecodable": 0,
        "wrong_pixel_count": 0,
        "constant_images": 0,
        "duplicate_groups": 0,
        "surplus_duplicates": 0,
        "conflicting_label_groups": 0,
        "cross_split_groups": 0,
    }
    assert found["images_per_split"] == {"Training": 21, "PublicTest": 7, "PrivateTest": 7}
    assert found["images_per_emotion"]["disgust"] == 5
    assert found["images_per_split_and_emotion"]["Training"]["neutral"] == 3
    assert found["exclusions"] == {"leaked": 0, "conflicting": 0, "duplicate": 0}
    assert (reasons(run_dir.quarantine), reasons(run_dir.exclusions)) == ({}, {})
    assert run_dir.load_json(run_dir.data_quality_json, DataQuality).suite == "fer_faces"
    assert not run_dir.data_docs_folder.exists()


def test_planted_defects_are_found_counted_and_listed(make_run):
    leaked, conflicting, doubled, black = noise(1), noise(2), noise(3), noise(4) * 0
    bad = [
        image(leaked, "Training", "happy", source="leaked"),
        image(leaked, "PublicTest", "happy"),
        image(conflicting, "Training", "sad", source="sad"),
        image(conflicting, "Training", "fear", source="fear"),
        image(doubled, "Training", "angry"),
        image(doubled, "Training", "angry", source="again"),
        image(black, "Training", "sad", source="black"),
        image(noise(5), "Training", "joy", source="joy"),
        undecodable(b"", "PublicTest", "sad", "the file is empty") | {"source": "empty"},
    ]
    run_dir, refusal = check(make_run, bad + GOOD, max_quarantine_share=0.1)
    assert refusal is None
    assert reasons(run_dir.quarantine) == {
        "black": "constant image: every pixel has grey level 0",
        "joy": "label 'joy' is no emotion",
        "empty": "the file is empty",
    }
    assert reasons(run_dir.exclusions) == {
        "leaked": "leaked",
        "sad": "conflicting",
        "fear": "conflicting",
        "again": "duplicate",
    }
    assert record(run_dir)["exclusions"] == {"leaked": 1, "conflicting": 2, "duplicate": 1}
    assert failed(run_dir) == {
        "splits_apart": ("warn", "2 of 44 images (4.55%)", 2),
        "decodable": ("warn", "1 of 44 images (2.27%)", 1),
        "label_known": ("warn", "1 of 44 images (2.27%)", 1),
        "not_constant": ("warn", "1 of 44 images (2.27%)", 1),
        "dynamic_range": ("warn", "1 of 43 images (2.33%)", 1),
        "brightness": ("warn", "1 of 43 images (2.33%)", 1),
        "sharpness": ("warn", "1 of 43 images (2.33%)", 1),
        "duplicates_Training": ("warn", "2 of 28 images (7.14%)", 2),
        "labels_agree": ("warn", "2 of 44 images (4.55%)", 2),
    }


def test_too_many_unusable_images_block_after_everything_is_saved(make_run):
    rows = [*GOOD, image(noise(7), "Training", "joy"), image(noise(8), "Training", "joy")]
    run_dir, refusal = check(make_run, rows)
    assert refusal == (
        "The data set was refused. At most 2.00% of the images are unusable (setting max_quarantine_share). "
        "Found: 2 of 37 images (5.41%). Most often: label 'joy' is no emotion (2). "
        "quarantine.parquet lists them; repair the data set or raise max_quarantine_share."
    )
    assert record(run_dir)["passed"] is False
    assert len(reasons(run_dir.quarantine)) == 2
    assert reasons(run_dir.exclusions) == {}
    assert run_dir.attempts("check_data_quality")[-1].status == "refused"


def test_a_share_that_is_just_allowed_passes(make_run):
    good = GOOD[:-6]  # 29 of 50 quarantined: 1 - 0.58 in floating point is above 21 / 50
    bad = [image(noise(2000 + number), "Training", "joy") for number in range(29)]
    run_dir, _ = check(make_run, good[:14] + good[21:28] + bad, max_quarantine_share=0.58)
    assert record(run_dir)["counts"]["quarantined"] == 29
    assert record(run_dir)["counts"]["images"] == 50
    assert "quarantine_share" not in failed(run_dir)


def test_an_absent_emotion_and_an_absent_test_block(make_run):
    rows = [row for row in GOOD if row["usage"] == "Training" and row["label_text"] != "disgust"]
    run_dir, refusal = check(make_run, rows)
    assert failed(run_dir)["emotions_in_training"] == ("block", "missing: disgust", None)
    assert failed(run_dir)["splits_present"] == ("block", "missing: test", None)
    assert "missing: disgust" in refusal
    assert "missing: test" in refusal


def test_an_emotion_that_only_cleaning_removes_blocks(make_run):
    rows = [row for row in GOOD if row["usage"] != "Training" or row["label_text"] != "fear"]
    leaked = next(row for row in GOOD if row["usage"] == "PublicTest" and row["label_text"] == "fear")
    run_dir, _ = check(make_run, [*rows, leaked | {"usage": "Training", "usage_text": "Training"}])
    assert record(run_dir)["images_per_split_and_emotion"]["Training"]["fear"] == 1
    assert failed(run_dir)["emotions_in_training"] == ("block", "missing: fear", None)


def test_few_images_and_an_uneven_mix_are_said_and_do_not_block(make_run):
    happy = [image(noise(3000 + number), "Training", "happy") for number in range(30)]
    run_dir, refusal = check(make_run, GOOD + happy, min_images_per_emotion=4)
    assert refusal is None
    assert failed(run_dir) == {
        "images_per_emotion": ("warn", "3", None),
        "emotion_ratio": ("report", "11", None),
    }


def test_leaks_that_the_setting_lets_stay_are_a_warning(make_run):
    leaked = [row | {"usage": "Training", "usage_text": "Training"} for row in GOOD if row["usage"] == "PublicTest"]
    run_dir, refusal = check(make_run, GOOD + leaked, drop_leaked=False)
    assert refusal is None
    assert failed(run_dir)["no_leak_after_cleaning"] == ("warn", "7 of 42 images (16.67%)", 7)
    outcome = next(one for one in record(run_dir)["expectations"] if one["name"] == "no_leak_after_cleaning")
    assert outcome["description"].endswith("The setting drop_leaked is off and lets them stay.")
    assert reasons(run_dir.exclusions) == {}


def test_another_data_set_than_the_expected_one_blocks(make_run):
    _, refusal = check(make_run, GOOD, dataset_sha256="b" * 64)
    assert "Found: 35 of 35 images (100.00%)." in refusal
    assert "dataset_sha256" in refusal


def test_the_expected_data_set_passes(make_run):
    assert check(make_run, GOOD, dataset_sha256="a" * 64)[1] is None


@pytest.mark.parametrize("rows", [[], [undecodable(b"1", "Training", "sad", "broken")]])
def test_nothing_and_nothing_usable_are_refused_in_words(make_run, rows):
    run_dir, refusal = check(make_run, rows, max_quarantine_share=1.0)
    assert "Cleaning leaves images for train, test. Found: missing: train, test." in refusal
    assert ("The data set holds an image. Found: 0." in refusal) == (not rows)
    assert record(run_dir)["counts"]["images"] == len(rows)


def test_validation_cannot_be_carved_out_of_single_images(make_run):
    _, refusal = check(make_run, seven_emotions({"Training": 1, "PublicTest": 1}))
    assert "An emotion has two training images, so that one can go to validation. Found: 1." in refusal


def test_a_source_that_stands_twice_blocks(make_run):
    _, refusal = check(make_run, [*GOOD, image(noise(9), "Training", "sad", source="image-0.png")])
    assert "Each image has a source of its own. Found: 1 of 36 images" in refusal


def test_it_is_quiet_and_data_docs_are_written_on_request(make_run, capfd, caplog):
    with caplog.at_level(logging.INFO):
        run_dir, _ = check(make_run, GOOD, data_docs=True)
    assert {log.name for log in caplog.records} == {"fer_tasks.data_quality", "fer_tasks.reuse"}
    assert capfd.readouterr().out == ""
    index = (run_dir.data_docs_folder / "index.html").read_text()
    assert "fer_faces" in index
