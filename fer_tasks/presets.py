"""PRESETS: the training recipes. A preset fills every setting it names that a trigger leaves at `null`.

How each was chosen, and what did not help, is in docs/model.md.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "network_width": 0.5,
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 0.05,
        "label_smoothing": 0.1,
        "patience": 8,
        "crop_side": 40,
        "first_crop_side": 48,
        "self_distillation": 0.0,
        "augmentation_strength": 0.8,
        "mixup": 0.0,
        "weight_averaging": 0.99,
    },
    "fer2013": {
        "network_width": 0.75,
        "epochs": 84,
        "batch_size": 128,
        "learning_rate": 0.1,
        "label_smoothing": 0.1,
        "patience": 84,
        "crop_side": 40,
        "first_crop_side": 32,
        "self_distillation": 0.9,
        "augmentation_strength": 1.0,
        "mixup": 0.0,
        "weight_averaging": 0.999,
    },
    "fine_tuning": {
        "network_width": 1.0,
        "epochs": 6,
        "batch_size": 32,
        "learning_rate": 0.01,
        "label_smoothing": 0.1,
        "patience": 6,
        "crop_side": 44,
        "first_crop_side": 48,
        "self_distillation": 0.0,
        "augmentation_strength": 1.0,
        "mixup": 0.0,
        "weight_averaging": 0.99,
    },
}


def preset_for(name: str, is_sample: bool, initial_weights: str) -> dict[str, Any]:
    """The settings of preset `name`. `auto`: `fine_tuning` with initial weights, else `sample` or `fer2013`, as the
    data set is."""
    if name == "auto":
        name = "sample" if is_sample else "fer2013"
        name = name if initial_weights == "none" else "fine_tuning"
    return PRESETS[name]
