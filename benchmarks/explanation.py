"""LIME explanations: speed and stability against the stock lime package, and how much of them is true.

    python benchmarks/explanation.py [--run-dir runs/<run>] [--faces 5] [--truth-faces 70]

The network is that of the run, best one on the drawn sample, or the pretrained one. Speed: explanations of the same
faces with the same squares and number of copies by `LimeImageExplainer.explain_instance`, with its own batches of 10
and with 500. Stability: top-5 Jaccard and rank correlation over 5 seeds, for each design and number of copies. Truth:
faces drawn afresh, of which it is known which pixels carry the expression; the share of the positive weight in those
pixels, for the emotion that the network predicted rightly, against their share of the picture (chance) and against lime
as it comes (quickshift, mean colour). The last line is JSON.
"""

import argparse
import contextlib
import io
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from fer_tasks.drawn_face import DrawnFace, draw_face  # noqa: E402
from fer_tasks.emotions import NUM_EMOTIONS  # noqa: E402
from fer_tasks.explained_network import ExplainedNetwork  # noqa: E402
from fer_tasks.face_regions import grid_segments  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.lime_evidence import rank_correlation, top_overlap  # noqa: E402
from fer_tasks.lime_surrogate import fit  # noqa: E402
from fer_tasks.lime_truth import chance, share_inside  # noqa: E402
from fer_tasks.model import load_model, predict_probabilities  # noqa: E402
from fer_tasks.neighbourhood import Neighbourhood  # noqa: E402
from fer_tasks.sampling_designs import draw_masks  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402

SAMPLES, FEWER, SEEDS = 1000, 250, 5
SETTINGS = RunSettings()
Array = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=PRETRAINED)
    parser.add_argument("--faces", type=int, default=5)
    parser.add_argument("--truth-faces", type=int, default=70)
    options = parser.parse_args()
    model = load_model(options.run_dir / "model.keras")
    network = ExplainedNetwork(model)
    drawn = [draw_face(n % NUM_EMOTIONS, np.random.default_rng([9, n])) for n in range(options.truth_faces)]
    faces = [face.pixels / np.float32(255) for face in drawn]
    ratios = {**speed(model, network, faces[: options.faces]), **stability(network, faces[: options.faces])}
    print(json.dumps(ratios | truth(model, network, list(zip(drawn, faces, strict=True)))))


def speed(model: Any, network: ExplainedNetwork, faces: list[Array]) -> dict[str, float]:
    """Seconds an explanation, best of two passes each, and their ratios."""
    inside = 0.0

    def timed(copies: Array) -> Array:
        nonlocal inside
        started = time.perf_counter()
        answer = network.probabilities(copies)
        inside += time.perf_counter() - started
        return answer

    class Timed:
        probabilities = staticmethod(timed)
        gradients = network.gradients

    segments = grid_segments(SETTINGS.lime_grid)
    found = {
        "lime, batches of 10": seconds(lambda face: stock(model, face, segments, batch_size=10), faces),
        "lime, batches of 500": seconds(lambda face: stock(model, face, segments, batch_size=500), faces),
        f"ours, {SAMPLES} random": seconds(lambda face: ours(network, face, "random", SAMPLES, 0), faces),
        f"ours, {FEWER} hadamard": seconds(lambda face: ours(network, face, "hadamard", FEWER, 0), faces),
    }
    started = time.perf_counter()
    for face in faces:
        ours(Timed(), face, "random", SAMPLES, 0)
    share = inside / (time.perf_counter() - started)
    for name, value in found.items():
        print(f"{name:24}{value:8.3f} s an explanation")
    ten, five_hundred, same, fewer = found.values()
    return {
        "speedup_default": round(ten / same, 2),
        "speedup_batch500": round(five_hundred / same, 2),
        "speedup_equal_stability": round(five_hundred / fewer, 2),
        "inside_model_share": round(share, 3),
    }


def seconds(explain: Callable[[Array], Any], faces: list[Array]) -> float:
    passes = []
    explain(faces[0])
    for _ in range(2):
        started = time.perf_counter()
        for face in faces:
            explain(face)
        passes.append((time.perf_counter() - started) / len(faces))
    return min(passes)


