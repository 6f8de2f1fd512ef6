"""A trained network as explanations ask it: thousands of disturbed copies a call, and gradients."""

import logging
import os
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_tasks.cpu_model import ParallelCpuModel
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import TrainingError
from fer_tasks.face_regions import Segments
from fer_tasks.inference_network import inference_network, without_crop
from fer_tasks.lime_surrogate import Masks, disturbed_faces
from fer_tasks.model import choose_precision, has_gpu, import_keras

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

MIN_INT8_R2 = 0.99
"""Share of the variance of the exact answers that int8 has to account for, or it is not used."""

_BATCH_SIZE = 1024
_NUM_PROBES = 64


class Network(Protocol):
    """What explanations need to know of a classifier. faces: float32 (n, 48, 48, 1) in [0, 1]."""

    def probabilities(self, faces: FloatArray) -> FloatArray:
        """float32 (n, 7), rows sum to 1, columns in EMOTIONS order."""

    def gradients(self, faces: FloatArray, label: int) -> FloatArray:
        """float32 (n, 48, 48, 1): how the probability of emotion `label` changes with each pixel of each face."""

    def of_copies(self, face: FloatArray, fill: FloatArray, segments: Segments, masks: Masks) -> FloatArray:
        """float32 (n, 7): the probabilities of `lime_surrogate.disturbed_faces`, of the same arguments."""
        return self.probabilities(disturbed_faces(face, fill, segments, masks))


class ExplainedNetwork(Network):
    """A Network of Keras. Its functions are compiled once for any number of faces.

    precision: of `inference_network`. Half of a call's copies is computed on half of the cores, if `use_cores` of
    training_network came first; and copies are made where they are needed, of the part of a face that is looked at.
    int8: the same model in LiteRT for the copies, asked where it answers the first of them as this one does.
    """

    def __init__(self, model: Any, *, precision: str = "float32", int8: ParallelCpuModel | None = None) -> None:
        self._model = model
        self.precision = precision
        self._core, self._side = without_crop(inference_network(model, precision))
        self._int8, self._is_trusted = int8, False

    def probabilities(self, faces: FloatArray) -> FloatArray:
        return _in_parts(self._forward, self._middle(faces))

    def gradients(self, faces: FloatArray, label: int) -> FloatArray:
        slopes = np.zeros_like(faces)
        self._middle(slopes)[:] = self._gradient(self._middle(faces), label).numpy()
        return slopes

    def of_copies(self, face: FloatArray, fill: FloatArray, segments: Segments, masks: Masks) -> FloatArray:
        if self._int8 is not None:
            copies = disturbed_faces(face, fill, segments, masks)
            if self._is_trusted or self._tells_the_same(self._int8, copies[:_NUM_PROBES]):
                return self._int8.predict_on_batch(copies)
        seen = self._middle(np.stack([face, fill])[..., None])[..., 0]
        regions = self._middle(segments[None, ..., None])[0, ..., 0].astype(np.int32)
        return _in_parts(partial(self._of_copies, *seen, regions), masks.astype(np.bool_))

    def _tells_the_same(self, int8: ParallelCpuModel, copies: FloatArray) -> bool:
        """Once it has, for enough copies, int8 is asked without a comparison."""
        exact = self.probabilities(copies)
        error, variance = (values.var(axis=0).sum() for values in (int8.predict_on_batch(copies) - exact, exact))
        is_same = bool(error <= (1 - MIN_INT8_R2) * variance)
        if not is_same:
            logger.warning("A face is explained in %s: int8 answers its copies too differently", self.precision)
        self._is_trusted = is_same and len(copies) == _NUM_PROBES
        return is_same

    def shuffled(self, *, seed: int) -> "ExplainedNetwork":
        """The same network with the values of every weight array in random order: it has learned nothing."""
        random = np.random.default_rng(seed)
        model = import_keras().models.clone_model(self._model)
        model.set_weights([random.permutation(w.ravel()).reshape(w.shape) for w in self._model.get_weights()])
        return ExplainedNetwork(model, precision=self.precision)

    def _middle(self, images: NDArray[Any]) -> NDArray[Any]:
        """The part of (n, 48, 48, 1) that the network looks at, as a view."""
        start = (IMAGE_SIDE - self._side) // 2
        return images[:, start : start + self._side, start : start + self._side]

    @cached_property
    def _forward(self) -> Any:
        import tensorflow as tf

        return tf.function(self._in_halves, input_signature=[tf.TensorSpec((None, self._side, self._side, 1))])

    @cached_property
    def _of_copies(self) -> Any:
        import tensorflow as tf

        def of_copies(face: Any, fill: Any, segments: Any, masks: Any) -> Any:
            def half(shown: Any) -> Any:
                return self._core(tf.where(tf.gather(shown, segments, axis=1), face, fill)[..., None], training=False)

            middle = tf.shape(masks)[0] // 2
            return tf.concat([half(masks[:middle]), half(masks[middle:])], axis=0)

        square = (self._side, self._side)
        kinds = [(square, tf.float32), (square, tf.float32), (square, tf.int32), ((None, None), tf.bool)]
        return tf.function(of_copies, input_signature=[tf.TensorSpec(*kind) for kind in kinds])

    @cached_property
    def _gradient(self) -> Any:
        import tensorflow as tf

        def gradient(batch: Any, label: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(batch)
                probability = tf.gather(self._in_halves(batch), label, axis=1)
            return tape.gradient(probability, batch)

        faces = tf.TensorSpec((None, self._side, self._side, 1), tf.float32)
        return tf.function(gradient, input_signature=[faces, tf.TensorSpec((), tf.int32)])

    def _in_halves(self, batch: Any) -> Any:
        import tensorflow as tf

        middle = tf.shape(batch)[0] // 2
        return tf.concat([self._core(half, training=False) for half in (batch[:middle], batch[middle:])], axis=0)


def network_to_explain(model: Any, precision: str, *, num_threads: int | None = None) -> ExplainedNetwork:
    """model: of Keras. precision: of the settings; `auto` asks copies in int8, two to three times as fast, unless there
    is a GPU. num_threads: for that; None for one a core.
    """
    chosen = choose_precision(precision)
    if precision != "auto" or has_gpu():
        return ExplainedNetwork(model, precision=chosen)
    try:
        int8 = ParallelCpuModel(model, "int8", num_threads=num_threads or len(os.sched_getaffinity(0)))
    except TrainingError as error:
        logger.warning("Explained in %s: %s", chosen, error)
        return ExplainedNetwork(model, precision=chosen)
    return ExplainedNetwork(model, precision=chosen, int8=int8)


def _in_parts(ask: Callable[[NDArray[Any]], Any], rows: NDArray[Any]) -> FloatArray:
    """float32 (n, 7): what `ask` answers to at most 1,024 rows at a time, and to two at least: a half of one is none,
    which oneDNN's convolution does not take.
    """
    answers = [np.empty((0, NUM_EMOTIONS), np.float32)]
    for start in range(0, len(rows), _BATCH_SIZE):
        part = rows[start : start + _BATCH_SIZE]
        answers.append(ask(np.resize(part, (max(2, len(part)), *part.shape[1:]))).numpy()[: len(part)])
    return np.concatenate(answers)
