"""LIME's explanation of one face for some emotions, with the evidence for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fer_tasks.emotions import EMOTIONS
from fer_tasks.explained_network import ExplainedNetwork
from fer_tasks.lime_evidence import Evidence, gather, random_order_areas, rank_correlation
from fer_tasks.lime_surrogate import LinearFit, Masks, Weights, fit_copies, proximity, r_squared
from fer_tasks.neighbourhood import FloatArray, Neighbourhood
from fer_tasks.sampling_designs import draw_masks
from fer_tasks.settings import RunSettings

MAX_SHUFFLED_CORRELATION = 0.3
"""Explanations of a network that has learned nothing may correlate so far with the real ones (J. Adebayo et al.,
"Sanity Checks for Saliency Maps", NeurIPS 2018)."""

_NUM_SEEDS = 3  # the explanation's own, and two to judge it by


@dataclass(frozen=True)
class Surrogate:
    """LIME's linear stand-in for one emotion's probability around one face.

    weights: one a region; positive where showing the region raises the probability.
    prediction: what the stand-in says for the whole face. r2: its fit over the copies it was fitted to, at most 1.
    """

    emotion: str
    probability: float
    prediction: float
    r2: float
    weights: tuple[float, ...]
    evidence: Evidence


@dataclass(frozen=True)
class ShuffledCheck:
    """How far the explanations of the network with shuffled weights correlate (Spearman) with the real ones, on
    average over so many faces; has_passed where they differ enough."""

    num_faces: int
    rank_correlation: float
    has_passed: bool


def surrogates(around: Neighbourhood, labels: Sequence[int], *, settings: RunSettings) -> list[Surrogate]:
    """The stand-ins for the probabilities of `labels` around one face, all from the same disturbed copies.

    Deterministic for equal settings and network.
    """
    samples = _samples(around, settings, _NUM_SEEDS)
    fits = [fit_copies(*sample, around.centres, settings) for sample in samples]
    fitted, (masks, _) = fits[0], samples[0]
    held_out = _held_out_r2(fitted, samples[1:], settings)
    random_order = random_order_areas(around, seed=settings.seed)
    predictions = fitted.predict(masks[:1])[0]
    return [
        Surrogate(
            emotion=EMOTIONS[label],
            probability=float(around.probabilities[label]),
            prediction=float(predictions[label]),
            r2=float(fitted.r2[label]),
            weights=tuple(fitted.weights[label].tolist()),
            evidence=gather(
                around, label, fits, held_out_r2=float(held_out[label]), random_order=float(random_order[label])
            ),
        )
        for label in labels
    ]


def check_shuffled(
    network: ExplainedNetwork, faces: Iterable[FloatArray], explained: Sequence[Surrogate], *, settings: RunSettings
) -> ShuffledCheck | None:
    """Explain the same emotions of the same faces by the network with shuffled weights; None without a face."""
    if not explained:
        return None
    shuffled = network.shuffled(seed=settings.seed)
    correlations = []
    for face, real in zip(faces, explained, strict=True):
        around = Neighbourhood.of(face, shuffled, settings)
        (sample,) = _samples(around, settings, 1)
        fitted = fit_copies(*sample, around.centres, settings)
        correlations.append(rank_correlation(np.array(real.weights), fitted.weights[EMOTIONS.index(real.emotion)]))
    mean = float(np.mean(correlations))
    return ShuffledCheck(len(correlations), mean, mean < MAX_SHUFFLED_CORRELATION)


def _samples(around: Neighbourhood, settings: RunSettings, num_seeds: int) -> list[tuple[Masks, FloatArray]]:
    """The copies of the run's seed and of those after it, and what the network says of them, asked in one go."""
    seeds = range(settings.seed, settings.seed + num_seeds)
    design, num_samples = settings.lime_design, settings.lime_samples
    masks = [draw_masks(design, num_samples, around.centres, seed=seed) for seed in seeds]
    return list(zip(masks, np.split(around.ask(np.concatenate(masks)), num_seeds), strict=True))


def _held_out_r2(fitted: LinearFit, others: list[tuple[Masks, FloatArray]], settings: RunSettings) -> Weights:
    """float64 (7,): the fit over the copies of the other seeds."""
    masks, probabilities = (np.concatenate(parts) for parts in zip(*others, strict=True))
    return r_squared(fitted, masks, probabilities, proximity(masks, settings.lime_kernel_width))