def ours(network: Any, face: Array, design: str, samples: int, seed: int) -> Array:
    """float64 (7, regions)."""
    around = Neighbourhood.of(face, network, SETTINGS)
    masks = draw_masks(design, samples, around.num_regions, seed=seed)
    return fit(masks, around.ask(masks), kernel_width=SETTINGS.lime_kernel_width).weights


def stock(model: Any, face: Array, segments: Array | None, *, batch_size: int = 10) -> Any:
    """lime's own explanation of all seven emotions; segments: None for its own quickshift."""
    from lime.lime_image import LimeImageExplainer

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return LimeImageExplainer(random_state=0).explain_instance(
            np.repeat(face[..., None], 3, axis=-1),
            lambda copies: predict_probabilities(model, copies[..., :1]),
            top_labels=NUM_EMOTIONS,
            num_samples=SAMPLES,
            batch_size=batch_size,
            segmentation_fn=None if segments is None else lambda image: segments,
        )


def stability(network: ExplainedNetwork, faces: list[Array]) -> dict[str, float]:
    """Mean over faces and pairs of seeds, for the predicted emotion."""
    print(f"\n{'design':12}{'copies':>8}{'top-5 overlap':>15}{'rank correlation':>18}")
    found = {}
    for samples, design in itertools.product((125, FEWER, SAMPLES), ("random", "antithetic", "hadamard")):
        figures = []
        for face in faces:
            label = int(network.probabilities(face[None, ..., None])[0].argmax())
            weights = [ours(network, face, design, samples, seed)[label] for seed in range(SEEDS)]
            for one, other in itertools.combinations(weights, 2):
                figures.append((top_overlap(one, other), rank_correlation(one, other)))
        found[samples, design] = np.mean(figures, axis=0)
        overlap, correlation = found[samples, design]
        print(f"{design:12}{samples:8}{overlap:15.3f}{correlation:18.3f}", flush=True)
    ratio = found[FEWER, "hadamard"] / found[SAMPLES, "random"]
    return {"overlap_hadamard_250_to_random_1000": round(ratio[0], 3), "correlation_same": round(ratio[1], 3)}


def truth(model: Any, network: ExplainedNetwork, drawn: list[tuple[DrawnFace, Array]]) -> dict[str, float]:
    """Where the positive weight lies, over the faces that the network takes for what they are."""
    rows: dict[str, list[float]] = {}
    for truth_of, face in drawn:
        label = int(network.probabilities(face[None, ..., None])[0].argmax())
        if label != truth_of.emotion:
            continue
        rows.setdefault("chance", []).append(chance(truth_of.mask))
        for regions in ("grid", "slic", "face"):
            settings = replace(SETTINGS, lime_regions=regions)
            around = Neighbourhood.of(face, network, settings)
            masks = draw_masks("hadamard", FEWER, around.num_regions, seed=0)
            weights = fit(masks, around.ask(masks), kernel_width=settings.lime_kernel_width).weights[label]
            rows.setdefault(f"ours, {regions}", []).append(share_inside(weights, around.segments, truth_of.mask))
        explained = stock(model, face, None, batch_size=500)
        weights = np.array([weight for _, weight in sorted(explained.local_exp[label])])
        rows.setdefault("lime as it comes", []).append(share_inside(weights, explained.segments, truth_of.mask))
    if not rows:
        print("\nThe network takes none of the drawn faces for what it is: give a run on the sample with --run-dir.")
        return {}
    means = {name: float(np.mean(shares)) for name, shares in rows.items()}
    print(f"\nShare of the positive weight where the expression is, {len(rows['chance'])} faces")
    for name, share in means.items():
        print(f"{name:24}{share:8.1%}")
    best = max(share for name, share in means.items() if name.startswith("ours"))
    return {
        "inside_to_chance": round(best / means["chance"], 2),
        "inside_to_stock": round(best / means["lime as it comes"], 2),
    }


if __name__ == "__main__":
    main()
