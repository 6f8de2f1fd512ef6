"""Which regions the copies of a face show: at random, as lime does, or by designs that say more with fewer copies."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fer_tasks.face_regions import in_widths
from fer_tasks.lime_surrogate import Masks, random_masks

Centres = NDArray[np.float64]
"""float64 (regions, 2): row and column of each region's middle."""

_MAX_SWEEPS = 20
_FAR = 9.0  # perimeter, in widths of a region, beyond which regions count as strangers


def draw_masks(design: str, num_samples: int, centres: Centres, *, seed: int) -> Masks:
    """int64 (num_samples, regions) of 0 and 1, the first row the whole face. Equal arguments give equal masks.

    centres: where the regions lie. design: `random`, lime's own; `antithetic`, each random copy followed by its
    complement, so that effects of pairs of regions cancel out of the weights; `hadamard`, rows of a Hadamard matrix
    (R. L. Plackett and J. P. Burman 1946), in which each two regions are shown together as often as apart, so that no
    weight takes over what another region does, and in which what two or three neighbours do together, the next that
    disturbs, stays out of the weights of others as far as the copies go.
    """
    num_regions = len(centres)
    if design == "random":
        return random_masks(num_samples, num_regions, seed=seed)
    random = np.random.default_rng(seed)
    if design == "antithetic":
        half = random.integers(0, 2, (num_samples // 2, num_regions))
        rows = np.stack([half, 1 - half], axis=1).reshape(-1, num_regions)
    else:
        rows = _hadamard_rows(num_samples - 1, centres, random)
    whole = np.ones((1, num_regions), np.int64)
    return np.concatenate([whole, rows])[:num_samples].astype(np.int64)


def _hadamard_rows(num_rows: int, centres: Centres, random: np.random.Generator) -> Masks:
    """int64 (num_rows, regions): a Hadamard matrix's columns, with random signs, so often as the rows need it.

    The signs make of what a weight takes over from others a matter of the seed, so that the mean over seeds is right.
    """
    bits = max(len(centres).bit_length(), round(np.log2(max(1, num_rows))))
    columns = np.array(_place_columns(bits, centres.tobytes()))
    # Of the matrix of order 2^k, row a has at column c the parity of the bits that a and c share.
    matrix = np.bitwise_count(np.arange(1 << bits)[:, None] & columns) & 1
    blocks = []
    for _ in range(-(-num_rows // len(matrix))):
        signs = random.integers(0, 2, len(centres))
        blocks.append((matrix ^ signs)[random.permutation(len(matrix))])
    rows: Masks = np.concatenate(blocks)[:num_rows].astype(np.int64)
    return rows


@lru_cache(maxsize=32)
def _place_columns(bits: int, centres: bytes) -> tuple[int, ...]:
    """Which column of the matrix of order 2^bits stands for each region; equal arguments give equal columns.

    Where some columns have the exclusive-or 0, all but one of the regions together look like that one alone. Of three
    or four columns that costs the more the closer the regions lie. Each column in turn moves to where it costs least,
    until none moves. Column 0 is left out: it never changes.
    """
    places = np.frombuffer(centres).reshape(-1, 2)
    groups = _close_groups(places)
    num_regions, order = len(places), 1 << bits
    columns = 1 + np.random.default_rng(bits).choice(order - 1, num_regions, replace=False)
    for _ in range(_MAX_SWEEPS):
        before = columns.copy()
        for region in range(num_regions):
            costs = sum(_costs(region, columns, *group, order) for group in groups)
            columns[region] = np.argmin(costs)
        if (columns == before).all():
            break
    return tuple(columns.tolist())


def _costs(
    region: int, columns: NDArray[np.int64], groups: NDArray[np.int64], weights: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    """float64 (order,): what each column would cost the region, the others' being fixed; infinite for what is taken."""
    has_region = (groups == region).any(axis=1)
    foreign, own = groups[~has_region], groups[has_region]
    costs = np.zeros(order)
    costs += np.bincount(np.bitwise_xor.reduce(columns[foreign], axis=1), weights[~has_region], minlength=order)
    partners = np.bitwise_xor.reduce(np.where(own == region, 0, columns[own]), axis=1)
    stranger = (np.arange(len(columns)) != own[..., None]).all(axis=1)  # which is none of the group
    mixed = (partners[:, None] ^ columns)[stranger]
    costs += np.bincount(
        mixed, np.broadcast_to(weights[has_region][:, None], stranger.shape)[stranger], minlength=order
    )
    costs[np.delete(columns, region)] = costs[0] = np.inf
    return costs


def _close_groups(centres: Centres) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Pairs, int64 (n, 2), and triples, (n, 3), of regions, each once, and how much they do together, on average.

    The powers and factors are measured: docs/explanations.md, "Fewer copies".
    """
    distances = in_widths(centres)
    perimeter = distances[:, :, None] + distances[:, None, :] + distances[None]
    number = np.arange(len(centres))
    pairs = np.argwhere((number[:, None] < number) & (distances <= _FAR))
    ordered = (number[:, None, None] < number[:, None]) & (number[:, None] < number)
    triples = np.argwhere(ordered & (perimeter <= _FAR))
    return [
        (pairs, 2.8e-3 * np.maximum(1, distances[tuple(pairs.T)]) ** -3.0),
        (triples, 6.4e-2 * np.maximum(3, perimeter[tuple(triples.T)]) ** -4.4),
    ]
