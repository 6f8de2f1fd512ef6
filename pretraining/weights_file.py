"""WeightsFile: a trained network as plain arrays in Keras's order, with the proof that it was read back right."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.errors import TrainingError

NUM_CHECK_FACES = 64


@dataclass(frozen=True)
class Training:
    """Where weights come from. recipe: a Recipe as JSON object.

    cut_after_epoch   the epoch at whose end the time was up, before the schedule's end; None for a whole training
    teachers          names of the teachers' files; empty for training on labels
    accuracies        on validation, in float32: of the face itself, and of the mean of ten views
    """

    name: str
    recipe: dict[str, Any]
    seed: int
    data_sha256: str
    teachers: tuple[str, ...]
    num_parameters: int
    seconds: float
    cut_after_epoch: int | None
    single_view_accuracy: float
    ten_view_accuracy: float


@dataclass(frozen=True)
class WeightsFile:
    """weights: arrays in the order of the model's `weights`. check_faces: uint8 (64, 48, 48), drawn at random.

    check_outputs: float32 (64, 7), probabilities of the check faces by these weights in float32.
    validation: float16 (2, n, 7), probabilities of the validation faces: of the face itself, and the mean of ten views.
    """

    training: Training
    weights: list[NDArray[Any]]
    check_faces: NDArray[np.uint8]
    check_outputs: NDArray[np.float32]
    validation: NDArray[np.float16]


def check_faces() -> NDArray[np.uint8]:
    """uint8 (64, 48, 48): coarse patches and fine noise, the same ones always, and no picture of anybody."""
    rng = np.random.default_rng(2013)
    coarse = rng.integers(0, 160, (NUM_CHECK_FACES, 6, 6)).repeat(8, axis=1).repeat(8, axis=2)
    fine = rng.integers(0, 96, (NUM_CHECK_FACES, IMAGE_SIDE, IMAGE_SIDE))
    return (coarse + fine).astype(np.uint8)


def rounded(weights: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Kernels as float16, half the size; the rest, whose range is unknown, stays float32. Raises when one overflows."""
    with np.errstate(over="raise"):
        return [array.astype(np.float16) if array.ndim >= 2 else array for array in weights]


def save_weights(path: Path, content: WeightsFile) -> None:
    """Written beside `path` first, so that a killed process leaves no half of it."""
    arrays: dict[str, Any] = {f"weights_{number:04d}": array for number, array in enumerate(content.weights)}
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(
        temporary,
        training=np.array(json.dumps(asdict(content.training))),
        check_faces=content.check_faces,
        check_outputs=content.check_outputs,
        validation=content.validation,
        **arrays,
    )
    temporary.replace(path)


def load_weights_file(path: Path) -> WeightsFile:
    """What `save_weights` wrote; weights as float32. Raises TrainingError when it is another file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            training = json.loads(str(stored["training"]))
            training["teachers"] = tuple(training["teachers"])
            names = sorted(name for name in stored.files if name.startswith("weights_"))
            return WeightsFile(
                training=Training(**training),
                weights=[stored[name].astype(np.float32) for name in names],
                check_faces=stored["check_faces"],
                check_outputs=stored["check_outputs"],
                validation=stored["validation"],
            )
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} holds no weights of pretraining.train ({error}).") from error


def assign_weights(model: Any, weights: list[NDArray[Any]]) -> None:
    """Put them into `model`. Raises TrainingError when they are of another network."""
    theirs, ours = [array.shape for array in weights], [tuple(variable.shape) for variable in model.weights]
    if theirs != ours:
        raise TrainingError(
            f"The {len(theirs)} arrays of weights do not fit the {len(ours)} of the network {model.name!r}."
        )
    for variable, array in zip(model.weights, weights, strict=True):
        variable.assign(array)
