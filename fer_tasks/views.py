"""Test-time augmentation: a face is predicted from several views of it and the probabilities are averaged.

The views are those of ten-crop (Krizhevsky et al. 2012): the middle and the four corners, each also mirrored. As a
model crops its input itself, a corner is seen by shifting the face, its edge pixels repeated.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.cpu_model import CpuModel
from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.model import predict_probabilities

NUM_VIEWS = 10
_SHIFT_OF_WHOLE = 2  # pixels, for a model that does not crop


def predict_views(model: Any, pixels: NDArray[np.float32], *, tta: bool) -> NDArray[np.float32]:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (v, n, 7), rows sum to 1, columns in EMOTIONS order.

    v is NUM_VIEWS, or 1 without `tta`; the first view is the face itself.
    """
    if not tta:
        return predict_probabilities(model, pixels)[None]
    shift = _shift(model)
    padded = np.pad(pixels, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    places = ((shift, shift), (0, 0), (0, 2 * shift), (2 * shift, 0), (2 * shift, 2 * shift))
    views = [padded[:, row : row + IMAGE_SIDE, column : column + IMAGE_SIDE] for row, column in places]
    return np.stack([predict_probabilities(model, view[:, :, ::step]) for step in (1, -1) for view in views])


def _shift(model: Any) -> int:
    """Pixels from the middle to a corner of what the model crops."""
    if isinstance(model, CpuModel):
        side = model.crop_side
    else:
        crops = [layer for layer in model.layers if type(layer).__name__ == "CenterCrop"]
        side = crops[0].height if crops else IMAGE_SIDE
    return (IMAGE_SIDE - side) // 2 if side < IMAGE_SIDE else _SHIFT_OF_WHOLE
