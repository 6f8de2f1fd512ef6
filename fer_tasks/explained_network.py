"""A trained network as explanations ask it: thousands of disturbed copies a call."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.model import import_keras

FloatArray = NDArray[np.float32]

_BATCH_SIZE = 512


class ExplainedNetwork:
    """One compiled function a network, for batches of any size, so that a last smaller one does not compile again."""

    def __init__(self, model: Any) -> None:
        import_keras()
        import tensorflow as tf

        faces = tf.TensorSpec((None, IMAGE_SIDE, IMAGE_SIDE, 1), tf.float32)
        self._forward = tf.function(lambda batch: model(batch, training=False), input_signature=[faces])

    def probabilities(self, faces: FloatArray) -> FloatArray:
        """faces: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (n, 7), rows sum to 1, in EMOTIONS order."""
        starts = range(0, len(faces), _BATCH_SIZE)
        batches = [self._forward(faces[start : start + _BATCH_SIZE]).numpy() for start in starts]
        return np.concatenate(batches) if batches else np.empty((0, NUM_EMOTIONS), np.float32)
