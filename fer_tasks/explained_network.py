"""A trained network as explanations ask it: thousands of disturbed copies a call, and gradients."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.model import import_keras

FloatArray = NDArray[np.float32]

_BATCH_SIZE = 512


class Network(Protocol):
    """What explanations need to know of a classifier. faces: float32 (n, 48, 48, 1) in [0, 1]."""

    def probabilities(self, faces: FloatArray) -> FloatArray:
        """float32 (n, 7), rows sum to 1, columns in EMOTIONS order."""

    def gradients(self, faces: FloatArray, label: int) -> FloatArray:
        """float32 (n, 48, 48, 1): how the probability of emotion `label` changes with each pixel of each face."""


class ExplainedNetwork:
    """A Network of Keras. Its functions are compiled once for batches of any size, so that a last smaller one does not
    compile again."""

    def __init__(self, model: Any) -> None:
        import_keras()
        import tensorflow as tf

        def gradient(batch: Any, label: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(batch)
                probability = tf.gather(model(batch, training=False), label, axis=1)
            return tape.gradient(probability, batch)

        faces = tf.TensorSpec((None, IMAGE_SIDE, IMAGE_SIDE, 1), tf.float32)
        self._model = model
        self._forward = tf.function(lambda batch: model(batch, training=False), input_signature=[faces])
        self._gradient = tf.function(gradient, input_signature=[faces, tf.TensorSpec((), tf.int32)])

    def probabilities(self, faces: FloatArray) -> FloatArray:
        starts = range(0, len(faces), _BATCH_SIZE)
        batches = [self._forward(faces[start : start + _BATCH_SIZE]).numpy() for start in starts]
        return np.concatenate(batches) if batches else np.empty((0, NUM_EMOTIONS), np.float32)

    def gradients(self, faces: FloatArray, label: int) -> FloatArray:
        slopes: FloatArray = self._gradient(faces, label).numpy()
        return slopes

    def shuffled(self, *, seed: int) -> "ExplainedNetwork":
        """The same network with the values of every weight array in random order: it has learned nothing."""
        random = np.random.default_rng(seed)
        model = import_keras().models.clone_model(self._model)
        model.set_weights([random.permutation(w.ravel()).reshape(w.shape) for w in self._model.get_weights()])
        return ExplainedNetwork(model)
