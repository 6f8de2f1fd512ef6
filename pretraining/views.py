"""The ten views of fer_tasks/views.py as crops, for a network that takes crops and on whatever backend."""

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE

_SHIFT_OF_WHOLE = 2


def ten_crops(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """pixels: uint8 (n, 48, 48). Returns uint8 (10, n, side, side): the middle and the corners, then all mirrored.

    Where side is 48, corners are seen by shifting the face, its edge pixels repeated.
    """
    shift = (IMAGE_SIDE - side) // 2
    if side == IMAGE_SIDE:
        shift = _SHIFT_OF_WHOLE
        pixels = np.pad(pixels, ((0, 0), (shift, shift), (shift, shift)), mode="edge")
    places = ((shift, shift), (0, 0), (0, 2 * shift), (2 * shift, 0), (2 * shift, 2 * shift))
    crops = [pixels[:, row : row + side, column : column + side] for row, column in places]
    return np.stack([*crops, *(crop[:, :, ::-1] for crop in crops)])
