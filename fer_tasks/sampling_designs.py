"""Which regions the copies of a face show: at random, as lime does, or by designs that say more with fewer copies."""

import numpy as np

from fer_tasks.lime_surrogate import Masks, random_masks


def draw_masks(design: str, num_samples: int, num_regions: int, *, seed: int) -> Masks:
    """int64 (num_samples, num_regions) of 0 and 1, the first row the whole face. Equal arguments give equal masks.

    design: `random`, lime's own; `antithetic`, each random copy followed by its complement, so that effects of pairs
    of regions cancel out of the weights; `hadamard`, rows of a Hadamard matrix and their complements (a fold-over
    design, R. L. Plackett and J. P. Burman 1946), in which moreover each two regions are shown together as often as
    apart, so that no weight takes over what another region does.
    """
    if design == "random":
        return random_masks(num_samples, num_regions, seed=seed)
    random = np.random.default_rng(seed)
    num_pairs = num_samples // 2
    if design == "antithetic":
        half = random.integers(0, 2, (num_pairs, num_regions))
    else:
        half = _hadamard_rows(num_pairs, num_regions, random)
    pairs = np.stack([half, 1 - half], axis=1).reshape(-1, num_regions)
    whole = np.ones((1, num_regions), np.int64)
    return np.concatenate([whole, pairs])[:num_samples].astype(np.int64)


def _hadamard_rows(num_rows: int, num_regions: int, random: np.random.Generator) -> Masks:
    """int64 (num_rows, num_regions): blocks of a Hadamard matrix, in each of which the regions have other columns."""
    from scipy.linalg import hadamard

    order = 1 << num_regions.bit_length()  # of which the first column is constant
    matrix = hadamard(order)[:, 1:] > 0
    blocks = []
    for _ in range(-(-num_rows // order)):
        columns = random.choice(order - 1, num_regions, replace=False)
        flips = random.integers(0, 2, num_regions).astype(bool)
        blocks.append((matrix[:, columns] ^ flips)[random.permutation(order)])
    rows: Masks = np.concatenate(blocks)[:num_rows].astype(np.int64)
    return rows
