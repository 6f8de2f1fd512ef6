"""How far a measured share may be off by chance: 95% intervals of an accuracy, a recall and the macro F1."""

import math
from collections.abc import Sequence

import numpy as np

_Z = 1.959963984540054  # of a normal distribution's middle 95%


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """95% interval of the share hits / total (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def macro_f1_interval(confusion_matrix: Sequence[Sequence[int]]) -> tuple[float, float]:
    """95% interval of the mean F1 over the classes that have images: delta method, cut at 0 and 1.

    confusion_matrix: square, rows are the truth. Takahashi et al. 2022, https://doi.org/10.1007/s10489-021-02635-5.
    """
    counts = np.asarray(confusion_matrix, np.float64)
    num_images = counts.sum()
    share = counts / num_images
    present = share.sum(axis=1) > 0
    both = share.sum(axis=1) + share.sum(axis=0)  # truth and prediction: F1 is 2 * diagonal / both
    f1 = np.where(present, 2 * np.diagonal(share) / np.where(present, both, 1.0), 0.0)
    slope = np.where(present, f1 / np.where(present, both, 1.0), 0.0)
    gradient = -(slope[:, None] + slope[None, :])
    gradient[np.diag_indices_from(gradient)] += np.where(present, 2 / np.where(present, both, 1.0), 0.0)
    gradient /= present.sum()
    variance = (share * gradient**2).sum() - (share * gradient).sum() ** 2
    macro, margin = f1.sum() / present.sum(), _Z * math.sqrt(max(variance, 0.0) / num_images)
    return float(max(0.0, macro - margin)), float(min(1.0, macro + margin))
