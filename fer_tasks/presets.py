"""PRESETS: the training recipes. A preset fills every setting it names that a trigger leaves at `null`.

How each was chosen, and what did not help, is in docs/model.md.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "epochs": 12,
        "batch_size": 64,
        "learning_rate": 0.05,
        "label_smoothing": 0.1,
        "patience": 8,
        "crop_side": 40,
        "self_distillation": 0.0,
    },
    "fer2013": {
        "epochs": 30,
        "batch_size": 64,
        "learning_rate": 0.1,
        "label_smoothing": 0.1,
        "patience": 30,
        "crop_side": 40,
        "self_distillation": 0.5,
    },
}


def preset_for(name: str, dataset: str) -> dict[str, Any]:
    """The settings of preset `name`; `auto` is `sample` for the drawn faces and `fer2013` for all others."""
    if name == "auto":
        name = "sample" if dataset == "sample" else "fer2013"
    return PRESETS[name]
