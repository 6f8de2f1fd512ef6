"""How much regions do alone, in pairs and in threes: what LIME's weights scatter by, and what designs go by.

    python benchmarks/lime_effects.py [--faces-from runs/<run>] [--model runs/<run>] [--faces 14] [--copies 4000]

Random copies of each face are asked about; the predicted emotion's probability is regressed on the regions, and what is
left is correlated with the product of each pair and three of regions. Squares of such coefficients, less what chance
would give, are shares of the probability's variance (G. Hooker 2004, functional ANOVA). They are printed by distance of
a pair and by perimeter of three, in widths of a region, as means over the faces. Without --faces-from, faces are drawn.
The last line is JSON: the shares, and the powers of distance and perimeter by which an effect falls.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

import numpy as np  # noqa: E402

from benchmarks.lime import SETTINGS, choose_faces  # noqa: E402
from fer_tasks.explained_network import network_to_explain  # noqa: E402
from fer_tasks.face_regions import in_widths  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.lime_surrogate import random_masks  # noqa: E402
from fer_tasks.model import load_model  # noqa: E402
from fer_tasks.neighbourhood import Neighbourhood  # noqa: E402
from fer_tasks.training_network import use_cores  # noqa: E402

EDGES = {2: (1.0, 1.1, 1.5, 2.1, 2.5, 3.5, 5.0), 3: (3.0, 3.6, 4.2, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)}
"""Of the classes that effects are told by."""

Array = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PRETRAINED, metavar="FOLDER")
    parser.add_argument("--faces-from", type=Path, metavar="RUN")
    parser.add_argument("--faces", type=int, default=14)
    parser.add_argument("--copies", type=int, default=4000)
    options = parser.parse_args()
    use_cores()
    network = network_to_explain(load_model(options.model / "model.keras"), SETTINGS.precision)
    arounds = [Neighbourhood.of(face, network, SETTINGS) for face in choose_faces(options.faces_from, options.faces)]
    found = [shares(around, options.copies, seed=number) for number, around in enumerate(arounds)]
    told: dict[str, float] = {"alone": float(np.mean([alone for alone, _ in found]))}
    distances = in_widths(arounds[0].centres)
    for size, name in ((2, "in_pairs"), (3, "in_threes")):
        effects = np.mean([by_size[size] for _, by_size in found], axis=0)
        told[name] = float(effects.sum())
        told[f"power_{name}"] = tell_by_extent(effects, extents(distances, size), size)
    print(json.dumps({name: round(value, 4) for name, value in told.items()}))


def shares(around: Neighbourhood, num_copies: int, *, seed: int) -> tuple[float, dict[int, Array]]:
    """Of the variance of the predicted emotion's probability: what regions do alone, and each pair and three."""
    masks = random_masks(num_copies, around.num_regions, seed=seed)
    answers = around.ask(masks)
    probability = answers[:, answers[0].argmax()].astype(np.float64)
    signs = 2.0 * masks - 1
    alone = np.column_stack([np.ones(num_copies), signs])
    left = probability - alone @ np.linalg.lstsq(alone, probability, rcond=None)[0]
    whole = probability.var()
    effects = {}
    for size in (2, 3):
        coefficients = [np.prod(signs[:, group], axis=1) @ left / num_copies for group in groups(signs.shape[1], size)]
        effects[size] = (np.square(coefficients) - left.var() / num_copies) / whole
    return 1 - left.var() / whole, effects


def groups(num_regions: int, size: int) -> list[list[int]]:
    return [list(group) for group in combinations(range(num_regions), size)]


def extents(distances: Array, size: int) -> Array:
    """Distance of each pair, or perimeter of each three."""
    return np.array([sum(distances[pair] for pair in combinations(group, 2)) for group in groups(len(distances), size)])


def tell_by_extent(effects: Array, extent: Array, size: int) -> float:
    """Prints a line a class; the power is that of a line through the logarithms of the classes above zero."""
    print(f"{'distance' if size == 2 else 'perimeter':12}{'groups':>8}{'share of variance':>20}{'of each':>12}")
    points = []
    for low, high in zip(EDGES[size], (*EDGES[size][1:], np.inf), strict=True):
        chosen = (extent >= low - 1e-9) & (extent < high - 1e-9)
        if not chosen.any():
            continue
        mean = float(effects[chosen].mean())
        print(f"{extent[chosen].mean():12.2f}{chosen.sum():8}{effects[chosen].sum():20.4f}{mean:12.2g}")
        if mean > 0:
            points.append((np.log(extent[chosen].mean()), np.log(mean)))
    return float(np.polyfit(*np.transpose(points), 1)[0])


if __name__ == "__main__":
    main()
