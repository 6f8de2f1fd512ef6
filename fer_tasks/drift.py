"""How far data and predictions have drifted since the champion's run, by the population stability index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.data_profile import DataProfile, edges

NUM_GROUPS = 10
MODERATE, LARGE = 0.1, 0.25

Reading = Literal["stable", "moderate", "large"]


@dataclass(frozen=True)
class Drift:
    """One distribution, now and in the champion's run.

    subject             `labels`, `brightness`, `contrast`, `sharpness`, `predicted`
    index               population stability index, 0 for equal shares; see `stability_index`
    chance              the index that two samples of one population stay below in 95 of 100 cases
    reading             `stable` below MODERATE or within chance, `large` from LARGE on
    now, then           shares of the emotions, in EMOTIONS order; empty for the measures of images
    median_now, median_then   of a measure: the middle of the bin that holds the median; None for the shares
    """

    subject: str
    index: float
    chance: float
    reading: Reading
    now: tuple[float, ...] = ()
    then: tuple[float, ...] = ()
    median_now: float | None = None
    median_then: float | None = None


def compare(now: DataProfile, then: DataProfile) -> tuple[Drift, ...]:
    """Every distribution that both runs have images of: labels, the three measures, predicted classes."""
    lines = [_of_emotions("labels", now.labels, then.labels)]
    lines += [
        _of_measure(name, counts, then.measures[name]) for name, counts in now.measures.items() if name in then.measures
    ]
    lines.append(_of_emotions("predicted", now.predicted, then.predicted))
    return tuple(line for line in lines if line is not None)


def stability_index(now: Sequence[int], then: Sequence[int]) -> tuple[float, float]:
    """(index, what chance explains) of two rows of counts over the same groups; a group without any is left out.

    The index is the sum over the groups of (p - q) * ln(p / q), p and q being the shares now and then, with half a
    count added to each group so that an empty one stays finite. By custom (Siddiqi 2006, "Credit Risk Scorecards")
    below 0.1 nothing has changed, up to 0.25 something, and above that a lot. Custom does not know the number of
    images: of two samples of n and m images from one population over b groups, the index divided by 1/n + 1/m is
    chi-squared with b - 1 degrees of freedom (Yurdakul and Naranjo 2020, "Statistical properties of the population
    stability index", Journal of Risk Model Validation 14), whose 95% quantile gives the second number.
    """
    from scipy.stats import chi2

    both = np.asarray([now, then], np.float64)
    one, other = both[:, both.any(axis=0)]
    p, q = (one + 0.5) / (one + 0.5).sum(), (other + 0.5) / (other + 0.5).sum()
    index = float(((p - q) * np.log(p / q)).sum())
    chance = float(chi2.ppf(0.95, max(len(one) - 1, 1)) * (1 / one.sum() + 1 / other.sum()))
    return index, chance


def read(index: float, chance: float) -> Reading:
    if index < MODERATE or index <= chance:
        return "stable"
    return "large" if index >= LARGE else "moderate"


def even_groups(then: Sequence[int]) -> NDArray[np.intp]:
    """Where to cut fine bins (indices for np.add.reduceat) into groups that hold about equally many of the counts.

    As is the custom for the index, the former sample decides: NUM_GROUPS groups at most, and where its values end, one
    below and one above them, so that values that never came before are noticed.
    """
    cumulative = np.cumsum(then) / np.sum(then)
    ends = np.searchsorted(cumulative, np.arange(1, NUM_GROUPS + 1) / NUM_GROUPS - 1e-12) + 1
    starts = np.unique(np.concatenate(([0, int(np.flatnonzero(then)[0])], ends)))
    return starts[starts < len(then)].astype(np.intp)


def _of_emotions(subject: str, now: Sequence[int], then: Sequence[int]) -> Drift | None:
    if not sum(now) or not sum(then):
        return None
    index, chance = stability_index(now, then)
    return Drift(subject, index, chance, read(index, chance), now=_shares(now), then=_shares(then))


def _of_measure(subject: str, now: Sequence[int], then: Sequence[int]) -> Drift | None:
    if not sum(now) or not sum(then):
        return None
    starts = even_groups(then)
    index, chance = stability_index(np.add.reduceat(now, starts).tolist(), np.add.reduceat(then, starts).tolist())
    medians = _median(subject, now), _median(subject, then)
    return Drift(subject, index, chance, read(index, chance), median_now=medians[0], median_then=medians[1])


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    return tuple(count / sum(counts) for count in counts)


def _median(measure: str, counts: Sequence[int]) -> float:
    place = int(np.searchsorted(np.cumsum(counts), sum(counts) / 2))
    low, high = edges(measure)[place : place + 2]
    return float((low + high) / 2)
