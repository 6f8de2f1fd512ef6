"""Test-time augmentation: a face is predicted from several views of it and the probabilities are averaged.

The views are ten-crop's (Krizhevsky et al. 2012): the four corners and the middle, each also mirrored; here a crop is
scaled back to the model's input. The whole face comes first, so that its row is the prediction without augmentation.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.model import predict_probabilities

CROP_SIDE = 44
_REST = IMAGE_SIDE - CROP_SIDE
_CORNERS = ((0, 0), (0, _REST), (_REST, 0), (_REST, _REST), (_REST // 2, _REST // 2))
NUM_VIEWS = 2 * (1 + len(_CORNERS))


def predict_views(model: Any, pixels: NDArray[np.float32], *, tta: bool) -> NDArray[np.float32]:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (v, n, 7), rows sum to 1, columns in EMOTIONS order.

    v is NUM_VIEWS, or 1 without `tta`; the first view is the face itself.
    """
    if not tta:
        return predict_probabilities(model, pixels)[None]
    if not len(pixels):
        return np.empty((NUM_VIEWS, 0, NUM_EMOTIONS), np.float32)
    whole = [pixels, *(_crops(pixels, row, column) for row, column in _CORNERS)]
    return np.stack([predict_probabilities(model, view[:, :, ::step]) for step in (1, -1) for view in whole])


def _crops(pixels: NDArray[np.float32], row: int, column: int) -> NDArray[np.float32]:
    """float32 (n, 48, 48, 1): of each face the crop whose upper left corner is at row, column, enlarged."""
    crops = pixels[:, row : row + CROP_SIDE, column : column + CROP_SIDE, 0]
    return np.stack([cv2.resize(crop, (IMAGE_SIDE, IMAGE_SIDE)) for crop in crops])[..., None]
