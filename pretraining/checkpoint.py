"""Checkpoint of an unfinished training: its state after a finished epoch, in one file."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretraining.epoch import State

FILE_NAME = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """epochs: planned, so that the schedule stays the one that was begun. seconds: spent so far."""

    state: State
    epochs_done: int
    epochs: int
    seconds: float


def save_checkpoint(folder: Path, fingerprint: str, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint. fingerprint: of the recipe, the seed, the data and the teachers."""
    told = json.dumps([fingerprint, checkpoint.epochs_done, checkpoint.epochs, checkpoint.seconds])
    leaves: dict[str, Any] = {
        f"leaf_{number:05d}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(checkpoint.state))
    }
    temporary = folder / f"{FILE_NAME}.tmp.npz"
    np.savez(temporary, told=np.array(told), **leaves)
    temporary.replace(folder / FILE_NAME)


def load_checkpoint(folder: Path, fingerprint: str, like: State) -> Checkpoint | None:
    """The folder's checkpoint; None, said in the output, when there is none of this training. like: a state of it."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    expected, structure = jax.tree.flatten(like)
    try:
        with np.load(path, allow_pickle=False) as stored:
            found, epochs_done, epochs, seconds = json.loads(str(stored["told"]))
            leaves = [stored[name] for name in sorted(stored.files) if name.startswith("leaf_")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        print(f"{path} cannot be read ({error}); the training starts over.", flush=True)
        return None
    if found != fingerprint or [leaf.shape for leaf in leaves] != [leaf.shape for leaf in expected]:
        print(f"{path} is of another recipe, data set or network; the training starts over.", flush=True)
        return None
    values = [jnp.asarray(leaf, dtype=old.dtype) for leaf, old in zip(leaves, expected, strict=True)]
    return Checkpoint(jax.tree.unflatten(structure, values), epochs_done, epochs, seconds)
