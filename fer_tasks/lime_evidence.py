"""What speaks for an explanation: its fit, its stability, what happens when it is acted on, and another method."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fer_tasks.lime_surrogate import LinearFit, Masks, Weights
from fer_tasks.neighbourhood import Neighbourhood

MIN_HELD_OUT_R2 = 0.3
MIN_WEIGHT_CORRELATION = 0.7
MIN_GAIN = 0.05
"""An explanation below one of them is called unreliable. So is one that finds the deciding regions no better than
chance does, or that integrated gradients contradict. Ranks and the top five are no bounds: where one region decides,
the order of the others is chance, and rightly so. How they were chosen, and confirmed: docs/explanations.md."""

_NUM_TOP = 5
_NUM_RANDOM_ORDERS = 4


@dataclass(frozen=True)
class Evidence:
    """held_out_r2: fit of the stand-in over copies that it was not fitted to, at most 1.

    top5_overlap, rank_correlation: of the explanations by several seeds, mean over all pairs: Jaccard index of the
    five strongest regions, and Spearman's correlation of all weights. weight_correlation: Pearson's.
    deletion, insertion: mean probability while regions are switched off, or on, the most favourable first, over the
    share of the picture; random_order is the same for regions in random order. Good explanations have a low deletion
    and a high insertion (V. Petsiuk et al., "RISE", BMVC 2018).
    gradient_agreement: Pearson's correlation of the weights with integrated gradients on the same regions.
    doubts: why the explanation is called unreliable, in words; none where is_reliable.
    """

    held_out_r2: float
    top5_overlap: float
    rank_correlation: float
    weight_correlation: float
    deletion: float
    insertion: float
    random_order: float
    gradient_agreement: float
    is_reliable: bool
    doubts: tuple[str, ...]


def gather(
    around: Neighbourhood, label: int, fits: Sequence[LinearFit], *, held_out_r2: float, random_order: float
) -> Evidence:
    """The evidence for the first of `fits`, as an explanation of emotion `label`; the others are by other seeds.

    random_order: from `random_order_areas`, the same for all labels.
    """
    weights = [fitted.weights[label] for fitted in fits]
    pairs = list(combinations(weights, 2))
    order = np.argsort(-weights[0], kind="stable")
    removal, addition = removal_masks(order), removal_masks(order[::-1])[::-1]
    probabilities = around.ask(np.concatenate([removal, addition]))[:, label]
    judged = {
        "held_out_r2": held_out_r2,
        "weight_correlation": float(np.mean([correlation(*pair) for pair in pairs])),
        "deletion": area(probabilities[: len(removal)], removal, around.shares),
        "insertion": area(probabilities[len(removal) :], addition, around.shares),
        "random_order": random_order,
        "gradient_agreement": correlation(weights[0], around.integrated_gradients(label)),
    }
    doubts = tuple(find_doubts(**judged))
    return Evidence(
        top5_overlap=float(np.mean([top_overlap(*pair) for pair in pairs])),
        rank_correlation=float(np.mean([rank_correlation(*pair) for pair in pairs])),
        is_reliable=not doubts,
        doubts=doubts,
        **judged,
    )


def find_doubts(
    *,
    held_out_r2: float,
    weight_correlation: float,
    deletion: float,
    insertion: float,
    random_order: float,
    gradient_agreement: float,
) -> list[str]:
    """A sentence for each bound that is not kept; equality keeps it."""
    doubts = []
    if held_out_r2 < MIN_HELD_OUT_R2:
        doubts.append(f"its R² on other copies is {held_out_r2:.2f}, below {MIN_HELD_OUT_R2}")
    if weight_correlation < MIN_WEIGHT_CORRELATION:
        doubts.append(f"another seed's weights correlate by {weight_correlation:.2f}, below {MIN_WEIGHT_CORRELATION}")
    if deletion >= random_order or insertion <= random_order:
        doubts.append("its order of the regions is no better than a random one")
    elif (gain := (insertion - deletion) / 2) < MIN_GAIN:
        doubts.append(f"its strongest regions change the probability by {gain:.3f} beyond chance, below {MIN_GAIN}")
    if gradient_agreement < 0:
        doubts.append(f"integrated gradients contradict it (correlation {gradient_agreement:.2f})")
    return doubts


def random_order_areas(around: Neighbourhood, *, seed: int) -> Weights:
    """float64 (7,): mean probability while regions are switched off in random order, over the share of the picture.

    Switching on in random order has the same expectation, since it is the same in reverse.
    """
    random = np.random.default_rng(seed)
    masks = [removal_masks(random.permutation(around.num_regions)) for _ in range(_NUM_RANDOM_ORDERS)]
    probabilities = np.split(around.ask(np.concatenate(masks)), _NUM_RANDOM_ORDERS)
    areas = [
        [area(curve, mask, around.shares) for curve in probability.T]
        for mask, probability in zip(masks, probabilities, strict=True)
    ]
    means: Weights = np.mean(areas, axis=0)
    return means


def removal_masks(order: NDArray[np.int64]) -> Masks:
    """int64 (regions + 1, regions): the whole face, then without the first region of `order`, up to without any."""
    place = np.argsort(order)
    return (place[None, :] >= np.arange(len(order) + 1)[:, None]).astype(np.int64)


def area(probabilities: NDArray[np.floating], masks: Masks, shares: Weights) -> float:
    """Mean of the probabilities along the share of the picture that the masks show, by the trapezoidal rule."""
    shown = masks @ shares
    return float(np.trapezoid(probabilities, shown) * np.sign(shown[-1] - shown[0]))


def top_overlap(one: Weights, other: Weights) -> float:
    """Jaccard index of the five regions with the largest absolute weights."""
    tops = [set(np.argsort(-np.abs(weights), kind="stable")[:_NUM_TOP].tolist()) for weights in (one, other)]
    return len(tops[0] & tops[1]) / len(tops[0] | tops[1])


def correlation(one: Weights, other: Weights) -> float:
    """Pearson's; 0 where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def rank_correlation(one: Weights, other: Weights) -> float:
    """Spearman's; 0 where one of them is constant."""
    from scipy.stats import rankdata

    return correlation(rankdata(one), rankdata(other))
