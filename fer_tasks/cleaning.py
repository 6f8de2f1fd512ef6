"""The cleaning plan: which images cannot be used, which usable training images are left out, and why.

Pure functions over the measurements of raw_faces (never its pixels), one row an image in position order. They are
vectorised over integer codes, so that millions of rows take seconds. check_data_quality judges and saves the plan,
preprocess_faces acts on it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE, NUM_EMOTIONS, NUM_PIXELS, USAGES
from fer_tasks.settings import RunSettings

EXCLUSION_REASONS = ("leaked", "conflicting", "duplicate")
"""Strongest first: an image has only the first that applies."""

_TRAINING, _PUBLIC_TEST, _PRIVATE_TEST = USAGES

Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]
Texts: TypeAlias = "pd.Series[Any]"


@dataclass(frozen=True)
class SplitRoles:
    """Which published split is which split of the pipeline. `validation` is None where Training must give it."""

    train: str
    validation: str | None
    test: str

    def by_usage(self) -> dict[str, str]:
        """{published usage: split}, for every usage that the data set needs."""
        roles = {self.train: "train", self.validation: "validation", self.test: "test"}
        return {usage: split for usage, split in roles.items() if usage is not None}


@dataclass(frozen=True)
class CleaningPlan:
    """What happens to each image; every array has one entry an image, in position order.

    quarantine_reason, exclusion_reason: str, or None where the image stays; never both.
    group: images with equal decoded pixels share a number from 0; -1 where nothing was decoded.
    leaks: usable training images whose pixels also stand in a usable evaluation image, dropped or not.
    """

    roles: SplitRoles
    quarantine_reason: NDArray[np.object_]
    exclusion_reason: NDArray[np.object_]
    group: Codes
    leaks: Flags

    @property
    def is_quarantined(self) -> Flags:
        return pd.notna(self.quarantine_reason)

    @property
    def survives(self) -> Flags:
        """Neither quarantined nor left out."""
        return ~self.is_quarantined & pd.isna(self.exclusion_reason)


def split_roles(usages: Collection[str]) -> SplitRoles:
    """Roles for a data set that publishes these usages, whatever the quality of their images.

    With a PrivateTest split that is the test and PublicTest the validation; without one PublicTest is the test.
    """
    if _PRIVATE_TEST not in usages:
        return SplitRoles(train=_TRAINING, validation=None, test=_PUBLIC_TEST)
    return SplitRoles(_TRAINING, _PUBLIC_TEST if _PUBLIC_TEST in usages else None, _PRIVATE_TEST)


def plan_cleaning(images: pd.DataFrame, settings: RunSettings) -> CleaningPlan:
    """The plan for `images`: columns of raw_faces, in position order (the first of equal images is the one kept)."""
    quarantine_reason = quarantine_reasons(images, settings.min_image_side)
    group = pixel_groups(images)
    is_usable = pd.isna(quarantine_reason)
    is_training = is_usable & (images["usage"] == _TRAINING).fillna(False).to_numpy(bool)
    leaks = is_training & is_in_groups(group, group[is_usable & ~is_training])
    return CleaningPlan(
        roles=split_roles(images["usage"].dropna().unique()),
        quarantine_reason=quarantine_reason,
        exclusion_reason=_exclusion_reasons(
            images, group=group, is_training=is_training, leaks=leaks, settings=settings
        ),
        group=group,
        leaks=leaks,
    )


def quarantine_reasons(images: pd.DataFrame, min_image_side: int) -> NDArray[np.object_]:
    """Why each image cannot be used, several reasons joined by "; "; None where it can."""
    reasons = np.full(len(images), None, dtype=object)
    for is_bad, describe in _findings(images, min_image_side):
        found = describe(images[is_bad]).to_numpy(object)
        is_first = pd.isna(reasons[is_bad])
        reasons[is_bad] = np.where(is_first, found, np.where(is_first, "", reasons[is_bad]) + "; " + found)
    return reasons


def is_undecodable(images: pd.DataFrame) -> Flags:
    return images["decode_error"].notna().to_numpy(bool)


def is_wrong_pixel_count(images: pd.DataFrame) -> Flags:
    """Rows of a CSV (source `...:<line>`) whose number of pixels is no face; raw_faces gives them the height 1."""
    flags = (images["height"] == 1).to_numpy(bool)
    flags[flags] = images["source"][flags].str.contains(r":\d+$", regex=True).to_numpy(bool)
    return flags


def is_constant(images: pd.DataFrame) -> Flags:
    """All pixels have the same grey level."""
    return (images["minimum"] == images["maximum"]).to_numpy(bool)  # never true where both are missing


def pixel_groups(images: pd.DataFrame) -> Codes:
    """A number from 0 for each distinct decoded picture, -1 for an image that was not decoded."""
    codes: Codes = pd.factorize(images["image_id"].where(images["decode_error"].isna()))[0].astype(np.int64)
    return codes


def is_repeat(group: Codes, among: Flags) -> Flags:
    """Images of `among` whose pixels stand in an earlier one of `among`."""
    repeats = np.zeros(len(group), bool)
    rows = np.flatnonzero(among & (group >= 0))
    repeats[rows] = pd.Series(group[rows]).duplicated().to_numpy(bool)
    return repeats


def groups_with_several(group: Codes, value: Texts, among: Flags) -> Codes:
    """The groups in which the images of `among` carry two or more different values; missing ones do not count."""
    pairs = pd.DataFrame({"group": group, "value": pd.factorize(value)[0]})[among & (group >= 0)]
    distinct = pairs[pairs["value"] >= 0].drop_duplicates()["group"]
    return np.unique(distinct[distinct.duplicated()].to_numpy(np.int64))


def count_defects(images: pd.DataFrame, plan: CleaningPlan) -> dict[str, int]:
    """Counts over the whole set as it came, quarantined and constant images included.

    A group is all images with the same decoded pixels; an undecodable image has none and is in no group, so the
    surplus is the number of decoded images minus the number of distinct ones.
    """
    everything = np.ones(len(images), bool)
    sizes = np.bincount(plan.group[plan.group >= 0])
    return {
        "images": len(images),
        "quarantined": int(plan.is_quarantined.sum()),
        "undecodable": int(is_undecodable(images).sum()),
        "wrong_pixel_count": int(is_wrong_pixel_count(images).sum()),
        "constant_images": int(is_constant(images).sum()),
        "duplicate_groups": int((sizes > 1).sum()),
        "surplus_duplicates": int(sizes.sum() - len(sizes)),
        "conflicting_label_groups": len(groups_with_several(plan.group, images["label"], everything)),
        "cross_split_groups": len(groups_with_several(plan.group, images["usage"], everything)),
    }


def count_per_split_and_emotion(images: pd.DataFrame) -> dict[str, dict[str, int]]:
    """{published usage: {emotion: images}}, zeros included; an image without a known usage or label is in none."""
    known = images[["usage", "label"]].dropna()
    usage = pd.Categorical(known["usage"], categories=USAGES).codes.astype(np.int64)
    cells = np.bincount(usage * NUM_EMOTIONS + known["label"].to_numpy(np.int64), minlength=len(USAGES) * NUM_EMOTIONS)
    table = cells.reshape(len(USAGES), NUM_EMOTIONS).tolist()
    return {usage: dict(zip(EMOTIONS, row, strict=True)) for usage, row in zip(USAGES, table, strict=True)}


def _findings(images: pd.DataFrame, min_image_side: int) -> list[tuple[Flags, Callable[[pd.DataFrame], Texts]]]:
    """(which images are bad, the words for these rows) for each thing that makes an image unusable."""
    wrong_count = is_wrong_pixel_count(images)
    is_small = (images[["height", "width"]].min(axis=1) < min_image_side).to_numpy(bool)
    expected_pixels = f"expected {NUM_PIXELS} pixels ({IMAGE_SIDE}x{IMAGE_SIDE}), got "
    return [
        (is_undecodable(images), lambda bad: _shown(bad["decode_error"])),
        (wrong_count, lambda bad: expected_pixels + _whole(bad["num_pixels"])),
        (
            is_small & ~wrong_count,
            lambda bad: (
                _whole(bad["width"]) + "x" + _whole(bad["height"]) + f" pixels, smallest side allowed: {min_image_side}"
            ),
        ),
        (is_constant(images), lambda bad: "constant image: every pixel has grey level " + _whole(bad["minimum"])),
        (images["label"].isna().to_numpy(bool), lambda bad: _unknown(bad["label_text"], "label", "no emotion")),
        (
            images["usage"].isna().to_numpy(bool),
            lambda bad: _unknown(bad["usage_text"], "usage", f"none of {', '.join(USAGES)}"),
        ),
    ]


def _exclusion_reasons(
    images: pd.DataFrame, *, group: Codes, is_training: Flags, leaks: Flags, settings: RunSettings
) -> NDArray[np.object_]:
    reasons = np.full(len(images), None, dtype=object)
    if settings.drop_leaked:
        reasons[leaks] = "leaked"
    if settings.drop_conflicting:
        conflicting = is_training & is_in_groups(group, groups_with_several(group, images["label"], is_training))
        reasons[conflicting & pd.isna(reasons)] = "conflicting"
    if settings.drop_duplicates:
        reasons[is_repeat(group, is_training & pd.isna(reasons))] = "duplicate"
    return reasons


def is_in_groups(group: Codes, wanted: Codes) -> Flags:
    is_wanted = np.zeros(group.max(initial=-1) + 2, bool)  # the last entry answers for -1
    is_wanted[wanted[wanted >= 0]] = True
    return is_wanted[group]


def _shown(values: Texts, characters: int = 300) -> Texts:
    """Foreign text fit for one line of a report."""
    return values.astype(object).str.replace(r"\s+", " ", regex=True).str.slice(0, characters)


def _whole(values: Texts) -> Texts:
    return values.astype("int64").astype(str)


def _unknown(values: Texts, what: str, expected: str) -> Texts:
    """`no label` where there is none, else the text that came."""
    given = values.astype(object).fillna("")
    return pd.Series(np.where(given == "", f"no {what}", f"{what} '" + _shown(given, 60) + f"' is {expected}"))
