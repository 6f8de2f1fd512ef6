"""LIME explanations: speed and stability against the stock lime package, for the same network and the same faces.

    python benchmarks/lime.py [--faces-from runs/<run>] [--model runs/<run>] [--faces 21] [--rounds 1]

Speed: seconds an explanation with the same squares and number of copies, by `LimeImageExplainer.explain_instance` and
by ours. lime runs as its tutorial for Keras has it, batches of 10 through `predict` (speedup_default), and as someone
would who has measured: `predict_on_batch`, in batches of 10 (speedup_default_on_batch) and 500 (speedup_batch500).
Each library has a process of its own, with the threads that suit it; they take turns face by face, one waiting for the
other, so that a busy minute hits both, and the ratios are medians over faces and rounds. Stability: top-5 Jaccard and
rank correlation over 5 seeds, for each design and number of copies; the fewest copies of ours that are as stable as
1,000 random ones give the speed at equal stability, against lime's batches of 500. Ranking: both figures once more, for
our arithmetic against float32 on the same copies. Without --faces-from, faces are drawn; with it, they are validation
faces of that run. The last line is JSON.
"""

import argparse
import contextlib
import io
import itertools
import json
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks.dataset import load_split  # noqa: E402
from fer_tasks.drawn_face import draw_face  # noqa: E402
from fer_tasks.emotions import NUM_EMOTIONS  # noqa: E402
from fer_tasks.explained_network import ExplainedNetwork, Network, network_to_explain  # noqa: E402
from fer_tasks.face_regions import grid_segments  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402
from fer_tasks.lime_evidence import rank_correlation, top_overlap  # noqa: E402
from fer_tasks.lime_surrogate import fit_copies  # noqa: E402
from fer_tasks.model import load_model, predict_probabilities  # noqa: E402
from fer_tasks.neighbourhood import Neighbourhood  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.sampling_designs import draw_masks  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402
from fer_tasks.training_network import use_cores  # noqa: E402

SAMPLES, SEEDS = 1000, 5
NUMBERS = (129, 250, 513, SAMPLES)  # 250 is the aim; 2^k + 1: a whole Hadamard matrix and the face
DESIGNS = ("random", "antithetic", "hadamard")
SETTINGS = RunSettings()
Array = np.ndarray[Any, Any]

model: Any = None
network: Any = None  # of the process; None in that of the stock package
exact: Any = None  # the same in float32


class Timed(Network):
    """Adds up the seconds that the calls for copies take."""

    def __init__(self, network: ExplainedNetwork) -> None:
        self.seconds = 0.0
        self.probabilities, self._of_copies = network.probabilities, network.of_copies

    def of_copies(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        answer = self._of_copies(*arguments)
        self.seconds += time.perf_counter() - started
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=PRETRAINED, metavar="FOLDER")
    parser.add_argument("--faces-from", type=Path, metavar="RUN")
    parser.add_argument("--faces", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    faces = choose_faces(options.faces_from, options.faces)
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context, prepare, (options.model, False)) as stock,
        ProcessPoolExecutor(1, context, prepare, (options.model, True)) as fast,
    ):
        found, copies = stability(fast, faces)
        kept = ranking_kept(fast, faces)
        print(json.dumps(speed(stock, fast, faces, options.rounds, copies) | found | kept))


