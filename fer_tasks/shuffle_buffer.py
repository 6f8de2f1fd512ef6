"""ShuffleBuffer: faces that wait to be drawn, in no order, in a fixed amount of memory."""

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE

Drawn = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""int64 (n,): which faces of the training set. uint8 (n, 48, 48, 1): their grey levels."""


class ShuffleBuffer:
    """Holds at most `capacity` faces, each until it is drawn. What is drawn follows from `rng` and what was added."""

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self._faces = np.empty(capacity, np.int64)
        self._pixels = np.empty((capacity, IMAGE_SIDE, IMAGE_SIDE, 1), np.uint8)
        self._rng = rng
        self.size = 0

    def add(self, faces: NDArray[np.int64], pixels: NDArray[np.uint8]) -> None:
        """Raises ValueError when they do not fit."""
        end = self.size + len(faces)
        if end > len(self._faces):
            raise ValueError(f"{end} faces do not fit into a buffer of {len(self._faces)}.")
        self._faces[self.size : end], self._pixels[self.size : end] = faces, pixels
        self.size = end

    def draw(self, count: int) -> Drawn:
        """Take `count` of the faces out, all equally likely; the last ones move into the gaps."""
        chosen = self._rng.choice(self.size, count, replace=False)
        drawn = self._faces[chosen], self._pixels[chosen]
        self.size -= count
        gaps = chosen[chosen < self.size]
        moved = np.setdiff1d(np.arange(self.size, self.size + count), chosen)
        self._faces[gaps], self._pixels[gaps] = self._faces[moved], self._pixels[moved]
        return drawn
