"""The changes of fer_tasks/augmentation.py in Keras's own operations, so that they run beside any backend's training.

Same draws, same limits, same faces: tests/test_pretraining.py holds the two together.
"""

import math
from dataclasses import dataclass
from typing import Any

from fer_tasks import augmentation
from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.model import import_keras

NUM_DRAWS = 12


@dataclass(frozen=True)
class Limits:
    """How far a face is changed at most. max_gamma: from 1 / max_gamma to max_gamma; 1 is no change.

    crisp_share: of the faces, moved by whole pixels, not turned or zoomed.
    """

    max_rotation_degrees: float = augmentation.MAX_ROTATION_DEGREES
    max_zoom: float = augmentation.MAX_ZOOM
    max_shift_pixels: float = augmentation.MAX_SHIFT_PIXELS
    max_gamma: float = augmentation.MAX_GAMMA
    erase_probability: float = augmentation.ERASE_PROBABILITY
    min_erase_pixels: float = augmentation.ERASE_SIDE_PIXELS[0]
    max_erase_pixels: float = augmentation.ERASE_SIDE_PIXELS[1]
    crisp_share: float = augmentation.CRISP_SHARE


def augment(pixels: Any, draws: Any, limits: Limits, *, side: int) -> Any:
    """Flip, rotate, zoom, shift, change the contrast of and erase a rectangle from each face, each by its own amount.

    pixels: float32 (batch, 48, 48, 1) in [0, 1]. draws: float32 (batch, 12), uniform in [0, 1).
    Returns float32 (batch, side, side, 1) in [0, 1]: the middle of each changed face.
    """
    ops = import_keras().ops
    columns = [draws[:, number] for number in range(NUM_DRAWS)]
    moved = _sample(ops, pixels, *_sources(ops, columns[:6], columns[11] < limits.crisp_share, limits, side=side))
    log_gamma = math.log(limits.max_gamma)
    gamma = ops.exp(_between(columns[6], -log_gamma, log_gamma))
    return _erase(ops, ops.power(moved, gamma[:, None, None, None]), columns[7:11], limits)


def _sources(ops: Any, draws: list[Any], crisp: Any, limits: Limits, *, side: int) -> tuple[Any, Any]:
    """Where each output pixel comes from: row and column in the input, float32 (batch, side, side) each."""
    flip, angle, zoom_x, zoom_y, shift_x, shift_y = (draw[:, None, None] for draw in draws)
    crisp = crisp[:, None, None]
    degrees = _between(angle, -limits.max_rotation_degrees, limits.max_rotation_degrees)
    radians = ops.where(crisp, 0.0, degrees * (math.pi / 180))
    zooms = (_between(draw, 1 - limits.max_zoom, 1 + limits.max_zoom) for draw in (zoom_x, zoom_y))
    zoom_x, zoom_y = (ops.where(crisp, 1.0, zoom) for zoom in zooms)
    scale_x, scale_y = ops.where(flip < 0.5, -1.0, 1.0) * zoom_x, zoom_y
    place = ops.arange(side, dtype="float32") - (side - 1) / 2
    across, down = place[None, None, :] * scale_x, place[None, :, None] * scale_y
    middle = (IMAGE_SIDE - 1) / 2
    column = middle + _shifted(ops, shift_x, limits.max_shift_pixels, crisp)
    row = middle + _shifted(ops, shift_y, limits.max_shift_pixels, crisp)
    column = column + ops.cos(radians) * across - ops.sin(radians) * down
    row = row + ops.sin(radians) * across + ops.cos(radians) * down
    return row, column


def _shifted(ops: Any, draw: Any, limit: float, crisp: Any) -> Any:
    anywhere, whole = _between(draw, -limit, limit), math.floor(limit)
    return ops.where(crisp, ops.clip(ops.round(anywhere), -whole, whole), anywhere)


def _sample(ops: Any, pixels: Any, row: Any, column: Any) -> Any:
    """The input at these places, bilinearly; outside it, its edge. Returns float32 (batch, side, side, 1)."""
    batch, side = row.shape[0], row.shape[1]
    flat = ops.reshape(pixels, (batch, IMAGE_SIDE * IMAGE_SIDE))

    def at(rows: Any, columns: Any) -> Any:
        rows, columns = (ops.clip(places, 0, IMAGE_SIDE - 1) for places in (rows, columns))
        index = ops.cast(rows * IMAGE_SIDE + columns, "int32")
        return ops.take_along_axis(flat, ops.reshape(index, (batch, side * side)), axis=1)

    top, left = ops.floor(row), ops.floor(column)
    below, right = (ops.reshape(share, (batch, side * side)) for share in (row - top, column - left))
    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return ops.reshape(upper * (1 - below) + lower * below, (batch, side, side, 1))


def _erase(ops: Any, pixels: Any, draws: list[Any], limits: Limits) -> Any:
    """Cover a rectangle of some faces with the face's mean."""
    chosen, extent, row, column = draws
    # As in fer_tasks.augmentation: one draw decides whether and, rescaled, how elongated.
    elongation = ops.minimum(chosen / max(limits.erase_probability, 1e-9), 1.0)
    height = _between(extent, limits.min_erase_pixels, limits.max_erase_pixels)
    width = _between(elongation, limits.min_erase_pixels, limits.max_erase_pixels)
    side = pixels.shape[1]
    rows = _inside(ops, row, height, side)[:, :, None, None]
    columns = _inside(ops, column, width, side)[:, None, :, None]
    is_chosen = (chosen < limits.erase_probability)[:, None, None, None]
    covered = ops.logical_and(ops.logical_and(rows, columns), is_chosen)
    return ops.where(covered, ops.mean(pixels, axis=(1, 2, 3), keepdims=True), pixels)


def _inside(ops: Any, draw: Any, length: Any, side: int) -> Any:
    """bool (batch, side): the pixels of a stretch of `length` whose start is drawn so that it fits."""
    place = ops.arange(side, dtype="float32")[None, :]
    start = (draw * (side - length))[:, None]
    return ops.logical_and(place >= start, place < start + length[:, None])


def _between(draw: Any, low: float, high: float) -> Any:
    return low + draw * (high - low)
