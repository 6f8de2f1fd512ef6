"""TrainingCheckpoint: all that an unfinished training needs to go on, in one file that is written whole or not at all.

One file and not a folder, since only a file can take the place of the last one in a single step: there is no moment
at which a killed process leaves none.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

_log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class TrainingCheckpoint:
    """State after a finished epoch.

    fingerprint  of the settings and data; a training with another one must not go on from here
    progress     what the training remembers besides arrays, as a JSON object
    model, optimizer, best   values of the model's and the optimizer's variables, and of the best epoch's network
    """

    fingerprint: str
    progress: dict[str, Any]
    model: Arrays
    optimizer: Arrays
    best: Arrays


_DECISIVE = (
    "seed", "architecture", "network_width", "epochs", "batch_size", "learning_rate", "label_smoothing", "augment",
    "class_weights", "patience", "first_crop_side", "crop_side", "self_distillation", "weight_averaging",
    "frozen_stages", "augmentation_strength", "mixup", "teacher_share",
)  # fmt: skip


def training_fingerprint(settings: RunSettings, beginning: Sequence[str], data: Sequence[str]) -> str:
    """SHA-256 of everything that decides how a training goes on.

    beginning: the arithmetic, and digests of the initial weights and of the teachers. data: digests of the faces.
    """
    chosen = {name: getattr(settings, name) for name in _DECISIVE}
    told = json.dumps([chosen, list(beginning), list(data)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def save_checkpoint(run_dir: RunDirectory, checkpoint: TrainingCheckpoint) -> None:
    """Replace the run's checkpoint."""
    arrays = {
        f"{group}_{number:04d}": values
        for group in ("model", "optimizer", "best")
        for number, values in enumerate(getattr(checkpoint, group))
    }
    state = json.dumps({"fingerprint": checkpoint.fingerprint, "progress": checkpoint.progress})
    with run_dir.replacing(_path(run_dir)) as temporary:
        np.savez(temporary, state=np.array(state), **arrays)


def load_checkpoint(
    run_dir: RunDirectory, fingerprint: str, like: tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
) -> TrainingCheckpoint | None:
    """The run's checkpoint, or None, said in the log, when there is none that this training can go on from.

    like: the model's, the optimizer's and the best model's variables, whose shapes the checkpoint must have.
    """
    path = _path(run_dir)
    if not path.exists():
        return None
    try:
        checkpoint = _read(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        _log.info("The checkpoint %s cannot be read (%s); training starts over.", path, error)
        return None
    if checkpoint.fingerprint != fingerprint:
        _log.info("The checkpoint %s is of other settings or data; training starts over.", path)
        return None
    expected = [[tuple(variable.shape) for variable in variables] for variables in like]
    if [_shapes(checkpoint.model), _shapes(checkpoint.optimizer), _shapes(checkpoint.best)] != expected:
        _log.info("The checkpoint %s is of another network; training starts over.", path)
        return None
    return checkpoint


def _read(path: Path) -> TrainingCheckpoint:
    with np.load(path, allow_pickle=False) as stored:
        state = json.loads(str(stored["state"]))
        groups = {
            group: [stored[name] for name in sorted(stored.files) if name.startswith(f"{group}_")]
            for group in ("model", "optimizer", "best")
        }
    return TrainingCheckpoint(state["fingerprint"], dict(state["progress"]), **groups)


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def _path(run_dir: RunDirectory) -> Path:
    return Path(run_dir.checkpoint_folder) / "last_epoch.npz"
