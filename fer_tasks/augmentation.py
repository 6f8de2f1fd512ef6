"""Random changes to whole batches of training faces, as a TensorFlow graph beside the training step.

Drawn without state from a seed: the same seed gives the same change, in whatever order and process batches are made.
"""

import math
from typing import TYPE_CHECKING, Any

from fer_tasks.emotions import IMAGE_SIDE

if TYPE_CHECKING:
    import tensorflow as tf

MAX_ROTATION_DEGREES = 10.0
MAX_ZOOM = 0.08
MAX_SHIFT_PIXELS = 3.0
MAX_GAMMA = 1.2
ERASE_PROBABILITY = 0.3
ERASE_SIDE_PIXELS = (5.0, 18.0)


def augment(pixels: "tf.Tensor", seed: "tf.Tensor", *, side: int = IMAGE_SIDE) -> "tf.Tensor":
    """Flip, rotate, zoom, shift, change the contrast of and erase a rectangle from each face, each by its own amount.

    pixels: float32 (batch, 48, 48, 1) in [0, 1]. seed: two integers. Returns float32 (batch, side, side, 1) in [0, 1]:
    the middle of each changed face.
    """
    import tensorflow as tf

    draws = tf.unstack(tf.random.stateless_uniform([tf.shape(pixels)[0], 11], seed), num=11, axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=_transforms(draws[:6], side=side),
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return _erase(_change_contrast(moved, draws[6]), draws[7:])


def _transforms(draws: list[Any], *, side: int) -> "tf.Tensor":
    """float32 (batch, 8): for each output pixel, where in the input it comes from, about the face's middle."""
    flip, angle, zoom_x, zoom_y, shift_x, shift_y = draws
    import tensorflow as tf

    radians = _between(angle, -MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES) * (math.pi / 180)
    mirror = tf.where(flip < 0.5, -1.0, 1.0)
    scale_x = mirror * _between(zoom_x, 1 - MAX_ZOOM, 1 + MAX_ZOOM)
    scale_y = _between(zoom_y, 1 - MAX_ZOOM, 1 + MAX_ZOOM)
    a, b = tf.cos(radians) * scale_x, -tf.sin(radians) * scale_y
    c, d = tf.sin(radians) * scale_x, tf.cos(radians) * scale_y
    middle = (IMAGE_SIDE - 1) / 2
    middle_out = (side - 1) / 2
    x = middle + _between(shift_x, -MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS) - (a + b) * middle_out
    y = middle + _between(shift_y, -MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS) - (c + d) * middle_out
    nothing = tf.zeros_like(x)
    return tf.stack([a, b, x, c, d, y, nothing, nothing], axis=1)


def _change_contrast(pixels: "tf.Tensor", draw: "tf.Tensor") -> "tf.Tensor":
    """Gamma: a linear change would be undone by the model's own standardisation."""
    import tensorflow as tf

    gamma = tf.exp(_between(draw, -math.log(MAX_GAMMA), math.log(MAX_GAMMA)))
    return tf.pow(pixels, gamma[:, None, None, None])


def _erase(pixels: "tf.Tensor", draws: list[Any]) -> "tf.Tensor":
    """Cover a rectangle of some faces with the face's mean."""
    import tensorflow as tf

    chosen, extent, row, column = draws
    # One draw decides whether and, rescaled, how elongated: below the probability it is uniform again.
    elongation = tf.minimum(chosen / ERASE_PROBABILITY, 1.0)
    height = _between(extent, *ERASE_SIDE_PIXELS)
    width = _between(elongation, *ERASE_SIDE_PIXELS)
    side = pixels.shape[1]
    rows = _inside(row, height, side)[:, :, None, None]
    columns = _inside(column, width, side)[:, None, :, None]
    covered = rows & columns & (chosen < ERASE_PROBABILITY)[:, None, None, None]
    return tf.where(covered, tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True), pixels)


def _inside(draw: "tf.Tensor", length: "tf.Tensor", side: int) -> "tf.Tensor":
    """bool (batch, side): the pixels of a stretch of `length` whose start is drawn so that it fits."""
    import tensorflow as tf

    place = tf.range(side, dtype=tf.float32)[None, :]
    start = (draw * (side - length))[:, None]
    return (place >= start) & (place < start + length[:, None])


def _between(draw: "tf.Tensor", low: float, high: float) -> "tf.Tensor":
    return low + draw * (high - low)
