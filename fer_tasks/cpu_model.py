"""The champion for answers at once: a model of Keras exported to LiteRT, which starts and answers without TensorFlow.

    python -m fer_tasks.cpu_model [--model DIR]

measures both forms on the validation faces of a run. `float32` answers as Keras does, to 0.00001. `int8` has weights of
8 bits and rounds what flows between the layers as it comes, so that it needs no faces for its making.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.errors import PipelineError, TrainingError
from fer_tasks.file_lock import locked
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import import_keras, load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from fer_tasks.tracking import home

Form = Literal["float32", "int8"]

MAX_INT8_LOSS = 0.003
"""How much validation accuracy int8 may cost; with more, use float32."""


class CpuModel:
    """A model in LiteRT. It answers `predict_on_batch` as a Keras model does, and serves one thread."""

    def __init__(self, file: Path, *, num_threads: int = 1) -> None:
        """Raises TrainingError where the file is no model."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(file), num_threads=num_threads)
        except ValueError as error:
            raise TrainingError(
                f"{file} cannot be read as an exported model; delete it, so that it is made again."
            ) from error
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._num_faces = 0

    def predict_on_batch(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (n, 7), rows sum to 1, in EMOTIONS order."""
        if len(pixels) != self._num_faces:
            self._interpreter.resize_tensor_input(self._input["index"], pixels.shape)
            self._interpreter.allocate_tensors()
            self._num_faces = len(pixels)
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]))


def load_cpu_model(model_file: Path, form: Form = "float32", *, num_threads: int = 1) -> CpuModel:
    """The model of a .keras file in LiteRT. It is exported the first time, which takes half a minute, and kept.

    What is kept lies in FER_HOME and is known by the file's SHA-256. Raises TrainingError when the file is missing or
    no model.
    """
    if not model_file.is_file():
        raise TrainingError(f"There is no model at {model_file}; give the folder of a run that trained one.")
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    exported = home() / "exported" / f"{digest}-{form}.tflite"
    if not exported.is_file():
        exported.parent.mkdir(parents=True, exist_ok=True)
        with locked(exported.parent / "export.lock"):
            if not exported.is_file():
                temporary = exported.with_suffix(f".{os.getpid()}")
                temporary.write_bytes(export(load_model(model_file), form))
                temporary.replace(exported)
    return CpuModel(exported, num_threads=num_threads)


def export(model: Any, form: Form) -> bytes:
    """A Keras model as the bytes of a .tflite file."""
    import_keras()
    import tensorflow as tf

    with TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if form == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        exported: bytes = converter.convert()
    return exported


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.cpu_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, with its validation faces")
    parser.add_argument("--model", type=Path, metavar="DIR", help=f"another model's folder, such as {PRETRAINED.name}")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(measure(RunDirectory(options.run), (options.model or options.run) / "model.keras")))
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure(run_dir: RunDirectory, model_file: Path) -> list[str]:
    """Accuracy of Keras and both forms on the run's validation faces, and the largest difference of a probability."""
    from fer_tasks.dataset import load_split

    faces = load_split(run_dir, "validation")
    truth = predict_probabilities(load_model(model_file), faces.pixels)
    accuracy = float((truth.argmax(axis=1) == faces.labels).mean())
    lines = [f"keras    accuracy {accuracy:.4f} of {len(faces)} validation faces"]
    for form in ("float32", "int8"):
        model = load_cpu_model(model_file, form)
        started = time.perf_counter()
        found = np.concatenate([model.predict_on_batch(face[None]) for face in faces.pixels])
        milliseconds = 1000 * (time.perf_counter() - started) / len(faces)
        share = float((found.argmax(axis=1) == faces.labels).mean())
        verdict = "" if accuracy - share < MAX_INT8_LOSS else "  LOSES TOO MUCH"
        lines.append(
            f"{form:<8} accuracy {share:.4f} ({share - accuracy:+.4f}), largest difference "
            f"{np.abs(found - truth).max():.6f}, {milliseconds:.2f} ms a face{verdict}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
