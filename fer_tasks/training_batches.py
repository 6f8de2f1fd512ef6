"""What a training step is fed: the order, the changes and the weights of the training faces, epoch by epoch.

tf.data's autotuning is off everywhere: when an epoch ends, its thread is waited for, and it sleeps twice as long each
time, up to a minute.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.augmentation import augment, blend, mixup_shares
from fer_tasks.dataset import Faces
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.face_filters import normalise
from fer_tasks.settings import RunSettings
from fer_tasks.training_network import side_in_epoch

if TYPE_CHECKING:
    import tensorflow as tf

_VALIDATION_BATCH = 256


class EpochPlan:
    """How many faces the steps of an epoch see, and what becomes of the faces that were drawn for a step."""

    def __init__(self, labels: NDArray[np.int32], settings: RunSettings) -> None:
        self._labels = labels
        self._settings = settings
        self._weights = balanced_weights(labels) if settings.class_weights else np.ones(len(labels), np.float32)
        self.num_faces = len(labels)
        self.batch_size = -(-min(settings.batch_size, len(labels)) // 2) * 2
        self.steps = -(-len(labels) // self.batch_size)
        self.num_images = self.steps * self.batch_size

    def side(self, epoch: int) -> int:
        """Of the crops, in pixels."""
        return side_in_epoch(self._settings, epoch)

    @cached_property
    def _tensors(self) -> tuple["tf.Tensor", "tf.Tensor"]:
        """Once for all epochs, and in main memory, where batches are made."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            return tf.constant(self._labels), tf.constant(self._weights)

    def finished(self, drawn: "tf.data.Dataset", epoch: int) -> "tf.data.Dataset":
        """drawn: for each step int64 (batch,), which faces, and their pixels, (batch, 48, 48, 1), float32 or uint8.

        float32 (batch, side, side, 1), {"target": one-hot float32 (batch, 7), "face": int64 (batch,), "share": float32
        (batch,), of itself in a face's mixture with its partner}, float32 (batch,). The images are mixed already.
        """
        import tensorflow as tf

        labels, weights = self._tensors
        side = self.side(epoch)

        def batch(step: "tf.Tensor", faces: tuple["tf.Tensor", "tf.Tensor"]) -> tuple[Any, dict[str, Any], Any]:
            chosen, images = faces[0], _normalised(faces[1])
            seed = tf.stack([self._settings.seed, epoch * 1_000_000 + step])
            if self._settings.augment:
                images = augment(images, seed, side=side, strength=self._settings.augmentation_strength)
            else:
                images = middle(images, side)
            share = mixup_shares(self.batch_size, seed, alpha=self._settings.mixup)
            answers = {"target": tf.one_hot(tf.gather(labels, chosen), NUM_EMOTIONS), "face": chosen, "share": share}
            return blend(images, share), answers, tf.gather(weights, chosen)

        return drawn.enumerate().map(batch, num_parallel_calls=2).prefetch(2).with_options(_options())


class TrainingBatches:
    """Batches of (faces, {"target": one-hot labels, "face": indices}, weights), all of one even size.

    An epoch is a shuffled pass; its last batch is filled up with faces from the beginning of the same pass, so that
    batch normalisation never sees a batch of a few. What is drawn follows from the seed and the epoch alone.
    """

    is_streamed = False
    failure = None

    def __init__(self, faces: Faces, settings: RunSettings) -> None:
        self._faces = faces
        self._seed = settings.seed
        self.plan = EpochPlan(faces.labels, settings)
        self.fingerprint = faces.fingerprint

    def indices(self, epoch: int) -> NDArray[np.int64]:
        """int64 (steps, batch size): which faces each step of `epoch` (from 1) sees."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._faces))
        return np.resize(order, (self.plan.steps, self.plan.batch_size))

    @cached_property
    def _pixels(self) -> "tf.Tensor":
        import tensorflow as tf

        with tf.device("CPU:0"):
            return tf.constant(self._faces.pixels)

    def of_epoch(self, epoch: int) -> "tf.data.Dataset":
        """The batches of `epoch` (from 1), as `EpochPlan.finished` returns them."""
        import tensorflow as tf

        pixels = self._pixels
        steps = tf.data.Dataset.from_tensor_slices(self.indices(epoch))
        drawn = steps.map(lambda chosen: (chosen, tf.gather(pixels, chosen)), num_parallel_calls=2)
        return self.plan.finished(drawn, epoch)


def validation_batches(faces: Faces, side: int) -> "tf.data.Dataset":
    """The middle of all faces, in their order: float32 (batch, side, side, 1), float32 (batch, 7)."""
    import tensorflow as tf

    labels = tf.one_hot(faces.labels, NUM_EMOTIONS)
    batches = tf.data.Dataset.from_tensor_slices((faces.pixels, labels)).batch(_VALIDATION_BATCH)
    return batches.map(lambda images, targets: (middle(_normalised(images), side), targets)).with_options(_options())


def _normalised(images: "tf.Tensor") -> "tf.Tensor":
    """`normalise` in a TensorFlow graph; faces that are float32 already stay as they are."""
    import tensorflow as tf

    if images.dtype != tf.uint8:
        return images
    return tf.gather(normalise(np.arange(256, dtype=np.uint8)), tf.cast(images, tf.int32))


def middle(pixels: Any, side: int) -> Any:
    """(n, 48, 48, 1) -> (n, side, side, 1)."""
    margin = (IMAGE_SIDE - side) // 2
    return pixels[:, margin : margin + side, margin : margin + side]


def _options() -> "tf.data.Options":
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def balanced_weights(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32 (n,): for each face the inverse of its emotion's number, scaled to a mean of 1."""
    counts = np.bincount(labels, minlength=NUM_EMOTIONS)
    weights: NDArray[np.float64] = 1 / counts[labels]
    return np.asarray(weights / weights.mean(), dtype=np.float32)
