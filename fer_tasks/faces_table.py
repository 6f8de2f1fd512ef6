"""The table faces as Arrow batches, and how a Spark task writes them."""

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from fer_tasks.emotions import IMAGE_SIDE, NUM_PIXELS
from fer_tasks.face_filters import change_face, filter_face, normalise
from fer_tasks.settings import RunSettings

FACES = pa.schema(
    {
        "position": pa.int64(),
        "image_id": pa.string(),
        "source": pa.string(),
        "label": pa.int32(),
        "augmentation": pa.string(),
        "pixels": pa.list_(pa.float32()),
        "split": pa.string(),
    }
)
"""`split` becomes the folder's name."""

FACES_A_ROW_GROUP = 256
"""About 0.6 MB: small enough for a shuffle buffer to hold many, large enough for the dictionary of 256 grey levels not
to count (0.4% more than in groups of 1,024, and read as fast)."""


def face_writer(folder: str, settings: RunSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For mapInArrow: writes a partition's batches of images as faces below `folder`, returns nothing.

    Arrow writes dictionary-encoded lists of float at a quarter of the cost of a way through the JVM to Spark's writer.
    A repeated task overwrites its own files with the same content.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        partition = TaskContext.get().partitionId()  # type: ignore[union-attr]  # a task has one
        cv2.setNumThreads(1)  # Spark already keeps every core busy
        ds.write_dataset(
            (_prepare_batch(batch, settings) for batch in batches),
            folder,
            schema=FACES,
            format="parquet",
            file_options=ds.ParquetFileFormat().make_write_options(compression="zstd"),
            partitioning=ds.partitioning(pa.schema([FACES.field("split")]), flavor="hive"),
            basename_template=f"part-{partition:05d}-{{i}}.parquet",
            existing_data_behavior="overwrite_or_ignore",
            min_rows_per_group=FACES_A_ROW_GROUP,
            max_rows_per_group=FACES_A_ROW_GROUP,
            preserve_order=True,
            use_threads=False,
        )
        yield from ()

    return write


def _prepare_batch(batch: pa.RecordBatch, settings: RunSettings) -> pa.RecordBatch:
    images = batch.to_pydict()
    faces = np.empty((batch.num_rows, IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    augmentation: list[str | None] = [None] * batch.num_rows
    for row, (pixels, height, width) in enumerate(
        zip(images["pixels"], images["height"], images["width"], strict=True)
    ):
        faces[row] = filter_face(np.frombuffer(pixels, np.uint8).reshape(height, width), settings)
        if copy_number := images["copy_number"][row]:
            faces[row], augmentation[row] = change_face(
                faces[row], seed=settings.seed, image_id=images["image_id"][row], copy_number=copy_number
            )
    starts = pa.array(np.arange(batch.num_rows + 1, dtype=np.int32) * NUM_PIXELS)
    columns = {
        **{name: batch.column(name) for name in ("position", "image_id", "source", "label")},
        "augmentation": pa.array(augmentation, pa.string()),
        "pixels": pa.ListArray.from_arrays(starts, pa.array(normalise(faces).ravel())),
        "split": batch.column("split"),
    }
    return pa.RecordBatch.from_pydict(columns, schema=FACES)
