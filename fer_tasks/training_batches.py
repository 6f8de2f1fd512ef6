"""What a training step is fed: the order, the changes and the weights of the training faces, epoch by epoch.

tf.data's autotuning is off everywhere: when an epoch ends, its thread is waited for, and it sleeps twice as long each
time, up to a minute.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.augmentation import augment
from fer_tasks.dataset import Faces
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.settings import RunSettings
from fer_tasks.training_network import trained_side

if TYPE_CHECKING:
    import tensorflow as tf

_VALIDATION_BATCH = 256


class TrainingBatches:
    """Batches of (faces, {"target": one-hot labels, "face": indices}, weights), all of one even size.

    An epoch is a shuffled pass; its last batch is filled up with faces from the beginning of the same pass, so that
    batch normalisation never sees a batch of a few. What is drawn follows from the seed and the epoch alone.
    """

    def __init__(self, faces: Faces, settings: RunSettings) -> None:
        self._faces = faces
        self._settings = settings
        self._side = trained_side(settings)
        self._batch_size = -(-min(settings.batch_size, len(faces)) // 2) * 2
        self._weights = balanced_weights(faces.labels) if settings.class_weights else np.ones(len(faces), np.float32)
        self.num_faces = len(faces)
        self.steps = -(-len(faces) // self._batch_size)
        self.num_images = self.steps * self._batch_size

    def indices(self, epoch: int) -> NDArray[np.int64]:
        """int64 (steps, batch size): which faces each step of `epoch` (from 1) sees."""
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._faces))
        return np.resize(order, (self.steps, self._batch_size))

    @cached_property
    def _tensors(self) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
        """Once for all epochs, and in main memory, where batches are made."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            return tf.constant(self._faces.pixels), tf.constant(self._faces.labels), tf.constant(self._weights)

    def of_epoch(self, epoch: int) -> "tf.data.Dataset":
        """float32 (batch, side, side, 1), {"target": float32 (batch, 7), "face": int64 (batch,)}, float32 (batch,)."""
        import tensorflow as tf

        pixels, labels, weights = self._tensors

        def batch(step: "tf.Tensor", chosen: "tf.Tensor") -> tuple["tf.Tensor", dict[str, "tf.Tensor"], "tf.Tensor"]:
            images = tf.gather(pixels, chosen)
            if self._settings.augment:
                images = augment(images, tf.stack([self._settings.seed, epoch * 1_000_000 + step]), side=self._side)
            else:
                images = middle(images, self._side)
            target = tf.one_hot(tf.gather(labels, chosen), NUM_EMOTIONS)
            return images, {"target": target, "face": chosen}, tf.gather(weights, chosen)

        steps = tf.data.Dataset.from_tensor_slices((np.arange(self.steps), self.indices(epoch)))
        return steps.map(batch, num_parallel_calls=2).prefetch(2).with_options(_options())


def validation_batches(faces: Faces) -> "tf.data.Dataset":
    """All faces in their order: float32 (batch, 48, 48, 1), float32 (batch, 7)."""
    import tensorflow as tf

    labels = tf.one_hot(faces.labels, NUM_EMOTIONS)
    return tf.data.Dataset.from_tensor_slices((faces.pixels, labels)).batch(_VALIDATION_BATCH).with_options(_options())


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
