"""The regions of a 48x48 face that LIME switches on and off, and what stands where one is off."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.settings import RunSettings

FloatArray = NDArray[np.float32]
Segments = NDArray[np.int64]
"""int64 (48, 48): the number of each pixel's region, from 0, none left out."""

FACE_REGIONS = (
    "background",
    "forehead",
    "left brow",
    "right brow",
    "left eye",
    "right eye",
    "nose",
    "left cheek",
    "right cheek",
    "mouth",
    "chin",
)
"""Names of the fixed facial regions by number; left and right are those of the picture."""

PARTS = {
    "forehead": ("forehead",),
    "brows": ("left brow", "right brow"),
    "eyes": ("left eye", "right eye"),
    "nose": ("nose",),
    "cheeks": ("left cheek", "right cheek"),
    "mouth": ("mouth",),
    "chin": ("chin",),
    "background": ("background",),
}
"""The facial regions as one speaks of them, without sides."""

_FACE_CENTRE, _FACE_RADII = (24.5, 23.5), (24.0, 18.0)  # row, column
# First and last row (exclusive), then columns. Faces of FER-2013 and drawn ones are registered: the eyes lie near row
# 20 and columns 16 and 31, the mouth near row 35.
_BOXES = {
    "forehead": (0, 13, 0, 48),
    "chin": (40, 48, 0, 48),
    "left cheek": (13, 40, 0, 24),
    "right cheek": (13, 40, 24, 48),
    "left brow": (13, 18, 7, 24),
    "right brow": (13, 18, 24, 41),
    "left eye": (18, 25, 7, 22),
    "right eye": (18, 25, 26, 41),
    "nose": (18, 31, 22, 26),
    "mouth": (31, 40, 13, 35),
}
_NOSTRILS = (25, 31, 18, 30)
_SLIC_COMPACTNESS = 0.1
_NEXT = 1.5  # in widths of a region: side by side, or corner to corner


def face_segments(face: FloatArray, settings: RunSettings) -> Segments:
    """The regions that `lime_regions` asks for; `grid` and `face` are the same for every face.

    face: float32 (48, 48) in [0, 1].
    """
    if settings.lime_regions == "grid":
        return grid_segments(settings.lime_grid)
    return facial_segments() if settings.lime_regions == "face" else _slic_segments(face, settings.lime_grid)


def region_names(segments: Segments, settings: RunSettings) -> tuple[str, ...]:
    """What each region is called, by number: in words for `face`, else by where its middle lies."""
    if settings.lime_regions == "face":
        return FACE_REGIONS
    return tuple(f"row {row:.0f}, column {column:.0f}" for row, column in region_centres(segments))


def region_centres(segments: Segments) -> NDArray[np.float64]:
    """float64 (regions, 2): row and column of each region's middle."""
    counts = np.bincount(segments.ravel())
    middles = [np.bincount(segments.ravel(), axis.ravel()) / counts for axis in np.mgrid[:IMAGE_SIDE, :IMAGE_SIDE]]
    return np.stack(middles, axis=1)


def in_widths(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (regions, regions): how far apart the regions lie; 1 is the usual distance from one to the next."""
    distances: NDArray[np.float64] = np.linalg.norm(centres[:, None] - centres, axis=-1)
    to_nearest = np.sort(distances, axis=1)[:, 1:2]
    return distances / max(1.0, float(np.median(to_nearest))) if to_nearest.size else distances


def neighbours(centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 (pairs, 2): the regions next to each other, each pair once."""
    one, other = np.nonzero(np.triu(in_widths(centres) <= _NEXT, 1))
    return np.stack([one, other], axis=1)


def grid_segments(grid: int) -> Segments:
    """Each pixel's square, row by row from the top left, grid x grid in all."""
    band = np.arange(IMAGE_SIDE) * grid // IMAGE_SIDE
    return band[:, None] * grid + band[None, :]


def filled(face: FloatArray, segments: Segments, fill: str) -> FloatArray:
    """The face with every region switched off: float32 (48, 48). fill: `mean` of the region, `blur`, or `zero`."""
    if fill == "zero":
        return np.zeros_like(face)
    if fill == "blur":
        import cv2

        return np.asarray(cv2.GaussianBlur(face, (0, 0), sigmaX=face.shape[0] / 8), np.float32)
    means = np.bincount(segments.ravel(), face.ravel()) / np.bincount(segments.ravel())
    return means[segments].astype(np.float32)


def region_path(segments: Segments, region: int) -> str:
    """The region as an SVG path of rectangles, one pixel a unit; equal runs of neighbouring rows are one rectangle."""
    open_runs: dict[tuple[int, int], int] = {}
    parts = []
    for row in range(len(segments) + 1):
        runs = set(_runs(segments[row] == region)) if row < len(segments) else set()
        for run in sorted(open_runs.keys() - runs):
            top = open_runs.pop(run)
            parts.append(f"M{run[0]} {top}h{run[1] - run[0]}v{row - top}H{run[0]}z")
        for run in runs - open_runs.keys():
            open_runs[run] = row
    return "".join(parts)


def _runs(inside: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last column (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def facial_segments() -> Segments:
    segments = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.int64)
    for name, (top, bottom, left, right) in _BOXES.items():
        segments[top:bottom, left:right] = FACE_REGIONS.index(name)
    top, bottom, left, right = _NOSTRILS
    segments[top:bottom, left:right] = FACE_REGIONS.index("nose")
    rows, columns = np.mgrid[:IMAGE_SIDE, :IMAGE_SIDE]
    away = ((rows - _FACE_CENTRE[0]) / _FACE_RADII[0]) ** 2 + ((columns - _FACE_CENTRE[1]) / _FACE_RADII[1]) ** 2
    segments[away > 1] = FACE_REGIONS.index("background")
    return segments


def _slic_segments(face: FloatArray, grid: int) -> Segments:
    """Patches of like brightness, about as many as a grid has squares; the number depends on the face."""
    from skimage.segmentation import slic

    found = slic(face, n_segments=grid**2, compactness=_SLIC_COMPACTNESS, channel_axis=None, start_label=0)
    segments: Segments = np.unique(found, return_inverse=True)[1].reshape(found.shape).astype(np.int64)
    return segments
