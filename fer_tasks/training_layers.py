"""Layers and optimizer of Keras in a form that trains faster on a CPU: same weights, same mathematics.

Only for training. A model that is saved is built of Keras's own, and takes its weights from these.
docs/model.md has what each of them saves.
"""

from functools import cache
from typing import Any

from fer_tasks.model import import_keras

NARROW = 12
"""Pixels: below it, oneDNN's gradient of a convolution's kernel leaves most of a matrix unit's row empty."""


class TrainingLayers:
    """keras.layers, with `Conv2D`, `BatchNormalization` and `ReLU` exchanged."""

    def __init__(self) -> None:
        self.Conv2D = _convolution()
        self.BatchNormalization = _batch_normalization()
        self.ReLU = _relu()

    def __getattr__(self, name: str) -> Any:
        return getattr(import_keras().layers, name)


@cache
def _convolution() -> Any:
    import tensorflow as tf

    layers = import_keras().layers

    def kernel_gradient(images: Any, upstream: Any) -> Any:
        """(3, 3, channels, filters): for each place of the kernel, one product of all pixels with all gradients."""
        padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
        height, width, channels = images.shape[1:]
        filters = upstream.shape[-1]
        columns = tf.reshape(upstream, [-1, filters])
        places = [
            tf.linalg.matmul(
                tf.reshape(padded[:, row : row + height, column : column + width], [-1, channels]),
                columns,
                transpose_a=True,
            )
            for row in range(3)
            for column in range(3)
        ]
        return tf.reshape(tf.stack(places), [3, 3, channels, filters])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def narrow(images: Any, kernel: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            of_images = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(images), strides=1, padding="SAME")
            return of_images, kernel_gradient(images, upstream)

        return tf.nn.conv2d(images, kernel, strides=1, padding="SAME"), gradient

    class NarrowConv2D(layers.Conv2D):  # type: ignore[misc, name-defined]
        """Computes the gradient of a 3x3 kernel as nine matrix products where the images are small, in bfloat16."""

        def convolution_op(self, inputs: Any, kernel: Any) -> Any:
            is_plain = (self.kernel_size, self.strides, self.padding) == ((3, 3), (1, 1), "same")
            if is_plain and inputs.dtype == tf.bfloat16 and (inputs.shape[2] or NARROW) < NARROW:
                return narrow(inputs, tf.convert_to_tensor(kernel, tf.bfloat16))
            return super().convolution_op(inputs, kernel)

    return NarrowConv2D


@cache
def _batch_normalization() -> Any:
    import tensorflow as tf

    layers = import_keras().layers

    class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc, name-defined]
        """One operation each way, where Keras takes a dozen, in float32, for a bfloat16 input. Its moving variance is
        that of unbiased estimates."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            is_training = bool(training and self.trainable)
            moments = (self.moving_mean, self.moving_variance)
            outputs, *values = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                tf.convert_to_tensor(self.gamma),
                tf.convert_to_tensor(self.beta),
                *([] if is_training else map(tf.convert_to_tensor, moments)),
                epsilon=self.epsilon,
                is_training=is_training,
            )
            if is_training:
                for moving, value in zip(moments, values, strict=True):
                    moving.assign(moving * self.momentum + value * (1 - self.momentum))
            return outputs

    return FusedBatchNormalization


@cache
def _relu() -> Any:
    import tensorflow as tf

    layers = import_keras().layers
    zero, one = tf.constant(0, tf.int16), tf.constant(1, tf.int16)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def relu(inputs: Any) -> tuple[Any, Any]:
        kept = tf.maximum(tf.bitcast(inputs, tf.int16), zero)

        def gradient(upstream: Any) -> Any:
            return tf.bitcast(tf.minimum(kept, one) * tf.bitcast(upstream, tf.int16), tf.bfloat16)

        return tf.bitcast(kept, tf.bfloat16), gradient

    class BitwiseReLU(layers.ReLU):  # type: ignore[misc, name-defined]
        """On bfloat16, as whole numbers: a negative one is negative in either reading, and whole numbers of 16 bits
        are compared three times as fast on a CPU."""

        def call(self, inputs: Any) -> Any:
            return relu(inputs) if inputs.dtype == tf.bfloat16 else super().call(inputs)

    return BitwiseReLU


@cache
def nesterov_sgd() -> Any:
    """The class of keras.optimizers.SGD whose step, with momentum, is one pass over each variable."""
    import tensorflow as tf

    keras = import_keras()

    class FusedSGD(keras.optimizers.SGD):  # type: ignore[misc, name-defined]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if self.momentum == 0:
                super().update_step(gradient, variable, learning_rate)
                return
            momentum = self.momentums[self._get_variable_index(variable)]
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=momentum.value.handle,
                lr=tf.cast(learning_rate, variable.dtype),
                grad=gradient,
                momentum=tf.constant(self.momentum, variable.dtype),
                use_nesterov=self.nesterov,
            )

    return FusedSGD
