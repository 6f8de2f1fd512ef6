"""StoredFaces: the faces of a split that stay on disk and are read one Parquet row group at a time."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import check_columns, check_not_empty, checked_labels, face_rows, reading, split_files
from fer_tasks.emotions import IMAGE_SIDE
from fer_tasks.errors import DatasetError
from fer_tasks.face_filters import grey_levels
from fer_tasks.run_directory import RunDirectory


@dataclass(frozen=True)
class RowGroup:
    """Row group `number` of a file. first: place of its first face among all faces of the split."""

    path: Path
    number: int
    first: int
    num_faces: int


@dataclass(frozen=True)
class StoredFaces:
    """Faces of one split in the order of files by name and rows in them, which preprocess_faces makes by position.

    labels: int32 (n,), an index into EMOTIONS. fingerprint: sha256 (hex) of the files.
    """

    groups: tuple[RowGroup, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in dict.fromkeys(group.path for group in self.groups):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def open_split(where: RunDirectory | Path, split: str) -> StoredFaces:
    """The faces of `split` as `load_split` takes them. Reads the files' ends and the labels, no pixels.

    Raises DatasetError when there are none, or when a file is not one that preprocess_faces writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    groups: list[RowGroup] = []
    labels, first = [], 0
    files = split_files(where, split)
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, path)
            for number in range(file.num_row_groups):
                groups.append(RowGroup(path, number, first, file.metadata.row_group(number).num_rows))
                first += groups[-1].num_faces
            labels.append(file.read(columns=["label"])["label"])
    folder = files[0].parent
    check_not_empty(first, folder)
    with reading(folder):
        column = pa.chunked_array([chunk for part in labels for chunk in part.chunks])
    return StoredFaces(tuple(groups), checked_labels(column, folder))


def read_group(group: RowGroup) -> NDArray[np.uint8]:
    """uint8 (n, 48, 48, 1), the grey levels. Raises DatasetError when a pixel is no grey level of `normalise`."""
    import pyarrow.parquet as pq

    with reading(group.path), pq.ParquetFile(group.path) as file:
        column = file.read_row_group(group.number, columns=["pixels"], use_threads=False)["pixels"]
    rows = face_rows(column.combine_chunks(), group.path)
    levels = grey_levels(rows)
    if levels is None:
        raise DatasetError(
            f"{group.path} holds pixels from {rows.min()} to {rows.max()} that are none of the 256 grey levels which "
            "preprocess_faces writes; only those are streamed. Run it again, or raise the setting `memory_limit_mb`."
        )
    return levels.reshape(-1, IMAGE_SIDE, IMAGE_SIDE, 1)
