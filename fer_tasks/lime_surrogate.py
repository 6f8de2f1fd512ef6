"""LIME's linear stand-in for a classifier around one face, computed on whole arrays and for all emotions at once.

Sampling, kernel, ridge penalty and ImageExplanation are those of the lime package (M. T. Ribeiro, S. Singh and
C. Guestrin, "Why Should I Trust You?", KDD 2016). Its loop over copies, its batches of ten and its fit an emotion are
not: the same copies and probabilities give the same coefficients here, which a test holds to 1e-6.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.face_regions import neighbours
from fer_tasks.settings import RunSettings

FloatArray = NDArray[np.float32]
Weights = NDArray[np.float64]
Masks = NDArray[np.int64]
"""Which regions a copy shows: 0 or 1, int64 (n, regions). The first copy is the whole face."""

_RIDGE_PENALTY = 1.0  # lime's own
_PAIR_SCALE = 0.1  # a hundred times the penalty: most pairs do nothing together


@dataclass(frozen=True)
class LinearFit:
    """weights: float64 (7, regions), intercepts: float64 (7,), rows in EMOTIONS order.

    r2: float64 (7,), over the copies that were fitted, weighted by the kernel; at most 1, and 0 for a probability
    that never changes.
    """

    weights: Weights
    intercepts: Weights
    r2: Weights

    def predict(self, masks: Masks) -> Weights:
        """float64 (n, 7): what the stand-in says of these copies; not bounded to [0, 1]."""
        predicted: Weights = masks @ self.weights.T + self.intercepts
        return predicted


def random_masks(num_samples: int, num_regions: int, *, seed: int) -> Masks:
    """lime's sampling: each region of each copy is shown with probability 1/2."""
    masks: Masks = np.random.RandomState(seed).randint(0, 2, num_samples * num_regions).astype(np.int64)
    masks = masks.reshape(num_samples, num_regions)
    masks[0] = 1
    return masks


def disturbed_faces(face: FloatArray, fill: FloatArray, segments: NDArray[np.int64], masks: Masks) -> FloatArray:
    """The copies, float32 (n, 48, 48, 1): where a region is not shown, `fill` stands.

    face, fill: float32 (48, 48) in [0, 1]. segments: int64 (48, 48), the number of each pixel's region from 0.
    """
    return np.where(masks.astype(bool)[:, segments], face, fill)[..., None]


def proximity(masks: Masks, kernel_width: float) -> Weights:
    """float64 (n,) in (0, 1]: what each copy counts, by lime's kernel of its cosine distance from the whole face."""
    from lime.lime_image import LimeImageExplainer

    distances = 1.0 - np.sqrt(masks.mean(axis=1))  # the cosine distance of zeros and ones to ones only
    weights: Weights = LimeImageExplainer(kernel_width=kernel_width).base.kernel_fn(distances)
    return weights


def fit(
    masks: Masks, probabilities: FloatArray, *, kernel_width: float, pairs: NDArray[np.int64] | None = None
) -> LinearFit:
    """Ridge regression of all seven probabilities, float32 (n, 7), on what the copies show.

    pairs: int64 (pairs, 2), regions whose common effect is fitted beside their own and then left out, so that it
    disturbs no weight by chance. Without them, the weights are lime's.
    """
    from sklearn.linear_model import Ridge

    importance, num_regions = proximity(masks, kernel_width), masks.shape[1]
    shown = masks.astype(np.float64)
    if pairs is not None:
        together = np.prod(2 * masks[:, pairs] - 1, axis=2)
        shown = np.concatenate([shown, _PAIR_SCALE * together], axis=1)
    ridge = Ridge(alpha=_RIDGE_PENALTY, fit_intercept=True).fit(shown, probabilities, sample_weight=importance)
    fitted = LinearFit(ridge.coef_[:, :num_regions], ridge.intercept_, np.zeros(NUM_EMOTIONS))
    return LinearFit(fitted.weights, fitted.intercepts, r_squared(fitted, masks, probabilities, importance))


def fit_copies(
    masks: Masks, probabilities: FloatArray, centres: NDArray[np.float64], settings: RunSettings
) -> LinearFit:
    """The fit that the settings ask for: lime's own for `random` copies, else with the pairs of neighbours beside.

    centres: float64 (regions, 2), where the regions lie.
    """
    pairs = None if settings.lime_design == "random" else neighbours(centres)
    return fit(masks, probabilities, kernel_width=settings.lime_kernel_width, pairs=pairs)


def r_squared(fitted: LinearFit, masks: Masks, probabilities: FloatArray, importance: Weights) -> Weights:
    """float64 (7,): the weighted share of the variance that the stand-in accounts for, also over other copies."""
    truth = probabilities.astype(np.float64)
    mean = np.average(truth, axis=0, weights=importance)
    left = importance @ (truth - fitted.predict(masks)) ** 2
    whole = importance @ (truth - mean) ** 2
    unchanging = whole < 1e-12 * importance.sum()
    shares: Weights = np.where(unchanging, 0.0, 1.0 - left / np.where(unchanging, 1.0, whole))
    return shares


def as_lime(face: FloatArray, segments: NDArray[np.int64], fitted: LinearFit) -> Any:
    """The same as lime's ImageExplanation, for whoever knows its `get_image_and_mask`; labels 0..6."""
    from lime.lime_image import ImageExplanation

    explanation = ImageExplanation(np.repeat(face[..., None], 3, axis=-1), segments)
    explanation.intercept = dict(enumerate(fitted.intercepts.tolist()))
    for label, weights in enumerate(fitted.weights):
        order = np.argsort(-np.abs(weights), kind="stable")
        explanation.local_exp[label] = [(int(region), float(weights[region])) for region in order]
    whole = fitted.predict(np.ones((1, fitted.weights.shape[1]), np.int64))[0]
    explanation.local_pred = whole
    explanation.score = dict(enumerate(fitted.r2.tolist()))
    explanation.top_labels = [int(label) for label in np.argsort(-whole)]
    return explanation
