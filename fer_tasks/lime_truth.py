"""How much of an explanation is true, on drawn faces, of which it is known which pixels carry the expression."""

import numpy as np
from numpy.typing import NDArray

from fer_tasks.face_regions import Segments


def share_inside(weights: NDArray[np.float64], segments: Segments, mask: NDArray[np.bool_]) -> float:
    """The share of the positive weight that lies in `mask`, each region's being spread evenly over its pixels.

    weights: one a region, by the numbers of `segments`. mask: bool (48, 48). 0 where no weight is positive.
    """
    positive = np.maximum(weights, 0.0)
    if positive.sum() == 0:
        return 0.0
    sizes = np.bincount(segments.ravel(), minlength=len(weights))
    inside = np.bincount(segments.ravel(), mask.ravel().astype(np.float64), minlength=len(weights))
    return float((positive * inside / sizes).sum() / positive.sum())


def chance(mask: NDArray[np.bool_]) -> float:
    """What weight that knows nothing has inside: the share of the picture that the mask is."""
    return float(mask.mean())
