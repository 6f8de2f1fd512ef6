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
CRISP_SHARE = 0.5
"""Of the faces: moved by whole pixels, not turned or zoomed. To interpolate blurs, and a face in use is not blurred."""


def augment(pixels: "tf.Tensor", seed: "tf.Tensor", *, side: int = IMAGE_SIDE, strength: float = 1.0) -> "tf.Tensor":
    """Flip, rotate, zoom, shift, change the contrast of and erase a rectangle from each face, each by its own amount.

    pixels: float32 (batch, 48, 48, 1) in [0, 1]. seed: two integers. Returns float32 (batch, side, side, 1) in [0, 1]:
    the middle of each changed face. strength: factor of the limits above and of the erasing's probability.
    """
    import tensorflow as tf

    draws = tf.unstack(tf.random.stateless_uniform([tf.shape(pixels)[0], 12], seed), num=12, axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=_transforms(draws[:6], draws[11] < CRISP_SHARE, side=side, strength=strength),
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return _erase(_change_contrast(moved, draws[6], strength), draws[7:11], ERASE_PROBABILITY * strength)


def mixup_shares(number: int, seed: "tf.Tensor", *, alpha: float) -> "tf.Tensor":
    """float32 (number,) in [0.5, 1]: how much of itself each face of a batch keeps in mixup; the first half keeps all.

    Of the second half, drawn from Beta(alpha, alpha) and turned to the larger side. mixup: Zhang et al. 2017,
    https://arxiv.org/abs/1710.09412.
    """
    import tensorflow as tf

    num_mixed = number // 2 if alpha > 0 else 0
    one, other = tf.unstack(tf.random.stateless_gamma([2, num_mixed], seed, max(alpha, 1e-6)))
    share = one / tf.maximum(one + other, 1e-12)
    return tf.concat([tf.ones(number - num_mixed), tf.maximum(share, 1 - share)], axis=0)


def blend(values: "tf.Tensor", shares: "tf.Tensor") -> "tf.Tensor":
    """Each row of (batch, ...) with its partner in mixup, the batch's rows in reverse. shares: of `mixup_shares`."""
    import tensorflow as tf

    kept = tf.reshape(shares, [-1, *[1] * (len(values.shape) - 1)])
    return kept * values + (1 - kept) * tf.reverse(values, [0])


def _transforms(draws: list[Any], crisp: "tf.Tensor", *, side: int, strength: float) -> "tf.Tensor":
    """float32 (batch, 8): for each output pixel, where in the input it comes from, about the face's middle.

    crisp: bool (batch,), whether each output pixel is to be one of the input.
    """
    import tensorflow as tf

    flip, angle, zoom_x, zoom_y, shift_x, shift_y = draws
    rotation, zoom, shift = (strength * limit for limit in (MAX_ROTATION_DEGREES, MAX_ZOOM, MAX_SHIFT_PIXELS))
    radians = tf.where(crisp, 0.0, _between(angle, -rotation, rotation) * (math.pi / 180))
    mirror = tf.where(flip < 0.5, -1.0, 1.0)
    scale_x = mirror * tf.where(crisp, 1.0, _between(zoom_x, 1 - zoom, 1 + zoom))
    scale_y = tf.where(crisp, 1.0, _between(zoom_y, 1 - zoom, 1 + zoom))
    a, b = tf.cos(radians) * scale_x, -tf.sin(radians) * scale_y
    c, d = tf.sin(radians) * scale_x, tf.cos(radians) * scale_y
    middle = (IMAGE_SIDE - 1) / 2
    middle_out = (side - 1) / 2
    x = middle + _shifted(shift_x, shift, crisp) - (a + b) * middle_out
    y = middle + _shifted(shift_y, shift, crisp) - (c + d) * middle_out
    nothing = tf.zeros_like(x)
    return tf.stack([a, b, x, c, d, y, nothing, nothing], axis=1)


def _shifted(draw: "tf.Tensor", limit: float, crisp: "tf.Tensor") -> "tf.Tensor":
    """Pixels, float32 (batch,)."""
    import tensorflow as tf

    anywhere, whole = _between(draw, -limit, limit), math.floor(limit)
    return tf.where(crisp, tf.clip_by_value(tf.round(anywhere), -whole, whole), anywhere)


def _change_contrast(pixels: "tf.Tensor", draw: "tf.Tensor", strength: float) -> "tf.Tensor":
    """Gamma: a linear change would be undone by the model's own standardisation."""
    import tensorflow as tf

    log_gamma = strength * math.log(MAX_GAMMA)
    gamma = tf.exp(_between(draw, -log_gamma, log_gamma))
    return tf.pow(pixels, gamma[:, None, None, None])


def _erase(pixels: "tf.Tensor", draws: list[Any], probability: float) -> "tf.Tensor":
    """Cover a rectangle of some faces with the face's mean."""
    import tensorflow as tf

    chosen, extent, row, column = draws
    # One draw decides whether and, rescaled, how elongated: below the probability it is uniform again.
    elongation = tf.minimum(chosen / max(probability, 1e-6), 1.0)
    height = _between(extent, *ERASE_SIDE_PIXELS)
    width = _between(elongation, *ERASE_SIDE_PIXELS)
    side = pixels.shape[1]
    rows = _inside(row, height, side)[:, :, None, None]
    columns = _inside(column, width, side)[:, None, :, None]
    covered = rows & columns & (chosen < probability)[:, None, None, None]
    return tf.where(covered, tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True), pixels)


def _inside(draw: "tf.Tensor", length: "tf.Tensor", side: int) -> "tf.Tensor":
    """bool (batch, side): the pixels of a stretch of `length` whose start is drawn so that it fits."""
    import tensorflow as tf

    place = tf.range(side, dtype=tf.float32)[None, :]
    start = (draw * (side - length))[:, None]
    return (place >= start) & (place < start + length[:, None])


def _between(draw: "tf.Tensor", low: float, high: float) -> "tf.Tensor":
    return low + draw * (high - low)
