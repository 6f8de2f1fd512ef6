"""How far a run's data and predictions are from those of the champion's run."""

import json
import math

import numpy as np
import pytest
from raw_faces import image, noise, undecodable, write

from fer_tasks import data_profile, drift
from fer_tasks.data_profile import DataProfile


def profile(labels=(10,) * 7, predicted=(10,) * 7, **bins):
    """bins: {measure: {bin: count}}; a measure that is not given has 70 images in bin 20."""
    measures = {}
    for name in ("brightness", "contrast", "sharpness"):
        counts = [0] * 64
        for place, count in bins.get(name, {20: 70}).items():
            counts[place] = count
        measures[name] = tuple(counts)
    return DataProfile(tuple(labels), measures, tuple(predicted))


def drift_of(subject, now, then):
    return {line.subject: line for line in drift.compare(now, then)}[subject]


def test_the_same_data_have_not_drifted():
    lines = drift.compare(profile(), profile())
    assert [line.subject for line in lines] == ["labels", "brightness", "contrast", "sharpness", "predicted"]
    assert [(line.index, line.reading) for line in lines] == [(0.0, "stable")] * 5


def test_the_index_worked_out_by_hand():
    index, chance = drift.stability_index([600, 400, 0], [400, 600, 0])
    p, q = 600.5 / 1001, 400.5 / 1001
    assert index == pytest.approx(2 * (p - q) * math.log(p / q))
    assert chance == pytest.approx(3.841459 * (1 / 1000 + 1 / 1000), rel=1e-6)  # chi-squared, 1 degree, 95%


def test_shares_of_emotions_and_their_reading():
    now, then = profile(labels=(4000, 0, 2000, 1000, 1000, 1000, 1000)), profile(labels=(1000,) + (1500,) * 6)
    line = drift_of("labels", now, then)
    assert (line.now[0], line.then[0]) == (0.4, 0.1)
    assert line.reading == "large"
    slight = profile(labels=(1500, 1000, 1500, 1500, 1500, 1500, 1500))
    assert drift_of("labels", slight, then).reading == "stable"


def test_a_few_images_are_no_drift_however_large_the_index():
    line = drift_of("predicted", profile(predicted=(4, 0, 2, 1, 1, 1, 1)), profile(predicted=(1, 1, 2, 2, 2, 1, 1)))
    assert line.index > 0.25
    assert line.reading == "stable"


@pytest.mark.parametrize("place", [3, 40])
def test_values_that_never_came_before_are_noticed_on_either_side(place):
    line = drift_of("brightness", profile(brightness={place: 500}), profile(brightness={20: 500}))
    assert line.reading == "large"
    assert (line.median_now, line.median_then) == (4 * place + 2, 82)


def test_a_moved_half_of_the_values_is_noticed():
    spread = dict.fromkeys(range(10, 30), 100)
    moved = {place + (10 if place >= 20 else 0): 100 for place in range(10, 30)}
    assert drift_of("contrast", profile(contrast=moved), profile(contrast=spread)).reading == "large"


def test_groups_hold_about_a_tenth_of_the_former_values_each():
    then = [0] * 5 + [100] * 20 + [0] * 39
    assert drift.even_groups(then).tolist() == [0, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]


def test_what_one_run_has_no_images_of_is_left_out():
    lines = drift.compare(profile(labels=(0,) * 7, sharpness={20: 0}), profile())
    assert [line.subject for line in lines] == ["brightness", "contrast", "predicted"]


def test_the_profile_counts_readable_images_with_a_known_label_and_split(make_run):
    run_dir = make_run()
    flat = np.full((48, 48), 100, np.uint8)
    flat[:, ::2] = 108
    rows = [
        image(flat, "Training", "sad"),
        image(flat, "PrivateTest", "sad"),
        image(noise(1), "Training", "nobody knows"),
        image(noise(2), "elsewhere", "sad"),
        undecodable(b"x", "Training", "sad", "no image"),
    ]
    write(run_dir, rows)
    data_profile.run(run_dir, np.array([6, 6, 0]))
    record = json.loads(run_dir.data_profile_json.read_text())
    assert record["labels"] == [0, 0, 0, 0, 2, 0, 0]
    assert record["predicted"] == [1, 0, 0, 0, 0, 0, 2]
    counts = {name: {place: n for place, n in enumerate(bins) if n} for name, bins in record["measures"].items()}
    assert counts["brightness"] == {26: 2}  # 104 of bins that are 4 grey levels wide
    assert counts["contrast"] == {2: 2}  # a standard deviation of 4, bins that are 2 wide
    assert list(counts["sharpness"].values()) == [2]


def test_the_bins_of_a_measure_take_every_value():
    assert data_profile.histogram("sharpness", np.array([0.0, 1e9])).tolist() == [1] + [0] * 62 + [1]
    assert data_profile.edges("sharpness")[[0, -1]] == pytest.approx([0, 100_000])
    assert data_profile.histogram("brightness", np.array([255.0])).sum() == 1


def test_without_the_raw_faces_only_predictions_are_counted(make_run):
    told = data_profile.run(make_run(), np.array([3]))
    assert (sum(told.labels), sum(told.predicted)) == (0, 1)
