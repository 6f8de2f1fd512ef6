"""The cleaning plan, against plans written down by hand."""

import pytest
from raw_faces import frame, image, noise, undecodable

from fer_tasks.cleaning import SplitRoles, count_defects, count_per_split_and_emotion, plan_cleaning, split_roles
from fer_tasks.settings import RunSettings

A, B, C, D = noise(1), noise(2), noise(3), noise(4)


def exclusions(rows, **settings):
    return plan_cleaning(frame(rows), RunSettings(**settings)).exclusion_reason.tolist()


@pytest.mark.parametrize(
    ("usages", "roles"),
    [
        ({"Training", "PublicTest", "PrivateTest"}, SplitRoles("Training", "PublicTest", "PrivateTest")),
        ({"Training", "PrivateTest"}, SplitRoles("Training", None, "PrivateTest")),
        ({"Training", "PublicTest"}, SplitRoles("Training", None, "PublicTest")),
        (set(), SplitRoles("Training", None, "PublicTest")),
    ],
)
def test_private_test_is_the_test_where_there_is_one(usages, roles):
    assert split_roles(usages) == roles


def test_roles_by_usage_leave_out_what_the_set_lacks():
    assert SplitRoles("Training", None, "PublicTest").by_usage() == {"Training": "train", "PublicTest": "test"}


def test_each_unusable_image_has_its_reasons_in_words():
    rows = [
        image(A, "Training", "happy"),
        undecodable(b"", "Training", "sad", "the file\nis empty"),
        image(noise(5, 1, 2303), "Training", "sad", source="faces.csv:17"),
        image(noise(6, 1, 60), "Training", "sad", source="train/sad/strip.png"),
        image(D * 0 + 9, "Training", "sad"),
        image(B, "Training", "joy"),
        image(C, "Test", None),
    ]
    assert plan_cleaning(frame(rows), RunSettings()).quarantine_reason.tolist() == [
        None,
        "the file is empty",
        "expected 2304 pixels (48x48), got 2303",
        "60x1 pixels, smallest side allowed: 8",
        "constant image: every pixel has grey level 9",
        "label 'joy' is no emotion",
        "no label; usage 'Test' is none of Training, PublicTest, PrivateTest",
    ]


def test_training_images_are_left_out_for_the_strongest_reason():
    rows = [
        image(A, "Training", "happy"),  # also in PublicTest, and conflicting
        image(A, "Training", "sad"),
        image(A, "PublicTest", "happy"),
        image(B, "Training", "happy"),
        image(B, "Training", "sad"),
        image(C, "Training", "fear"),
        image(D, "Training", "fear"),
        image(C, "Training", "fear"),
        image(C, "Training", "fear"),
    ]
    assert exclusions(rows) == [
        *["leaked", "leaked", None],
        *["conflicting", "conflicting"],
        *[None, None, "duplicate", "duplicate"],
    ]
    assert exclusions(rows, drop_leaked=False)[:3] == ["conflicting", "conflicting", None]
    assert exclusions(rows, drop_conflicting=False)[3:5] == [None, "duplicate"]
    assert exclusions(rows, drop_duplicates=False)[5:] == [None, None, None, None]
    assert exclusions(rows, drop_leaked=False, drop_conflicting=False, drop_duplicates=False) == [None] * 9


def test_unusable_images_neither_leak_nor_conflict():
    black = A * 0
    rows = [
        image(A, "PublicTest", "joy"),
        image(A, "Training", "happy"),
        image(B, "Training", None),
        image(B, "Training", "happy"),
        image(black, "Training", "happy"),
        image(black, "PublicTest", "happy"),
        undecodable(b"x", "PublicTest", "sad", "no image"),
        undecodable(b"x", "Training", "sad", "no image"),
    ]
    plan = plan_cleaning(frame(rows), RunSettings())
    assert plan.exclusion_reason.tolist() == [None] * 8
    assert plan.survives.tolist() == [False, True, False, True, False, False, False, False]


def test_counts_are_of_the_whole_set_as_it_came():
    black = A * 0
    rows = [
        image(A, "Training", "happy"),
        image(A, "Training", "happy"),
        image(A, "PublicTest", "sad"),
        image(black, "Training", "fear"),
        image(black, "PrivateTest", "fear"),
        image(B, "Training", "angry"),
        image(B, "Training", None),
        image(C, "Training", "angry"),
        image(noise(5, 1, 2303), "Training", "sad", source="faces.csv:17"),
        undecodable(b"", "Training", "sad", "empty"),
        undecodable(b"", "Training", "sad", "empty"),
    ]
    images = frame(rows)
    assert count_defects(images, plan_cleaning(images, RunSettings())) == {
        "images": 11,
        "quarantined": 6,
        "undecodable": 2,
        "wrong_pixel_count": 1,
        "constant_images": 2,
        "duplicate_groups": 3,
        "surplus_duplicates": 4,
        "conflicting_label_groups": 1,
        "cross_split_groups": 2,
    }
    table = count_per_split_and_emotion(images)
    assert {usage: sum(emotions.values()) for usage, emotions in table.items()} == {
        "Training": 8,
        "PublicTest": 1,
        "PrivateTest": 1,
    }
    assert table["Training"] == {
        "angry": 2, "disgust": 0, "fear": 1, "happy": 2, "sad": 3, "surprise": 0, "neutral": 0,
    }  # fmt: skip


def test_an_empty_table_and_one_without_a_good_image_have_a_plan():
    assert plan_cleaning(frame([]), RunSettings()).survives.tolist() == []
    bad = frame([undecodable(b"1", "Training", "sad", "broken"), undecodable(b"2", "Training", "sad", "broken")])
    plan = plan_cleaning(bad, RunSettings())
    assert plan.quarantine_reason.tolist() == ["broken", "broken"]
    assert count_defects(bad, plan)["surplus_duplicates"] == 0
