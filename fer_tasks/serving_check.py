"""Would the saved model serve? It is loaded in a fresh process, which must answer as evaluate_model did, and is timed.

evaluate_model runs it, since nothing else of the run works at the same time. The process is this module again:

    python -m fer_tasks.serving_check MODEL GOLDEN
"""

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import Faces
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)

MAX_DEVIATION = 1e-5
TIMEOUT_SECONDS = 300.0
_NUM_GOLDEN = 16
_NUM_CALLS = 200
_BATCH = 256
_NUM_BATCHES = 4


@dataclass(frozen=True)
class Served:
    """What a fresh process measured.

    deviation                            largest difference of a probability from the golden ones; None for NaN
    load_seconds                         to read the file, Keras being there already
    p50_milliseconds, p99_milliseconds   for one face, over 200 calls
    images_per_second                    in batches of 256
    """

    deviation: float | None
    load_seconds: float
    p50_milliseconds: float
    p99_milliseconds: float
    images_per_second: float


@dataclass(frozen=True)
class ServingCheck:
    """num_faces: golden ones. served: None where the fresh process failed, and then `problem` says why."""

    num_faces: int
    file_bytes: int
    served: Served | None
    problem: str | None


def run(
    run_dir: RunDirectory, faces: Faces, probabilities: NDArray[np.float32], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> ServingCheck:
    """Keep some faces with their probabilities as the golden ones; write golden_predictions.npz, serving_check.json.

    probabilities: float32 (n, 7), of one view of each face. Whatever goes wrong in the fresh process is recorded and
    left to the gate, so that the evaluation is not lost with it.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, _NUM_GOLDEN).round().astype(int))
    with run_dir.replacing(run_dir.golden_predictions) as temporary:
        np.savez_compressed(temporary, faces=faces.pixels[chosen], probabilities=probabilities[chosen])
    served, problem = None, None
    try:
        served = _ask_fresh_process(run_dir.model, run_dir.golden_predictions, timeout_seconds)
    except (subprocess.SubprocessError, ValueError, TypeError, IndexError) as error:
        problem = _told(error)
    check = ServingCheck(len(chosen), run_dir.model.stat().st_size, served, problem)
    run_dir.save_json(run_dir.serving_check_json, check)
    _log.info("The saved model in a fresh process: %s", problem or served)
    return check


def measure(model_file: Path, golden_file: Path) -> Served:
    """Time the model in the file, and compare it with golden_predictions.npz."""
    started = time.perf_counter()
    model = load_model(model_file)
    load_seconds = time.perf_counter() - started
    with np.load(golden_file) as golden:
        faces, expected = golden["faces"], golden["probabilities"]
    deviation = float(np.abs(predict_probabilities(model, faces) - expected).max())
    _seconds(model, faces[:1])  # builds the graph, so that the clock below is fair
    calls = [_seconds(model, faces[number % len(faces)][None]) for number in range(_NUM_CALLS)]
    batch = np.resize(faces, (_BATCH, *faces.shape[1:]))
    _seconds(model, batch)
    in_batches = sum(_seconds(model, batch) for _ in range(_NUM_BATCHES))
    return Served(
        deviation=deviation,
        load_seconds=load_seconds,
        p50_milliseconds=float(np.quantile(calls, 0.5) * 1000),
        p99_milliseconds=float(np.quantile(calls, 0.99) * 1000),
        images_per_second=_BATCH * _NUM_BATCHES / in_batches,
    )


def _seconds(model: Any, faces: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    predict_probabilities(model, faces)
    return time.perf_counter() - started


def _ask_fresh_process(model: Path, golden: Path, timeout_seconds: float) -> Served:
    """What `measure` says in a new interpreter. Its answer is the last line, whatever a library prints before it."""
    done = subprocess.run(
        [sys.executable, "-m", "fer_tasks.serving_check", str(model), str(golden)],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=True,
    )
    return Served(**json.loads(done.stdout.splitlines()[-1]))


def _told(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"The fresh process gave no answer within {error.timeout:g} s."
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        return f"The fresh process ended with status {error.returncode}: {lines[-1].strip() if lines else 'no word'}"
    return f"The fresh process gave no readable answer ({error})."


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Path(sys.argv[1]), Path(sys.argv[2])))))
