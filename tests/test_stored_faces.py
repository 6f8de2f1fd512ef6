import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_faces import cut_split, write_faces, write_split

from fer_tasks.errors import DatasetError
from fer_tasks.stored_faces import open_split, read_group


@pytest.fixture
def stored_run(make_run):
    """25 training faces in three files of 9, 9 and 7, in row groups of 4."""
    run_dir = make_run()
    rows = write_faces(run_dir, {"train": 25})["train"]
    cut_split(run_dir, "train", num_files=3, faces_a_group=4)
    return run_dir, rows


def test_faces_stand_in_the_order_of_files_and_rows(stored_run):
    run_dir, rows = stored_run
    stored = open_split(run_dir, "train")
    assert len(stored) == 25
    assert stored.labels.tolist() == [label for _, label, _ in rows]
    assert [(group.path.name[5:10], group.number, group.first, group.num_faces) for group in stored.groups] == [
        ("00000", 0, 0, 4),
        ("00000", 1, 4, 4),
        ("00000", 2, 8, 1),
        ("00001", 0, 9, 4),
        ("00001", 1, 13, 4),
        ("00001", 2, 17, 1),
        ("00002", 0, 18, 4),
        ("00002", 1, 22, 3),
    ]


def test_a_row_group_holds_the_grey_levels_that_were_written(stored_run):
    run_dir, rows = stored_run
    pixels = read_group(open_split(run_dir, "train").groups[4])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, 48, 48, 1))
    assert (pixels[..., 0] == np.stack([face for _, _, face in rows[13:17]])).all()


def test_the_fingerprint_is_of_the_files_bytes_in_their_order(stored_run):
    run_dir, _ = stored_run
    files = sorted((run_dir.faces / "split=train").iterdir())
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)
    assert open_split(run_dir, "train").fingerprint == hashlib.sha256(digests).hexdigest()


def test_a_value_between_two_grey_levels_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_split(run_dir, "train", [(0, 1, np.zeros((48, 48), np.uint8))])
    path = run_dir.faces / "split=train" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None).drop_columns("pixels")
    for odd in (0.3, float("nan")):
        values = pa.array([[0.0] * 2303 + [odd]], pa.list_(pa.float32()))
        pq.write_table(table.append_column("pixels", values), path)
        with pytest.raises(DatasetError, match=r"none of the 256 grey levels .* raise the setting `memory_limit_mb`"):
            read_group(open_split(run_dir, "train").groups[0])


def test_what_is_no_table_of_faces_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_split(run_dir, "train", [])
    with pytest.raises(DatasetError, match="no train images"):
        open_split(run_dir, "train")
    path = run_dir.faces / "split=train" / "part-0.parquet"
    pq.write_table(pa.table({"label": [1]}), path)
    with pytest.raises(DatasetError, match=r"part-0.parquet lacks the column\(s\) augmentation, image_id, pixels"):
        open_split(run_dir, "train")
    path.write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match=r"part-0.parquet cannot be read as Parquet .* run preprocess_faces again"):
        open_split(run_dir, "train")
