"""The suite that Great Expectations checks the images against, with severities: block, warn or report.

All images are judged as they came, except where a description says otherwise. Not here is what needs something beside
the data set's measurements: agreement with FER+ labels, label noise in a model's opinion, drift against a former run,
and near-duplicates (they need the pixels).
"""

from functools import partial
from typing import Any

from fer_tasks.cleaning import SplitRoles
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE, NUM_PIXELS, SPLITS, USAGES
from fer_tasks.settings import RunSettings

SUITE_NAME = "fer_faces"

SEVERITIES = {"critical": "block", "warning": "warn", "info": "report"}
"""GX's severities and what they mean here."""

MAX_DUPLICATE_SHARE = 0.02
MAX_UNUSUAL_SHARE = 0.01
MAX_EMOTION_RATIO = 10
MIN_DYNAMIC_RANGE = 32
MEAN_GREY_LEVELS = (10, 245)
MIN_SHARPNESS = 30


def face_expectations(settings: RunSettings, roles: SplitRoles) -> list[Any]:
    """The suite's expectations over `quality_table`; each has its name in `meta` and its description in words."""
    return [
        *_whole_set(settings, roles),
        *_leaks(settings),
        *_single_images(),
        *_duplicates(),
        *_mix(settings),
    ]


def _named(severity: str, kind: Any, name: str, description: str, **arguments: Any) -> Any:
    return kind(severity=severity, meta={"name": name}, description=description, **arguments)


_blocks = partial(_named, "critical")
_warns = partial(_named, "warning")
_reports = partial(_named, "info")


def _whole_set(settings: RunSettings, roles: SplitRoles) -> list[Any]:
    from great_expectations import expectations as gxe

    is_in, never = gxe.ExpectColumnValuesToBeInSet, {"value_set": [False]}
    share = settings.max_quarantine_share
    wanted = [
        _blocks(gxe.ExpectTableRowCountToBeBetween, "images_present", "The data set holds an image.", min_value=1),
        _blocks(is_in, "sources_unique", "Each image has a source of its own.", column="is_repeated_source", **never),
        _blocks(
            is_in,
            "quarantine_share",
            f"At most {share:.2%} of the images are unusable (setting max_quarantine_share).",
            column="is_quarantined",
            mostly=round(1 - share, 12),  # 1 - 0.58 is a little above 0.42 and would refuse an allowed share
            **never,
        ),
        _blocks(
            is_in,
            "survivors_sound",
            "What cleaning leaves has 2 or more grey levels of 0 to 255, a label of 0 to 6 and a known split.",
            column="is_unsound_survivor",
            **never,
        ),
        *_what_cleaning_leaves(roles),
    ]
    if expected := settings.dataset_sha256:
        text = "The data set's fingerprint is the one in the setting dataset_sha256."
        wanted.append(_blocks(is_in, "fingerprint", text, column="fingerprint", value_set=[expected]))
    return wanted


def _what_cleaning_leaves(roles: SplitRoles) -> list[Any]:
    from great_expectations import expectations as gxe

    contains, largest = gxe.ExpectColumnDistinctValuesToContainSet, gxe.ExpectColumnMaxToBeBetween
    splits = [split for split in SPLITS if split in roles.by_usage().values()]
    each_emotion = "Cleaning leaves a training image of each emotion."
    wanted = [
        _blocks(
            contains,
            "splits_present",
            f"Cleaning leaves images for {', '.join(splits)}.",
            column="split",
            value_set=splits,
        ),
        _blocks(contains, "emotions_in_training", each_emotion, column="training_emotion", value_set=list(EMOTIONS)),
    ]
    if roles.validation is None:
        two = "An emotion has two training images, so that one can go to validation."
        wanted.append(_blocks(largest, "validation_possible", two, column="training_images", min_value=2))
    return wanted


