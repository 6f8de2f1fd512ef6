"""Two models on the same images: how far apart they are, and whether chance explains it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.errors import DatasetError

NUM_RESAMPLES = 20_000


@dataclass(frozen=True)
class PairedTest:
    """Challenger against champion on the same images; shares are in [0, 1], the difference in [-1, 1].

    only_challenger_right, only_champion_right   images that one of them has right and the other wrong
    difference                                   accuracy of the challenger less that of the champion
    difference_low, difference_high              its 95% interval: percentiles of a paired bootstrap
    mcnemar_p                                    chance of so uneven a split, either way, between equally good models
    """

    num_images: int
    challenger_accuracy: float
    champion_accuracy: float
    only_challenger_right: int
    only_champion_right: int
    difference: float
    difference_low: float
    difference_high: float
    mcnemar_p: float


def compare_paired(labels: NDArray[Any], challenger: NDArray[Any], champion: NDArray[Any], *, seed: int) -> PairedTest:
    """labels and the two predictions: int (n,), of the same images in the same order. Raises DatasetError if n == 0.

    McNemar's test is the exact one: of the images on which just one model is right, equally good models win half each
    (McNemar 1947; Dietterich 1998 recommends it for models that were trained once). The bootstrap resamples images,
    both answers to one staying together (Efron and Tibshirani 1993). An image counts +1, 0 or -1 for the difference,
    so that a resample is one multinomial draw of three counts, whatever n.
    """
    from scipy.stats import binomtest

    total = len(labels)
    if total == 0:
        raise DatasetError("There are no test images to compare two models on; the data set needs some of the split.")
    right, champion_right = challenger == labels, champion == labels
    gained, lost = int((right & ~champion_right).sum()), int((champion_right & ~right).sum())
    shares = np.array([gained, lost, total - gained - lost]) / total
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=NUM_RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / total, (0.025, 0.975))
    return PairedTest(
        num_images=total,
        challenger_accuracy=float(right.mean()),
        champion_accuracy=float(champion_right.mean()),
        only_challenger_right=gained,
        only_champion_right=lost,
        difference=(gained - lost) / total,
        difference_low=float(low),
        difference_high=float(high),
        mcnemar_p=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )
