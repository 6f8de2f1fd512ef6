"""Accuracy on parts of the test images: where the cuts lie, what is marked, and what is said where a cut is missing."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_faces import image, write

from fer_tasks import slices
from fer_tasks.dataset import Faces
from fer_tasks.errors import DatasetError


def faces_of(rows, positions):
    """The rows at these positions as test faces."""
    return Faces(
        pixels=np.zeros((len(positions), 48, 48, 1), np.float32),
        labels=np.array([rows[place]["label"] for place in positions], np.int32),
        position=np.array(positions, np.int64),
        image_id=np.array([rows[place]["image_id"] for place in positions], object),
        source=np.array([f"image-{place}.png" for place in positions], object),
    )


def grey(level, spread=10):
    """Half of the pixels `spread` above and half of them below a grey level, in broad stripes."""
    face = np.full((48, 48), level - spread, np.uint8)
    face[:, 24:] = level + spread
    return face


@pytest.fixture
def sliced(make_run):
    """sliced(wrong, champion=None, **settings) -> slices.json of 30 test faces of rising brightness after 2 others.

    The first 10 are dark, the next 10 medium. wrong: places 0..29 of the faces that the model gets wrong. The first
    training image is a copy of the first test image.
    """

    def slice_(wrong, champion=None, **settings):
        run_dir = make_run(**settings)
        test = [image(grey(20 + 5 * place), "PrivateTest", "happy") for place in range(30)]
        rows = [image(grey(20), "Training", "happy"), image(grey(251, 3), "Training", "sad"), *test]
        write(run_dir, rows)
        predicted = np.full(30, 3)
        predicted[list(wrong)] = 0
        if champion is not None:
            table = {"position": range(2, 32), "predicted": pa.array(champion, pa.int32())}
            pq.write_table(pa.table(table), run_dir.champion_predictions)
        slices.run(run_dir, faces_of(rows, range(2, 32)), predicted)
        record = json.loads(run_dir.slices_json.read_text())
        return {cut["by"]: cut for cut in record["slicings"]}, record["notes"]

    return slice_


def test_thirds_of_the_measured_brightness(sliced):
    cuts, _ = sliced(wrong=range(9))
    dark, medium, bright = cuts["brightness"]["slices"]
    assert [part["name"] for part in (dark, medium, bright)] == ["dark", "medium", "bright"]
    assert [(part["low"], part["high"], part["num_images"]) for part in (dark, medium, bright)] == [
        (20.0, 65.0, 10), (70.0, 115.0, 10), (120.0, 165.0, 10),
    ]  # fmt: skip
    assert (dark["accuracy"], medium["accuracy"], bright["accuracy"]) == (0.1, 1.0, 1.0)
    assert dark["accuracy_low"] == pytest.approx(0.0179, abs=1e-4)  # Wilson by hand: 1 of 10
    assert dark["accuracy_high"] == pytest.approx(0.4042, abs=1e-4)


def test_only_a_part_that_chance_does_not_explain_is_marked(sliced):
    cuts, _ = sliced(wrong=range(9))
    dark, medium, bright = cuts["brightness"]["slices"]
    # Fisher for 1 of 10 against 20 of 20: 10 / C(30, 9); five slices are tested, and this is the least p of them.
    assert dark["p"] == pytest.approx(5 * 10 / 14307150)
    assert dark["is_worse"]
    assert not medium["is_worse"]
    assert not bright["is_worse"]


def test_two_mistakes_more_in_a_part_are_chance(sliced):
    cuts, _ = sliced(wrong=[0, 1])
    assert cuts["brightness"]["slices"][0]["accuracy"] == 0.8
    assert not any(part["is_worse"] for cut in cuts.values() for part in cut["slices"])


def test_a_better_part_is_never_marked(sliced):
    cuts, _ = sliced(wrong=range(10, 30))
    dark = cuts["brightness"]["slices"][0]
    assert dark["p"] < 0.001
    assert not dark["is_worse"]


def test_a_copy_of_a_training_image_is_a_slice_that_says_whether_training_saw_it(sliced):
    copies = sliced(wrong=[0])[0]["duplicate of a training image"]
    assert [(part["name"], part["num_images"], part["accuracy"]) for part in copies["slices"]] == [
        ("yes", 1, 0.0), ("no", 29, 1.0),
    ]  # fmt: skip
    assert copies["note"] == "Their copies were left out of training (drop_leaked)."


def test_copies_that_training_saw(sliced):
    copies = sliced(wrong=[], drop_leaked=False)[0]["duplicate of a training image"]
    assert copies["note"] == "Their copies were kept in training (drop_leaked)."


def test_agreement_with_the_champion_is_told_and_not_tested(sliced):
    cuts, notes = sliced(wrong=range(10), champion=[3] * 30)
    same, other = cuts["agreement with the champion"]["slices"]
    assert (same["name"], same["num_images"], same["accuracy"]) == ("same emotion", 20, 1.0)
    assert (other["name"], other["num_images"], other["accuracy"]) == ("another emotion", 10, 0.0)
    assert (other["p"], other["is_worse"]) == (None, False)
    assert not any("champion" in note for note in notes)


def test_what_cannot_be_cut_is_said(sliced):
    cuts, notes = sliced(wrong=[])
    assert set(cuts) == {"brightness", "duplicate of a training image"}
    assert notes == [
        "Contrast: all test images are alike.",
        "Sharpness: all test images are alike.",
        "Agreement with the champion: there are no predictions of a champion on these images.",
    ]


def test_without_the_measurements_the_rest_is_told(make_run):
    run_dir = make_run()
    rows = [image(grey(20), "PrivateTest", "happy")]
    told = slices.run(run_dir, faces_of(rows, [0]), np.array([3]))
    assert told.slicings == ()
    assert told.notes[0] == "Brightness, contrast, sharpness and duplicates: raw_faces.parquet is not there."


def test_measurements_of_other_images_are_refused(make_run):
    run_dir = make_run()
    write(run_dir, [image(grey(20), "PrivateTest", "happy"), image(grey(30), "PrivateTest", "happy")])
    others = faces_of([image(grey(99), "PrivateTest", "happy")], [0])
    with pytest.raises(DatasetError, match="does not hold the 1 test images"):
        slices.run(run_dir, others, np.array([3]))


def test_holm_s_correction_worked_out_by_hand():
    assert slices.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert slices.holm([0.6, 0.9]) == [1.0, 1.0]
    assert slices.holm([]) == []
