"""load_split: the faces of one split as the preprocessing step left them, in an order that every rerun keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS, NUM_PIXELS, SPLITS
from fer_tasks.errors import DatasetError
from fer_tasks.run_directory import RunDirectory

if TYPE_CHECKING:
    import pyarrow as pa

_DETAILS = ("position", "augmentation", "image_id", "source", "label")


@dataclass(frozen=True)
class Faces:
    """Faces of one split, ordered by position; a changed copy follows its original.

    pixels    float32 (n, 48, 48, 1) in [0, 1]
    labels    int32 (n,), an index into EMOTIONS
    position  int64 (n,), place in the data set
    image_id, source  object (n,), str
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]
    position: NDArray[np.int64]
    image_id: NDArray[Any]
    source: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)


def load_split(where: RunDirectory | Path, split: str) -> Faces:
    """The faces of `split` (one of SPLITS) of a run, or below a faces.parquet folder.

    Raises DatasetError when there are none, or when the table is not the one that preprocess_faces writes.
    """
    if split not in SPLITS:
        raise DatasetError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
    folder = (where.faces if isinstance(where, RunDirectory) else Path(where)) / f"split={split}"
    table = _read(folder)
    if len(table) == 0:
        raise DatasetError(f"There are no {split} images in {folder.parent}; the data set needs some of each split.")
    pixels, labels = _pixels(table["pixels"], folder), _labels(table["label"], folder)
    order = _order(table)
    return Faces(
        pixels=pixels if (np.diff(order) == 1).all() else pixels[order],
        labels=labels[order],
        position=table["position"].to_numpy().astype(np.int64)[order],
        image_id=table["image_id"].to_numpy()[order],
        source=table["source"].to_numpy()[order],
    )


def _read(folder: Path) -> "pa.Table":
    """All rows below `folder`; none where the folder is absent, which is how Spark writes an empty split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not folder.parent.is_dir():
        raise DatasetError(f"There is no {folder.parent}; run preprocess_faces first.")
    if not any(folder.glob("*.parquet")):
        return pa.table({})
    try:
        table = pq.read_table(folder, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{folder} cannot be read as Parquet ({error}); run preprocess_faces again.") from error
    if missing := {*_DETAILS, "pixels"} - set(table.column_names):
        raise DatasetError(
            f"{folder} lacks the column(s) {', '.join(sorted(missing))}; run preprocess_faces again to write them."
        )
    return table


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


def _pixels(column: "pa.ChunkedArray", folder: Path) -> NDArray[np.float32]:
    """float32 (n, 48, 48, 1). Chunk by chunk, so that the values exist only once beside Arrow's."""
    import pyarrow.compute as pc

    pixels = np.empty((len(column), NUM_PIXELS), dtype=np.float32)
    start = 0
    for chunk in column.chunks:
        lengths = pc.unique(pc.list_value_length(chunk)).to_pylist()
        if lengths not in ([], [NUM_PIXELS]):
            raise DatasetError(f"{folder} holds faces of {lengths} pixels; expected {NUM_PIXELS} in each.")
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        pixels[start : start + len(chunk)] = values.reshape(len(chunk), NUM_PIXELS)
        start += len(chunk)
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails both
        raise DatasetError(
            f"{folder} holds pixel values from {pixels.min()} to {pixels.max()}; expected [0, 1]. "
            "Run preprocess_faces again."
        )
    return pixels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 1)


def _labels(column: "pa.ChunkedArray", folder: Path) -> NDArray[np.int32]:
    labels: NDArray[Any] = column.to_numpy()
    if column.null_count or labels.min() < 0 or labels.max() >= NUM_EMOTIONS:
        raise DatasetError(f"{folder} holds labels outside 0 to {NUM_EMOTIONS - 1}; run preprocess_faces again.")
    return np.asarray(labels, dtype=np.int32)
