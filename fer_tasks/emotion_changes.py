"""What a new model changes for each emotion against the champion, on the same test images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS


@dataclass(frozen=True)
class EmotionChange:
    """The test images that show one emotion. The recalls are shares of them in [0, 1], None where there is no image.

    gained: those that only the new model has right; lost: those that only the champion has right.
    """

    emotion: str
    num_images: int
    recall: float | None
    champion_recall: float | None
    gained: int
    lost: int


def count_changes(labels: NDArray[Any], predicted: NDArray[Any], champion: NDArray[Any]) -> tuple[EmotionChange, ...]:
    """One line an emotion, in EMOTIONS order. labels and the two predictions: int (n,), of the same images."""
    right, champion_right = predicted == labels, champion == labels
    return tuple(
        _change(emotion, right[labels == number], champion_right[labels == number])
        for number, emotion in enumerate(EMOTIONS)
    )


def _change(emotion: str, right: NDArray[np.bool_], champion_right: NDArray[np.bool_]) -> EmotionChange:
    total = len(right)
    return EmotionChange(
        emotion=emotion,
        num_images=total,
        recall=float(right.mean()) if total else None,
        champion_recall=float(champion_right.mean()) if total else None,
        gained=int((right & ~champion_right).sum()),
        lost=int((champion_right & ~right).sum()),
    )
