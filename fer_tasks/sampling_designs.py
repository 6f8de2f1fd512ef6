"""Which regions the copies of a face show: at random, as lime does, or by designs that say more with fewer copies."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fer_tasks.lime_surrogate import Masks, random_masks

Centres = NDArray[np.float64]
"""float64 (regions, 2): row and column of each region's middle."""

_MAX_SWEEPS = 20
_FAR = 9.0  # perimeter, in widths of a region, beyond which three regions count as strangers


def draw_masks(design: str, num_samples: int, centres: Centres, *, seed: int) -> Masks:
    """int64 (num_samples, regions) of 0 and 1, the first row the whole face. Equal arguments give equal masks.

    centres: where the regions lie. design: `random`, lime's own; `antithetic`, each random copy followed by its
    complement, so that effects of pairs of regions cancel out of the weights; `hadamard`, rows of a Hadamard matrix and
    their complements (a fold-over design, R. L. Plackett and J. P. Burman 1946), in which moreover each two regions are
    shown together as often as apart, so that no weight takes over what another region does, and in which what three
    neighbours do together, the next that disturbs, stays out of the weights of others as far as the copies go.
    """
    num_regions = len(centres)
    if design == "random":
        return random_masks(num_samples, num_regions, seed=seed)
    random = np.random.default_rng(seed)
    num_pairs = num_samples // 2
    if design == "antithetic":
        half = random.integers(0, 2, (num_pairs, num_regions))
    else:
        half = _hadamard_rows(num_pairs, centres, random)
    pairs = np.stack([half, 1 - half], axis=1).reshape(-1, num_regions)
    whole = np.ones((1, num_regions), np.int64)
    return np.concatenate([whole, pairs])[:num_samples].astype(np.int64)


def _hadamard_rows(num_rows: int, centres: Centres, random: np.random.Generator) -> Masks:
    """int64 (num_rows, regions): a Hadamard matrix's columns, with random signs, so often as the rows need it.

    The signs make of what a weight takes over from others a matter of the seed, so that the mean over seeds is right.
    """
    bits = max((len(centres) - 1).bit_length(), round(np.log2(max(1, num_rows))))
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

    Where four columns have the exclusive-or 0, three of the regions together look like the fourth alone. That costs
    the more the closer the three lie. Each column in turn moves to where it costs least, until none moves.
    """
    places = np.frombuffer(centres).reshape(-1, 2)
    triples, weights = _close_triples(places)
    columns = np.random.default_rng(bits).choice(1 << bits, len(places), replace=False)
    for _ in range(_MAX_SWEEPS):
        before = columns.copy()
        for region in range(len(columns)):
            columns[region] = _costs(region, columns, triples, weights, 1 << bits).argmin()
        if (columns == before).all():
            break
    return tuple(columns.tolist())


def _costs(
    region: int, columns: NDArray[np.int64], triples: NDArray[np.int64], weights: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    """float64 (order,): what each column would cost the region, the others' being fixed; infinite for theirs."""
    has_region = (triples == region).any(axis=1)
    foreign, own = triples[~has_region], triples[has_region]
    costs = np.zeros(order)
    costs += np.bincount(np.bitwise_xor.reduce(columns[foreign], axis=1), weights[~has_region], minlength=order)
    partners = np.bitwise_xor.reduce(np.where(own == region, 0, columns[own]), axis=1)
    fourth = (np.arange(len(columns)) != own[..., None]).all(axis=1)  # which is in none of the three
    mixed = (partners[:, None] ^ columns)[fourth]
    costs += np.bincount(mixed, np.broadcast_to(weights[has_region][:, None], fourth.shape)[fourth], minlength=order)
    costs[np.delete(columns, region)] = np.inf
    return costs


def _close_triples(centres: Centres) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """int64 (n, 3), each three regions once, and what they weigh: 1/e less with each region's width of perimeter."""
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1)
    to_nearest = np.sort(distances, axis=1)[:, 1:2]
    distances /= max(1.0, float(np.median(to_nearest))) if to_nearest.size else 1.0
    perimeter = distances[:, :, None] + distances[:, None, :] + distances[None]
    number = np.arange(len(centres))
    ordered = (number[:, None, None] < number[:, None]) & (number[:, None] < number)
    triples = np.argwhere(ordered & (perimeter <= _FAR))
    return triples, np.exp(-perimeter[tuple(triples.T)])