def choose_faces(run: Path | None, number: int) -> list[Array]:
    """float32 (48, 48), the emotions in turn."""
    if run is None:
        drawn = [draw_face(n % NUM_EMOTIONS, np.random.default_rng([9, n])) for n in range(number)]
        return [face.pixels / np.float32(255) for face in drawn]
    split = load_split(RunDirectory(run), "validation")
    rows = [np.flatnonzero(split.labels == n % NUM_EMOTIONS)[n // NUM_EMOTIONS] for n in range(number)]
    return [split.pixels[row, ..., 0] for row in rows]


def prepare(folder: Path, is_ours: bool) -> None:
    """Once a process."""
    global model, network, exact
    if is_ours:
        use_cores()
    model = load_model(folder / "model.keras")
    if is_ours:
        exact = ExplainedNetwork(model)
        network = Timed(network_to_explain(model, SETTINGS.precision))


def explain_stock(face: Array, batch_size: int, through_predict: bool = False) -> float:
    """Seconds of lime's own explanation of all seven emotions."""
    from lime.lime_image import LimeImageExplainer

    ask = partial(model.predict, verbose=0) if through_predict else partial(predict_probabilities, model)
    started = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        LimeImageExplainer(random_state=0).explain_instance(
            np.repeat(face[..., None], 3, axis=-1),
            lambda copies: ask(copies[..., :1]),
            top_labels=NUM_EMOTIONS,
            num_samples=SAMPLES,
            batch_size=batch_size,
            segmentation_fn=lambda image: grid_segments(SETTINGS.lime_grid),
        )
    return time.perf_counter() - started


def explain_fast(face: Array, design: str, samples: int, seed: int) -> tuple[float, float, Array, int]:
    """Seconds, those in the network, float64 (7, regions), and the predicted emotion."""
    started, before = time.perf_counter(), network.seconds
    around = Neighbourhood.of(face, network, SETTINGS)
    masks = draw_masks(design, samples, around.centres, seed=seed)
    answers = around.ask(masks)
    weights = fit_copies(masks, answers, around.centres, replace(SETTINGS, lime_design=design)).weights
    return time.perf_counter() - started, network.seconds - before, weights, int(answers[0].argmax())


def speed(stock: Any, fast: Any, faces: list[Array], rounds: int, copies: int) -> dict[str, float]:
    """copies: of a Hadamard design that is as stable as 1,000 random ones."""
    names = (
        "lime, predict, 10",
        "lime, predict_on_batch, 10",
        "lime, predict_on_batch, 500",
        f"ours, {SAMPLES} random",
        f"ours, {copies} hadamard",
    )
    turns = []
    stock.submit(explain_stock, faces[0], 500).result()
    for face in faces * rounds:
        stocks = [stock.submit(explain_stock, face, *how).result() for how in ((10, True), (10,), (500,))]
        same = fast.submit(explain_fast, face, "random", SAMPLES, 0).result()
        fewer = fast.submit(explain_fast, face, "hadamard", copies, 0).result()
        turns.append((*stocks, same[0], fewer[0], same[1] / same[0]))
    print(f"\n{len(turns)} turns")
    for name, values in zip(names, zip(*turns, strict=True), strict=False):
        print(f"{name:28}{statistics.median(values):8.3f} s an explanation, median; best {min(values):.3f}")
    ratios = {
        "speedup_default": [turn[0] / turn[3] for turn in turns],
        "speedup_default_on_batch": [turn[1] / turn[3] for turn in turns],
        "speedup_batch500": [turn[2] / turn[3] for turn in turns],
        "speedup_equal_stability": [turn[2] / turn[4] for turn in turns],
        "inside_model_share": [turn[5] for turn in turns],
    }
    return {name: round(statistics.median(values), 3) for name, values in ratios.items()}


def stability(fast: Any, faces: list[Array]) -> tuple[dict[str, float], int]:
    """Mean over faces and pairs of seeds, for the predicted emotion; and the copies that speed is measured with."""
    print(f"{'design':12}{'copies':>8}{'top-5 overlap':>15}{'rank correlation':>18}")
    found = {}
    for samples, design in itertools.product(NUMBERS, DESIGNS):
        figures = []
        for face in faces:
            told = [fast.submit(explain_fast, face, design, samples, seed).result() for seed in range(SEEDS)]
            for one, other in itertools.combinations([weights[label] for _, _, weights, label in told], 2):
                figures.append((top_overlap(one, other), rank_correlation(one, other)))
        found[samples, design] = np.mean(figures, axis=0)
        overlap, correlation = found[samples, design]
        print(f"{design:12}{samples:8}{overlap:15.3f}{correlation:18.3f}", flush=True)
    aim = found[SAMPLES, "random"]
    copies = next((n for n in NUMBERS if (found[n, "hadamard"] >= aim).all()), SAMPLES)
    ratio = found[250, "hadamard"] / aim
    return {
        "copies_as_stable_as_1000_random": copies,
        "overlap_250_to_random_1000": round(float(ratio[0]), 3),
        "rank_correlation_250_to_random_1000": round(float(ratio[1]), 3),
    }, copies


def ranking_kept(fast: Any, faces: list[Array]) -> dict[str, float]:
    """By the arithmetic that is faster than float32."""
    pairs = [fast.submit(explain_in_both, face).result() for face in faces]
    overlaps = [top_overlap(*pair) for pair in pairs]
    correlations = [rank_correlation(*pair) for pair in pairs]
    same = float(np.mean(np.array(overlaps) == 1))
    print(f"\nranking by our arithmetic and by float32: correlation {np.mean(correlations):.4f}, lowest", end=" ")
    print(f"{min(correlations):.4f}; the same five strongest regions in {same:.0%} of the faces")
    return {"rank_correlation_to_float32": round(float(np.mean(correlations)), 4), "same_top5_as_float32": same}


def explain_in_both(face: Array) -> tuple[Array, Array]:
    """float64 (regions,): weights for the predicted emotion from 250 designed copies, ours and in float32."""
    around = Neighbourhood.of(face, network, SETTINGS)
    masks = draw_masks("hadamard", 250, around.centres, seed=0)
    answers = [replace(around, network=asked).ask(masks) for asked in (network, exact)]
    label = int(around.probabilities.argmax())
    ours, in_float32 = (fit_copies(masks, answer, around.centres, SETTINGS).weights[label] for answer in answers)
    return ours, in_float32


if __name__ == "__main__":
    main()
