"""Test-time augmentation: a face is predicted from several views of it and the probabilities are averaged.

The views are those of ten-crop (Krizhevsky et al. 2012), but for the distance: the middle, and four places diagonally
from it, each also mirrored. As a model crops its input itself, it gets the face shifted, its edge pixels repeated.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.model import predict_probabilities

NUM_VIEWS = 10
SHIFT = 2
"""Pixels each way, within what training shifts a face by. The corners of a crop of 40 lie beyond that: see
docs/model.md."""


def predict_views(model: Any, pixels: NDArray[np.float32], *, tta: bool) -> NDArray[np.float32]:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (v, n, 7), rows sum to 1, columns in EMOTIONS order.

    v is NUM_VIEWS, or 1 without `tta`; the first view is the face itself.
    """
    if not tta:
        return predict_probabilities(model, pixels)[None]
    padded = np.pad(pixels, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    places = ((SHIFT, SHIFT), (0, 0), (0, 2 * SHIFT), (2 * SHIFT, 0), (2 * SHIFT, 2 * SHIFT))
    views = [padded[:, row : row + IMAGE_SIDE, column : column + IMAGE_SIDE] for row, column in places]
    return np.stack([predict_probabilities(model, view[:, :, ::step]) for step in (1, -1) for view in views])
