"""The scores of a registered model, to which every run adds its own, and what is known of them.

    runs/scored/<registered model>/scores.parquet/scored_on=<date>/model_version=<n>/run=<run>/*.parquet
    runs/scored/<registered model>/refused.parquet/...

An image counts as scored from the moment that its row is in one of the two tables. A run that is killed between the
two has stored the images of one of them; its retry replaces its own partitions, and without a retry the next run finds
the others new.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tasks.scoring_directory import ScoreFolder

if TYPE_CHECKING:
    import pyarrow as pa

LEDGER = ("path", "file_version")
"""By these an image is known again."""


@dataclass(frozen=True)
class StoredBatch:
    """The scores of one run as they are stored. scored_on: ISO date."""

    run: str
    version: int
    scored_on: str
    folder: Path


def known_images(folder: ScoreFolder, version: int, *, but: str, on: str) -> "pa.Table":
    """`path` and `file_version` of all images that the version has scored or refused, each once.

    but, on: a run and a date whose partitions are left out, since the run would replace them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(dict.fromkeys(LEDGER, pa.string()))
    found = [
        pq.read_table(file, columns=list(LEDGER), partitioning=None).cast(schema)
        for table in (folder.scores, folder.refused)
        for partition in folder.partitions(table, version=version)
        if partition != folder.partition(table, scored_on=on, version=version, run=but)
        for file in sorted(partition.glob("*.parquet"))
    ]
    return pa.concat_tables([schema.empty_table(), *found]).group_by(list(LEDGER)).aggregate([])


def last_batch(folder: ScoreFolder, *, but: str) -> StoredBatch | None:
    """The batch with scores that was stored last by another run than `but`; None where there is none."""
    import pyarrow.parquet as pq

    stored = [path for path in folder.partitions(folder.scores) if path.name != f"run={but}"]
    newest = [path for path in stored if path.parts[-3] == stored[-1].parts[-3]]

    def scored_at(partition: Path) -> str:
        file = min(partition.glob("*.parquet"))
        return str(pq.ParquetFile(file).read_row_group(0, columns=["scored_at"])["scored_at"][0])

    if not newest:
        return None
    last = max(newest, key=scored_at)
    scored_on, version, run = (part.partition("=")[2] for part in last.parts[-3:])
    return StoredBatch(run, int(version), scored_on, last)


def replace_partition(folder: ScoreFolder, partition: Path, ours: Path) -> None:
    """Put the files of a run's table in place of its partition, as a whole; a table without a row has none."""
    import pyarrow.parquet as pq

    files = [file for file in sorted(ours.glob("*.parquet")) if pq.read_metadata(file).num_rows]
    if not files:
        folder.remove(partition)
        return
    with folder.replacing(partition) as temporary:
        temporary.mkdir()
        for file in files:
            try:
                os.link(file, temporary / file.name)
            except OSError:  # on another disk, or on one that has no hard links
                shutil.copyfile(file, temporary / file.name)
