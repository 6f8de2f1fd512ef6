"""What a network looks at for each emotion, and for each emotion's commonest confusion: LIME's weights of the parts of
the face, on average over many test images, with intervals."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS
from fer_tasks.explained_network import Network
from fer_tasks.face_regions import FACE_REGIONS, PARTS, facial_segments, filled, region_centres
from fer_tasks.lime_surrogate import FloatArray, Weights, fit_copies
from fer_tasks.sampling_designs import draw_masks
from fer_tasks.settings import RunSettings

EXPECTED_PARTS = {
    "angry": ("brows", "eyes", "mouth"),
    "disgust": ("nose", "mouth"),
    "fear": ("brows", "eyes", "mouth"),
    "happy": ("mouth",),
    "sad": ("brows", "mouth"),
    "surprise": ("eyes", "mouth"),
    "neutral": (),
}
"""Where people show an emotion most plainly, after the action units of EMFACS (W. V. Friesen and P. Ekman, 1983). A
neutral face shows none."""

COPIES = 129
"""An image: the rows of a Hadamard matrix of order 128, and the whole face."""

_NUM_RESAMPLES = 2000
_MIN_IMAGES = 5  # an interval of fewer would be one of chance itself


@dataclass(frozen=True)
class FaceSet:
    """The images of one map. rows: places in the arrays that they were chosen from. num_found: how many there were."""

    true: int
    predicted: int
    rows: tuple[int, ...]
    num_found: int


@dataclass(frozen=True)
class PartWeight:
    """weight: by how much showing this part raises the probability of the predicted emotion, mean over the images.

    share: of all positive weight. low, high: 95% intervals by bootstrap over the images; None for fewer than 5.
    size: the share of the picture that the part is. counts_more_than_its_size: its share's interval lies above that.
    """

    part: str
    weight: float
    weight_low: float | None
    weight_high: float | None
    share: float
    share_low: float | None
    share_high: float | None
    size: float
    counts_more_than_its_size: bool


@dataclass(frozen=True)
class EmotionMap:
    """What speaks for `predicted` in images of `true`; the same emotion twice where they were recognised.

    num_images: that were explained, of num_found test images. weights: mean of each of FACE_REGIONS.
    parts: of face_regions.PARTS, the largest share first.
    """

    true: str
    predicted: str
    num_images: int
    num_found: int
    weights: tuple[float, ...]
    parts: tuple[PartWeight, ...]

    @property
    def is_recognised(self) -> bool:
        return self.true == self.predicted


def choose_recognised(
    labels: NDArray[np.int32], predicted: NDArray[np.int32], image_ids: Sequence[str], *, num_images: int, seed: int
) -> list[FaceSet]:
    """For each emotion, in EMOTIONS order, up to num_images of those that were taken for what they are.

    Drawn by seed and image id, so that another model is explained on the same images as far as it knows them, too. An
    emotion of which none was recognised has no set.
    """
    pairs = [(label, label) for label in range(NUM_EMOTIONS)]
    sets = [_draw(pair, labels, predicted, image_ids, num_images, seed) for pair in pairs]
    return [chosen for chosen in sets if chosen.num_found]


def choose_confused(
    labels: NDArray[np.int32], predicted: NDArray[np.int32], image_ids: Sequence[str], *, num_images: int, seed: int
) -> list[FaceSet]:
    """The same for each emotion's commonest confusion; of two equally common ones the first in EMOTIONS order."""
    pairs = []
    for label in range(NUM_EMOTIONS):
        taken_for = Counter(predicted[(labels == label) & (predicted != label)].tolist())
        if taken_for:
            pairs.append((label, min(taken_for, key=lambda other: (-taken_for[other], other))))
    return [_draw(pair, labels, predicted, image_ids, num_images, seed) for pair in pairs]


def weigh_regions(faces: FloatArray, label: int, network: Network, settings: RunSettings) -> Weights:
    """float64 (n, 11): LIME's weights of FACE_REGIONS for the probability of emotion `label`, a row a face.

    faces: float32 (n, 48, 48) in [0, 1]. Fill, design and kernel are those of the settings.
    """
    segments = facial_segments()
    centres = region_centres(segments)
    masks = draw_masks(settings.lime_design, COPIES, centres, seed=settings.seed)
    rows = np.empty((len(faces), len(FACE_REGIONS)))
    for row, face in zip(rows, faces, strict=True):
        answers = network.of_copies(face, filled(face, segments, settings.lime_fill), segments, masks)
        row[:] = fit_copies(masks, answers, centres, settings).weights[label]
    return rows


def summarise(chosen: FaceSet, weights: Weights, *, seed: int) -> EmotionMap:
    """weights: float64 (n, 11), as `weigh_regions` found them for the images of `chosen`."""
    return EmotionMap(
        true=EMOTIONS[chosen.true],
        predicted=EMOTIONS[chosen.predicted],
        num_images=len(weights),
        num_found=chosen.num_found,
        weights=tuple(weights.mean(axis=0).tolist()),
        parts=tuple(sorted(_parts(weights, seed), key=lambda part: -part.share)),
    )


def _parts(weights: Weights, seed: int) -> list[PartWeight]:
    """Of PARTS, in their order."""
    names = list(PARTS)
    membership = np.array([[region in PARTS[part] for part in names] for region in FACE_REGIONS], np.float64)
    sizes = np.bincount(facial_segments().ravel()) @ membership / facial_segments().size
    by_part = weights @ membership
    resampled = np.random.default_rng(seed).integers(0, len(weights), (_NUM_RESAMPLES, len(weights)))
    means = by_part[resampled].mean(axis=1)
    weight_bounds, share_bounds = (np.quantile(found, (0.025, 0.975), axis=0) for found in (means, _shares(means)))
    mean, has_interval = by_part.mean(axis=0), len(weights) >= _MIN_IMAGES
    share = _shares(mean[None])[0]
    return [
        PartWeight(
            part=name,
            weight=float(mean[i]),
            weight_low=float(weight_bounds[0, i]) if has_interval else None,
            weight_high=float(weight_bounds[1, i]) if has_interval else None,
            share=float(share[i]),
            share_low=float(share_bounds[0, i]) if has_interval else None,
            share_high=float(share_bounds[1, i]) if has_interval else None,
            size=float(sizes[i]),
            counts_more_than_its_size=bool(has_interval and share_bounds[0, i] > sizes[i]),
        )
        for i, name in enumerate(names)
    ]


def _shares(weights: Weights) -> Weights:
    """float64, of rows of weights: what part of the row's positive weight each is; 0 where none is positive."""
    positive = np.maximum(weights, 0.0)
    whole = positive.sum(axis=1, keepdims=True)
    shares: Weights = positive / np.where(whole > 0, whole, 1.0)
    return shares


def _draw(
    pair: tuple[int, int],
    labels: NDArray[np.int32],
    predicted: NDArray[np.int32],
    image_ids: Sequence[str],
    num_images: int,
    seed: int,
) -> FaceSet:
    rows = np.flatnonzero((labels == pair[0]) & (predicted == pair[1])).tolist()
    lot = {row: hashlib.sha256(f"{seed}:map:{image_ids[row]}".encode()).hexdigest() for row in rows}
    drawn = sorted(rows, key=lambda row: (lot[row], row))[:num_images]
    return FaceSet(*pair, tuple(drawn), len(rows))
