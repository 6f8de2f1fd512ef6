"""FacesFile: the faces to train on and to validate with in one compressed file, to be carried to another machine."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import DatasetError

SPLITS = ("train", "validation")
"""Never test."""


@dataclass(frozen=True)
class SplitFaces:
    """pixels: uint8 (n, 48, 48). labels: int32 (n,), an index into EMOTIONS."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FacesFile:
    """origin: of the run that they come from. `denoise` and `contrast`: its settings of how a raw image becomes a face;
    `roles`, {published usage: split}; `validation_is_carved` out of the training faces."""

    train: SplitFaces
    validation: SplitFaces
    origin: dict[str, Any]

    def sha256(self) -> str:
        """Of all pixels and labels, in their order."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            digest.update(np.ascontiguousarray(split.pixels).data)
            digest.update(np.ascontiguousarray(split.labels, dtype="<i4").data)
        return digest.hexdigest()


def save_faces(path: Path, faces: FacesFile) -> None:
    """Write `faces` as an .npz that numpy reads too.

    Each pixel row is stored as its difference from the row above, modulo 256, and packed by bzip2: 0.74 of the bytes
    for FER-2013, where the usual .npz of the pixels themselves needs 0.96.
    """
    arrays: dict[str, NDArray[Any]] = {"origin": np.array(json.dumps(faces.origin, sort_keys=True))}
    for name in SPLITS:
        split: SplitFaces = getattr(faces, name)
        arrays[f"{name}_row_differences"] = np.diff(split.pixels, axis=1, prepend=np.uint8(0))
        arrays[f"{name}_labels"] = split.labels.astype(np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", content.getvalue())


def load_faces(path: Path) -> FacesFile:
    """What `save_faces` wrote. Raises DatasetError when it is another file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            splits = [_split(stored[f"{name}_row_differences"], stored[f"{name}_labels"]) for name in SPLITS]
            origin = json.loads(str(stored["origin"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} is not a file of faces ({error}); write it with pretraining.export_faces."
        ) from error
    return FacesFile(splits[0], splits[1], origin)


def as_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (n, 48, 48) -> what models take, float32 (n, 48, 48, 1) in [0, 1]."""
    return np.asarray(pixels[..., None] / np.float32(255), dtype=np.float32)


def _split(differences: NDArray[np.uint8], labels: NDArray[np.uint8]) -> SplitFaces:
    pixels = np.cumsum(differences, axis=1, dtype=np.uint8)
    if pixels.shape != (len(labels), IMAGE_SIDE, IMAGE_SIDE) or len(labels) == 0 or labels.max() >= NUM_EMOTIONS:
        raise ValueError(f"{len(labels)} labels for pixels of the shape {pixels.shape}")
    return SplitFaces(pixels, labels.astype(np.int32))
