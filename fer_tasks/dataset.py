"""load_split: the faces of one split as the preprocessing step left them, in an order that every rerun keeps."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS, NUM_PIXELS, SPLITS
from fer_tasks.errors import DatasetError
from fer_tasks.face_filters import grey_levels, normalise
from fer_tasks.run_directory import RunDirectory

if TYPE_CHECKING:
    import pyarrow as pa

_FACES_A_PART = 1024
_DETAILS = ("position", "augmentation", "image_id", "source", "label")


@dataclass(frozen=True)
class Faces:
    """Faces of one split, ordered by position; a changed copy follows its original.

    pixels    float32 (n, 48, 48, 1) in [0, 1]; uint8 after `in_grey_levels`
    labels    int32 (n,), an index into EMOTIONS
    position  int64 (n,), place in the data set
    image_id, source  object (n,), str
    """

    pixels: NDArray[Any]
    labels: NDArray[np.int32]
    position: NDArray[np.int64]
    image_id: NDArray[Any]
    source: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the pixels and labels, in their order."""
        digest = hashlib.sha256(self.pixels.data)
        digest.update(self.labels.data)
        return digest.hexdigest()

    def in_grey_levels(self) -> "Faces":
        """The same faces in a quarter of the memory: pixels as the uint8 grey levels that `normalise` takes.

        Unchanged where a pixel is none of the 256 values, as in a table that preprocess_faces did not write.
        """
        levels = grey_levels(self.pixels)
        return self if levels is None else replace(self, pixels=levels)

    def pixel_parts(self) -> Iterator[NDArray[np.float32]]:
        """The pixels of at most 1,024 faces at a time, in their order, as float32 whatever they are kept as."""
        for start in range(0, len(self), _FACES_A_PART):
            part = self.pixels[start : start + _FACES_A_PART]
            yield normalise(part) if part.dtype == np.uint8 else part


def load_split(where: RunDirectory | Path, split: str) -> Faces:
    """The faces of `split` (one of SPLITS) of a run, or below a faces.parquet folder.

    Raises DatasetError when there are none, or when the table is not the one that preprocess_faces writes.
    """
    files = split_files(where, split)
    folder = files[0].parent
    table = _details(files)
    check_not_empty(len(table), folder)
    pixels, labels = _pixels(files, len(table)), checked_labels(table["label"], folder)
    order = _order(table)
    return Faces(
        pixels=pixels if (np.diff(order) == 1).all() else pixels[order],
        labels=labels[order],
        position=table["position"].to_numpy().astype(np.int64)[order],
        image_id=table["image_id"].to_numpy()[order],
        source=table["source"].to_numpy()[order],
    )


def split_files(where: RunDirectory | Path, split: str) -> list[Path]:
    """The Parquet files of `split`, by name; where preprocess_faces wrote them, positions rise from file to file.

    Raises DatasetError when there are none. An absent folder is how Spark writes an empty split.
    """
    if split not in SPLITS:
        raise DatasetError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
    folder = (where.faces if isinstance(where, RunDirectory) else Path(where)) / f"split={split}"
    if not folder.parent.is_dir():
        raise DatasetError(f"There is no {folder.parent}; run preprocess_faces first.")
    files = sorted(folder.glob("*.parquet"))
    check_not_empty(len(files), folder)
    return files


def check_not_empty(count: int, folder: Path) -> None:
    """folder: of a split, `split=<name>`. Raises DatasetError when count is 0."""
    if not count:
        split = folder.name.removeprefix("split=")
        raise DatasetError(f"There are no {split} images in {folder.parent}; the data set needs some of each split.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what Arrow says of a damaged file into a DatasetError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path} cannot be read as Parquet ({reason}); run preprocess_faces again.") from error


def check_columns(names: Sequence[str], path: Path) -> None:
    """Raises DatasetError unless the table's columns include those of faces."""
    if missing := {*_DETAILS, "pixels"} - set(names):
        raise DatasetError(
            f"{path} lacks the column(s) {', '.join(sorted(missing))}; run preprocess_faces again to write them."
        )


def _details(files: Sequence[Path]) -> "pa.Table":
    """All columns but the pixels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, path)
            parts.append(file.read(columns=list(_DETAILS)))
    with reading(files[0].parent):
        return pa.concat_tables(parts)


def _order(table: "pa.Table") -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pa.table(
        {
            "position": table["position"],
            "augmentation": pc.fill_null(table["augmentation"].cast(pa.string()), ""),
            "image_id": table["image_id"],
        }
    )
    indices = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    return np.asarray(indices.to_numpy(), dtype=np.int64)


def _pixels(files: Sequence[Path], num_faces: int) -> NDArray[np.float32]:
    """float32 (n, 48, 48, 1). Read in small parts, so that the values exist only once."""
    import pyarrow.parquet as pq

    pixels = np.empty((num_faces, NUM_PIXELS), dtype=np.float32)
    start = 0
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            for part in file.iter_batches(_FACES_A_PART, columns=["pixels"]):
                pixels[start : start + len(part)] = face_rows(part.column("pixels"), path)
                start += len(part)
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails both
        raise DatasetError(
            f"{files[0].parent} holds pixel values from {pixels.min()} to {pixels.max()}; expected [0, 1]. "
            "Run preprocess_faces again."
        )
    return pixels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 1)


def face_rows(chunk: "pa.ListArray", path: Path) -> NDArray[np.float32]:
    """float32 (n, 2304). Raises DatasetError when a face has another number of pixels."""
    import pyarrow.compute as pc

    lengths = pc.unique(pc.list_value_length(chunk)).to_pylist()
    if lengths not in ([], [NUM_PIXELS]):
        raise DatasetError(f"{path} holds faces of {lengths} pixels; expected {NUM_PIXELS} in each.")
    rows: NDArray[np.float32] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), NUM_PIXELS)
    return rows


def checked_labels(column: "pa.ChunkedArray", folder: Path) -> NDArray[np.int32]:
    """int32 (n,). Raises DatasetError when one is no index into EMOTIONS."""
    labels: NDArray[Any] = column.to_numpy()
    if column.null_count or labels.min() < 0 or labels.max() >= NUM_EMOTIONS:
        raise DatasetError(f"{folder} holds labels outside 0 to {NUM_EMOTIONS - 1}; run preprocess_faces again.")
    return np.asarray(labels, dtype=np.int32)