def _leaks(settings: RunSettings) -> list[Any]:
    from great_expectations import expectations as gxe

    is_in, never = gxe.ExpectColumnValuesToBeInSet, {"value_set": [False]}
    after = "After cleaning no training image has the pixels of a validation or test image."
    if not settings.drop_leaked:
        after += " The setting drop_leaked is off and lets them stay."
    judge = _blocks if settings.drop_leaked else _warns
    return [
        judge(is_in, "no_leak_after_cleaning", after, column="leaks_after_cleaning", **never),
        _warns(is_in, "splits_apart", "No pixels stand in two published splits.", column="crosses_splits", **never),
        _warns(
            is_in,
            "evaluation_splits_apart",
            "No pixels stand in both PublicTest and PrivateTest.",
            column="crosses_evaluation_splits",
            **never,
        ),
    ]


def _single_images() -> list[Any]:
    from great_expectations import expectations as gxe

    is_in, not_null, never = gxe.ExpectColumnValuesToBeInSet, gxe.ExpectColumnValuesToNotBeNull, {"value_set": [False]}
    between, mostly = gxe.ExpectColumnValuesToBeBetween, {"mostly": 1 - MAX_UNUSUAL_SHARE}
    share, (dark, bright) = f"{1 - MAX_UNUSUAL_SHARE:.0%}", MEAN_GREY_LEVELS
    return [
        _warns(is_in, "decodable", "Every image can be decoded.", column="is_undecodable", **never),
        _warns(
            is_in, "pixel_count", f"Every row of a CSV has {NUM_PIXELS} pixels.", column="is_wrong_pixel_count", **never
        ),
        _warns(not_null, "label_known", "Every label is one of the seven emotions.", column="label"),
        _warns(not_null, "usage_known", f"Every split is one of {', '.join(USAGES)}.", column="usage"),
        _warns(is_in, "not_constant", "No image is a single grey level.", column="is_constant", **never),
        _warns(
            between,
            "dynamic_range",
            f"{share} of the images span {MIN_DYNAMIC_RANGE} grey levels or more.",
            column="dynamic_range",
            min_value=MIN_DYNAMIC_RANGE,
            **mostly,
        ),
        _warns(
            between,
            "brightness",
            f"{share} of the images have a mean grey level of {dark} to {bright}.",
            column="mean",
            min_value=dark,
            max_value=bright,
            **mostly,
        ),
        _warns(
            between,
            "sharpness",
            f"{share} of the images have a variance of the Laplacian of {MIN_SHARPNESS} or more.",
            column="sharpness",
            min_value=MIN_SHARPNESS,
            **mostly,
        ),
        _reports(is_in, "stored_grey", "Every image is stored in grey.", column="channels", value_set=[1]),
        _reports(
            is_in,
            "stored_size",
            f"Every image has {IMAGE_SIDE}x{IMAGE_SIDE} pixels.",
            column="num_pixels",
            value_set=[NUM_PIXELS],
        ),
    ]


def _duplicates() -> list[Any]:
    from great_expectations import expectations as gxe

    is_in, never = gxe.ExpectColumnValuesToBeInSet, {"value_set": [False]}
    rates = [
        _warns(
            is_in,
            f"duplicates_{usage}",
            f"At most {MAX_DUPLICATE_SHARE:.0%} of {usage} repeat an earlier image of it.",
            column=f"repeats_in_{usage}",
            mostly=1 - MAX_DUPLICATE_SHARE,
            **never,
        )
        for usage in USAGES
    ]
    text = "Images with equal pixels have equal labels."
    return [*rates, _warns(is_in, "labels_agree", text, column="has_conflicting_label", **never)]


def _mix(settings: RunSettings) -> list[Any]:
    from great_expectations import expectations as gxe

    fewest = settings.min_images_per_emotion
    return [
        _warns(
            gxe.ExpectColumnMinToBeBetween,
            "images_per_emotion",
            f"Cleaning leaves {fewest} training images of each emotion (setting min_images_per_emotion).",
            column="training_images",
            min_value=fewest,
        ),
        _warns(
            gxe.ExpectColumnDistinctValuesToContainSet,
            "emotions_in_test",
            "Cleaning leaves a test image of each emotion.",
            column="test_emotion",
            value_set=list(EMOTIONS),
        ),
        _reports(
            gxe.ExpectColumnMaxToBeBetween,
            "emotion_ratio",
            f"The largest emotion has at most {MAX_EMOTION_RATIO} times the training images of the smallest.",
            column="emotion_rarity",
            max_value=MAX_EMOTION_RATIO,
        ),
    ]
