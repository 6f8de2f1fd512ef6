"""The model for answers at once: exported from Keras to LiteRT, which starts and answers without TensorFlow.

    python -m fer_tasks.cpu_model --output model.tflite [--model DIR] [--int8]

`float32` answers as Keras does, to 0.00001. `int8` has weights of 8 bits and rounds what flows between the layers as it
comes, so that its making needs no faces. benchmarks/inference.py says how fast both are, and what int8 costs.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import PipelineError, TrainingError
from fer_tasks.file_lock import locked
from fer_tasks.initial_weights import model_file
from fer_tasks.model import import_keras, load_model, predict_probabilities
from fer_tasks.named_model import MODEL_HELP, model_folder
from fer_tasks.run_storage import home

Form = Literal["float32", "int8"]

MAX_DEVIATION = {"float32": 1e-4, "int8": 0.5}
"""Of a probability from what Keras says of a few random pictures. Far more means that the export went wrong, as Keras
3.15's own does: it leaves batch normalisation as it is in training."""

_NUM_PROBES = 4


class CpuModel:
    """A model in LiteRT. It answers `predict_on_batch` as a Keras model does, and serves one thread at a time.

    crop_side: of the middle part of a face that it looks at, in pixels.
    """

    def __init__(self, file: Path, *, crop_side: int = IMAGE_SIDE, num_threads: int = 1) -> None:
        """Raises TrainingError where the file is no model."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(file), num_threads=num_threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TrainingError(f"{file} is no exported model; delete it, so that it is made again.") from error
        (asked,), (answered,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._face, self._emotions = asked["index"], answered["index"]
        self.crop_side = crop_side

    def predict_on_batch(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (n, 7), rows sum to 1, in EMOTIONS order.

        One face after the other, since a whole batch leaves the processor's cache: it takes longer a face.
        """
        answers = np.empty((len(pixels), NUM_EMOTIONS), np.float32)
        for face, answer in zip(pixels, answers, strict=True):
            self._interpreter.set_tensor(self._face, face[None])
            self._interpreter.invoke()
            answer[:] = self._interpreter.get_tensor(self._emotions)[0]
        return answers


class ParallelCpuModel:
    """A model in LiteRT once a thread, so that each core answers an equal part of a call. Any thread may call it."""

    def __init__(self, model: Any, form: Form, *, num_threads: int) -> None:
        """model: of Keras, exported for this object alone in some seconds. Raises TrainingError as `export` does."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.tflite"
            export(model, file, form)
            self._models = [CpuModel(file) for _ in range(num_threads)]
        self._threads = ThreadPoolExecutor(num_threads)
        self._free = Lock()

    def predict_on_batch(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """As that of CpuModel."""
        parts = np.array_split(pixels, len(self._models))
        with self._free:
            return np.concatenate(list(self._threads.map(CpuModel.predict_on_batch, self._models, parts)))


def load_cpu_model(path: Path, form: Form = "float32", *, num_threads: int = 1) -> CpuModel:
    """The model of a .keras file, or of a run's folder, in LiteRT. It is exported the first time, and kept.

    What is kept lies in FER_HOME and is known by the file's SHA-256. Raises TrainingError when the file is missing or
    no model.
    """
    file = model_file(path)
    return CpuModel(exported(file, form), crop_side=crop_side(file), num_threads=num_threads)


def exported(file: Path, form: Form) -> Path:
    """The .tflite file made of a .keras file; made, if it is not there, in half a minute.

    Raises TrainingError when the file is missing or no model.
    """
    if not file.is_file():
        raise TrainingError(f"There is no model at {file}; give the folder of a run that trained one.")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    kept = home() / "exported" / f"{digest}-{form}.tflite"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with locked(kept.parent / "export.lock"):
            if not kept.is_file():
                print(f"Exporting {file} to LiteRT ({form}), once.", file=sys.stderr)
                temporary = kept.with_suffix(f".{os.getpid()}")
                try:
                    export(load_model(file), temporary, form)
                    temporary.replace(kept)
                finally:
                    temporary.unlink(missing_ok=True)
    return kept


def export(model: Any, target: Path, form: Form) -> None:
    """Write a Keras model as a .tflite file. Raises TrainingError where that one would answer otherwise."""
    keras = import_keras()
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    face = keras.InputSpec(shape=(None, IMAGE_SIDE, IMAGE_SIDE, 1), dtype="float32")
    archive.add_endpoint("serve", lambda faces: model(faces, training=False), input_signature=[face])
    with TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if form == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        target.write_bytes(converter.convert())
    _check(model, target, form)


def _check(model: Any, file: Path, form: Form) -> None:
    probes = np.random.default_rng(0).random((_NUM_PROBES, IMAGE_SIDE, IMAGE_SIDE, 1), np.float32)
    deviation = float(np.abs(CpuModel(file).predict_on_batch(probes) - predict_probabilities(model, probes)).max())
    if not deviation <= MAX_DEVIATION[form]:
        raise TrainingError(
            f"Exported to LiteRT ({form}), the model says {deviation:.2g} else than in Keras, at most "
            f"{MAX_DEVIATION[form]:g} is allowed; use Keras for it (--runtime keras, or a precision of float32)."
        )


def crop_side(file: Path) -> int:
    """Of the middle part of a face that the model of a .keras file looks at, in pixels; read without Keras."""
    with zipfile.ZipFile(file) as parts:
        layers = json.loads(parts.read("config.json"))["config"]["layers"]
    return next((layer["config"]["height"] for layer in layers if layer["class_name"] == "CenterCrop"), IMAGE_SIDE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.cpu_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.tflite")
    parser.add_argument("--model", default="pretrained", metavar="DIR", help=f"{MODEL_HELP}; or a .keras file")
    parser.add_argument("--int8", action="store_true", help="weights of 8 bits: a quarter of the size, and faster")
    options = parser.parse_args(arguments)
    try:
        kept = exported(model_file(model_folder(options.model)), "int8" if options.int8 else "float32")
        shutil.copyfile(kept, options.output)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
