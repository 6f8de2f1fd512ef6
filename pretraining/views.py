"""The ten views of fer_tasks/views.py as crops, for a network that takes crops and on whatever backend."""

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.views import SHIFT


def ten_crops(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """pixels: uint8 (n, 48, 48). Returns uint8 (10, n, side, side): the middle, four places about it, all mirrored."""
    padded = np.pad(pixels, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
    middle = (IMAGE_SIDE - side) // 2 + SHIFT
    near, far = middle - SHIFT, middle + SHIFT
    places = ((middle, middle), (near, near), (near, far), (far, near), (far, far))
    crops = [padded[:, row : row + side, column : column + side] for row, column in places]
    return np.stack([*crops, *(crop[:, :, ::-1] for crop in crops)])
