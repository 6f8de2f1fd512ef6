"""The table that the quality check judges: one row an image, its measurements and what the cleaning plan says of it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_tasks.cleaning import (
    CleaningPlan,
    Flags,
    groups_with_several,
    is_constant,
    is_in_groups,
    is_repeat,
    is_undecodable,
    is_wrong_pixel_count,
)
from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS, USAGES

_MEASUREMENTS = ["num_pixels", "channels", "minimum", "maximum", "mean", "sharpness", "label"]


def quality_table(images: pd.DataFrame, plan: CleaningPlan, fingerprint: str) -> pd.DataFrame:
    """Columns as in `images`, and booleans named after defects, over all images as they came.

    repeats_in_<usage>: an earlier image of the same published split has the same pixels; null for the other splits.
    Null except for images that stay after cleaning: `split`, `test_emotion`, and for training images
    `training_emotion`, `training_images` (of its emotion), `emotion_rarity` (the largest emotion's / its emotion's).
    """
    usage = pd.Series(pd.Categorical(images["usage"], categories=USAGES))
    everything, not_training = np.ones(len(images), bool), (usage != USAGES[0]).to_numpy(bool)

    def in_mixed_group(value: "pd.Series[Any]", among: Flags = everything) -> Flags:
        return is_in_groups(plan.group, groups_with_several(plan.group, value, among))

    table = images[_MEASUREMENTS].assign(
        usage=usage.astype(object),
        fingerprint=fingerprint,
        is_repeated_source=images["source"].duplicated().to_numpy(bool),
        is_undecodable=is_undecodable(images),
        is_wrong_pixel_count=is_wrong_pixel_count(images),
        is_constant=is_constant(images),
        is_quarantined=plan.is_quarantined,
        is_unsound_survivor=plan.survives & ~_is_sound(images),
        dynamic_range=images["maximum"] - images["minimum"],
        has_conflicting_label=in_mixed_group(images["label"]),
        crosses_splits=in_mixed_group(usage),
        crosses_evaluation_splits=in_mixed_group(usage, not_training),
        leaks_after_cleaning=plan.leaks & plan.survives,
    )
    for published in USAGES:
        in_split = (usage == published).to_numpy(bool)
        table[f"repeats_in_{published}"] = _only(in_split, is_repeat(plan.group, in_split))
    return table.assign(**_after_cleaning(images["label"], usage, plan))


def _is_sound(images: pd.DataFrame) -> Flags:
    """By its measurements alone an image is fit for use: a second opinion on the quarantine."""
    sound = images["label"].between(0, NUM_EMOTIONS - 1) & images["usage"].isin(USAGES)
    sound &= (images["minimum"] >= 0) & (images["maximum"] <= 255) & (images["minimum"] < images["maximum"])
    return (sound & (images["num_pixels"] == images["height"] * images["width"])).to_numpy(bool)


def _after_cleaning(label: "pd.Series[Any]", usage: "pd.Series[Any]", plan: CleaningPlan) -> dict[str, Any]:
    # objects, not categoricals: GX would count a category that no row has as present
    emotion = label.map(dict(enumerate(EMOTIONS))).to_numpy(object)
    split = usage.astype(object).map(plan.roles.by_usage()).to_numpy(object)
    in_training = plan.survives & (split == "train")
    sizes = np.bincount(label[in_training].astype(int), minlength=NUM_EMOTIONS).astype(float)
    training_images = label.map(dict(enumerate(sizes))).where(in_training)
    return {
        "split": _only(plan.survives, split),
        "test_emotion": _only(plan.survives & (split == "test"), emotion),
        "training_emotion": _only(in_training, emotion),
        "training_images": training_images,
        "emotion_rarity": sizes.max() / training_images,
    }


def _only(flags: Flags, values: NDArray[Any]) -> NDArray[Any]:
    """The values where flagged, None elsewhere."""
    kept = np.full(len(values), None, dtype=object)
    kept[flags] = values[flags]
    return kept
