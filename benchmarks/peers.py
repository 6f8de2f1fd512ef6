"""Emotions of face crops by this project and by the packages `fer` and `deepface`: milliseconds a face, and accuracy.

    python benchmarks/peers.py --peer-python VENV/bin/python --faces-from FOLDER [--rounds 20]

Both packages want other versions than this project pins, so they come from an environment of their own:
`uv venv VENV && uv pip install --python VENV/bin/python fer deepface tf-keras`. Each program runs in a process on the
same one core, and they take turns, 25 faces at a time. Timed is the public call from an 8-bit picture of a face, cut
out already, to its probabilities: no search for faces. --faces-from is a folder of `<emotion>/*`. What `fer` and
`deepface` learned from is not documented to the image; both learned from FER-2013, so that their accuracy on it may be
flattered. deepface fetches its weights from the network at its first use; where it cannot, its network is timed with
random weights, which take as long and know nothing. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FACES_A_TURN = 25
PROGRAMS = ("ours, int8", "ours, float32", "fer", "deepface")
UNTRAINED = "deepface untrained"
Array = np.ndarray[Any, Any]
Predict = Callable[[Array], Array]
"""uint8 (48, 48) -> seven numbers in EMOTIONS order."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--faces-from", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--answer", nargs=2, metavar=("PROGRAM", "FACES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(*options.answer)
        return
    if not options.peer_python or not options.faces_from:
        parser.exit(message="It needs --peer-python, with fer and deepface, and --faces-from.\n")
    files = [
        (file, label) for label, name in enumerate(EMOTIONS) for file in sorted((options.faces_from / name).iterdir())
    ]
    labels = np.array([label for _, label in files])
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces.npy"
        np.save(faces, np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file, _ in files]))
        compare(options.peer_python, faces, labels, options.rounds)


def compare(peer_python: Path, faces: Path, labels: Array, rounds: int) -> None:
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {len(labels)} faces\n")
    programs = {}
    for name in PROGRAMS:
        python = sys.executable if name.startswith("ours") else str(peer_python)
        program = Program(name, python, faces)
        if program.problem:
            print(f"{name} cannot predict: {program.problem}\n")
            name = UNTRAINED if name == "deepface" else name
            program = Program(name, python, faces) if name == UNTRAINED else program
        if not program.problem:
            programs[name] = program
    spent: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(-1, rounds):  # the first one warms up
        first = number * FACES_A_TURN % len(labels)
        for name, program in programs.items():
            milliseconds = program.ask(first, first + FACES_A_TURN)["milliseconds"]
            spent[name] += milliseconds if number >= 0 else []
    right = {
        name: float((np.array(p.ask(0, len(labels))["emotions"]) == labels).mean()) for name, p in programs.items()
    }
    print(f"{'':20}{'p50':>9}{'p99':>9}{'start':>9}{'accuracy':>10}")
    for name, times in spent.items():
        p50, p99 = np.quantile(times, (0.5, 0.99))
        accuracy = "" if name == UNTRAINED else f"{right[name]:10.2%}"
        print(f"{name:20}{p50:6.2f} ms{p99:6.2f} ms{programs[name].seconds:7.1f} s{accuracy}")
    peers = [name for name in programs if not name.startswith("ours")]
    mine = statistics.median(spent["ours, int8"])
    ratios = {f"speedup_int8_to_{name}": round(statistics.median(spent[name]) / mine, 2) for name in peers}
    points = {f"points_above_{name}": round(100 * (right["ours, int8"] - right[name]), 1) for name in peers}
    points.pop(f"points_above_{UNTRAINED}", None)
    print(json.dumps(ratios | points))


class Program:
    """A process of `answer`. seconds: up to its first prediction. problem: why it cannot predict, or nothing."""

    def __init__(self, name: str, python: str, faces: Path) -> None:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [python, __file__, "--answer", name, str(faces)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.problem = self._told().get("problem", "")
        self.seconds = time.perf_counter() - started

    def ask(self, first: int, last: int) -> dict[str, Any]:
        assert self._process.stdin
        print(first, last, file=self._process.stdin, flush=True)
        return self._told()

    def _told(self) -> dict[str, Any]:
        """The next line of JSON; libraries print lines of their own."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        return {"problem": "its process ended"}


def answer(name: str, file: str) -> None:
    """Serve one program over standard input and output, in the environment that has it."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    faces = np.load(file)
    try:
        predict = MAKERS[name]()
        predict(faces[0])
    except Exception as error:  # a peer may fail in any way: it is told, and left out
        print(json.dumps({"problem": " ".join(str(error).split())[:200]}), flush=True)
        return
    print("{}", flush=True)
    for line in sys.stdin:
        first, last = map(int, line.split())
        times, emotions = [], []
        for number in range(first, last):
            started = time.perf_counter()
            emotions.append(int(np.argmax(predict(faces[number % len(faces)]))))
            times.append(1000 * (time.perf_counter() - started))
        print(json.dumps({"milliseconds": times, "emotions": emotions}), flush=True)


def ours(form: str) -> Predict:
    sys.path.insert(0, str(PROJECT))
    from fer_tasks.cpu_model import load_cpu_model
    from fer_tasks.face_filters import prepare_face
    from fer_tasks.named_model import model_folder
    from fer_tasks.predict import load_settings

    folder = model_folder("pretrained")
    model, settings = load_cpu_model(folder, form), load_settings(folder)  # type: ignore[arg-type]
    return lambda face: model.predict_on_batch(prepare_face(face, settings)[None, ..., None])[0]


def peer_fer() -> Predict:
    """Its quantized model, its default, without the margin that it adds to faces that it has found itself."""
    from fer.fer import FER

    classifier = FER(offsets=(0, 0))

    def predict(face: Array) -> Array:
        (found,) = classifier.detect_emotions(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), face_rectangles=[(0, 0, 48, 48)])
        return np.array([found["emotions"][name] for name in EMOTIONS])

    return predict


def peer_deepface(is_trained: bool) -> Predict:
    from deepface import DeepFace
    from deepface.commons import weight_utils

    if not is_trained:
        weight_utils.download_weights_if_necessary = lambda **where: ""
        weight_utils.load_model_weights = lambda model, weight_file: model

    def predict(face: Array) -> Array:
        (found,) = DeepFace.analyze(
            cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), actions=["emotion"], detector_backend="skip", silent=True
        )
        return np.array([found["emotion"][name] for name in EMOTIONS])

    return predict


MAKERS: dict[str, Callable[[], Predict]] = {
    "ours, int8": lambda: ours("int8"),
    "ours, float32": lambda: ours("float32"),
    "fer": peer_fer,
    "deepface": lambda: peer_deepface(True),
    UNTRAINED: lambda: peer_deepface(False),
}


if __name__ == "__main__":
    main()
