"""How much of an explanation is true, on faces drawn afresh, of which it is known which pixels carry the expression.

    python benchmarks/lime_truth.py [RUN ...] [--faces 42] [--seed 900]

For each model (default: the shipped weights, which no drawn face was shown to; give runs on the sample,
best several of different seeds): the share of the positive weight inside those pixels for the emotion that the network
predicted rightly, against their share of the picture (chance) and against lime as it comes (quickshift, mean colour,
1,000 random copies). Neutral faces are left out: nothing in them carries an expression. The last line is JSON, of the
means over the models.
"""

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks.drawn_face import DrawnFace, draw_face  # noqa: E402
from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS  # noqa: E402
from fer_tasks.explained_network import ExplainedNetwork, network_to_explain  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.lime_surrogate import fit_copies  # noqa: E402
from fer_tasks.lime_truth import chance, share_inside  # noqa: E402
from fer_tasks.model import load_model  # noqa: E402
from fer_tasks.neighbourhood import Neighbourhood  # noqa: E402
from fer_tasks.sampling_designs import draw_masks  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.training_network import use_cores  # noqa: E402

SETTINGS = RunSettings()
Array = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, default=[PRETRAINED], metavar="RUN")
    parser.add_argument("--faces", type=int, default=42)
    parser.add_argument("--seed", type=int, default=900)
    options = parser.parse_args()
    use_cores()
    faces = [draw_face(n % NUM_EMOTIONS, np.random.default_rng([options.seed, n])) for n in range(options.faces)]
    expressive = [face for face in faces if EMOTIONS[face.emotion] != "neutral"]
    print(f"{'run':24}{'faces':>6}{'chance':>8}{'grid':>8}{'slic':>8}{'face':>8}{'lime':>8}{'grid/chance':>13}")
    ratios = [measure(run, expressive) for run in options.runs]
    told = [ratio for ratio in ratios if ratio]
    print(json.dumps({name: round(float(np.mean([r[name] for r in told])), 3) for name in told[0]} if told else {}))


def measure(run: Path, faces: Sequence[DrawnFace]) -> dict[str, float]:
    """Prints a line; the ratios of the shares' means. Empty where the network takes no face for what it is."""
    network = network_to_explain(load_model(run / "model.keras"), SETTINGS.precision)
    rows = [shares(network, drawn) for drawn in faces]
    known = [row for row in rows if row]
    if not known:
        print(f"{run.name:24}{0:6}")
        return {}
    mean = {name: float(np.mean([row[name] for row in known])) for name in known[0]}
    print(f"{run.name:24}{len(known):6}" + "".join(f"{share:8.1%}" for share in mean.values()), end="")
    print(f"{mean['grid'] / mean['chance']:13.2f}", flush=True)
    return {
        "inside_to_chance": mean["grid"] / mean["chance"],
        "inside_to_stock": mean["grid"] / mean["lime"],
        "stock_to_chance": mean["lime"] / mean["chance"],
    }


def shares(network: ExplainedNetwork, drawn: DrawnFace) -> dict[str, float]:
    """Empty for a face that is taken for another emotion."""
    face = drawn.pixels / np.float32(255)
    label = int(network.probabilities(face[None, ..., None])[0].argmax())
    if label != drawn.emotion:
        return {}
    found = {"chance": chance(drawn.mask)}
    for regions in ("grid", "slic", "face"):
        around = Neighbourhood.of(face, network, replace(SETTINGS, lime_regions=regions))
        masks = draw_masks(SETTINGS.lime_design, SETTINGS.lime_samples, around.centres, seed=SETTINGS.seed)
        weights = fit_copies(masks, around.ask(masks), around.centres, SETTINGS).weights[label]
        found[regions] = share_inside(weights, around.segments, drawn.mask)
    stock = explain_stock(network, face)
    weights = np.array([weight for _, weight in sorted(stock.local_exp[label])])
    return {**found, "lime": share_inside(weights, stock.segments, drawn.mask)}


def explain_stock(network: ExplainedNetwork, face: Array) -> Any:
    from lime.lime_image import LimeImageExplainer

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return LimeImageExplainer(random_state=0).explain_instance(
            np.repeat(face[..., None], 3, axis=-1),
            lambda copies: network.probabilities(copies[..., :1].astype(np.float32)),
            top_labels=NUM_EMOTIONS,
            batch_size=500,
        )


if __name__ == "__main__":
    main()
