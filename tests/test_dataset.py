import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_faces import write_faces, write_split

from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError


def grey(value):
    return np.full((48, 48), value, np.uint8)


def test_faces_come_in_the_order_of_position_whatever_file_holds_them(make_run):
    run_dir = make_run()
    write_split(run_dir, "train", [(7, 3, grey(51)), (2, 0, grey(255))], file_name="b.parquet")
    write_split(run_dir, "train", [(5, 6, grey(0))], file_name="a.parquet")
    (run_dir.faces / "_SUCCESS").touch()
    faces = load_split(run_dir, "train")
    assert faces.position.tolist() == [2, 5, 7]
    assert faces.labels.tolist() == [0, 6, 3]
    assert faces.source.tolist() == ["faces.csv:4", "faces.csv:7", "faces.csv:9"]
    assert faces.pixels[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert (faces.pixels.dtype, faces.labels.dtype, faces.pixels.shape) == (np.float32, np.int32, (3, 48, 48, 1))


def test_pixels_stand_row_by_row(make_run):
    run_dir = make_run()
    face = grey(0)
    face[3, 40] = 255
    write_split(run_dir, "test", [(0, 1, face)])
    assert np.argwhere(load_split(run_dir.faces, "test").pixels).tolist() == [[0, 3, 40, 0]]


def test_a_changed_copy_follows_its_original(make_run):
    run_dir = make_run()
    rows = [(1, 0, grey(10)), (0, 0, grey(20)), (0, 0, grey(30)), (0, 0, grey(40))]
    write_split(run_dir, "train", rows, augmentations=[None, "shift", None, "flip"])
    assert (load_split(run_dir, "train").pixels[:, 0, 0, 0] * 255).round().tolist() == [30, 40, 20, 10]


def test_an_absent_split_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 3})
    with pytest.raises(DatasetError, match="no test images"):
        load_split(run_dir, "test")


def test_an_empty_table_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_split(run_dir, "validation", [])
    with pytest.raises(DatasetError, match="no validation images"):
        load_split(run_dir, "validation")


def test_a_missing_table_is_a_dataset_error(make_run):
    with pytest.raises(DatasetError, match="run preprocess_faces first"):
        load_split(make_run(), "train")


def test_an_unknown_split_is_a_dataset_error(make_run):
    with pytest.raises(DatasetError, match="'training'; the splits are train, validation, test"):
        load_split(make_run(), "training")


def test_an_unreadable_file_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 3})
    (run_dir.faces / "split=train" / "part-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        load_split(run_dir, "train")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("pixels", pa.array([[0.5] * 2303], pa.list_(pa.float32())), r"faces of \[2303\] pixels; expected 2304"),
        ("pixels", pa.array([[0.5] * 2303 + [1.5]], pa.list_(pa.float32())), "from 0.5 to 1.5; expected"),
        ("pixels", pa.array([[0.5] * 2303 + [float("nan")]], pa.list_(pa.float32())), r"expected \[0, 1\]"),
        ("label", pa.array([7], pa.int32()), "labels outside 0 to 6"),
        ("label", pa.array([None], pa.int32()), "labels outside 0 to 6"),
        ("source", None, r"lacks the column\(s\) source"),
    ],
)
def test_a_table_of_another_kind_is_a_dataset_error(make_run, column, values, message):
    run_dir = make_run()
    write_faces(run_dir, {"train": 1})
    path = run_dir.faces / "split=train" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None).drop_columns(column)
    pq.write_table(table if values is None else table.append_column(column, values), path)
    with pytest.raises(DatasetError, match=message):
        load_split(run_dir, "train")


def test_faces_in_grey_levels_come_back_as_the_same_floats_part_by_part(make_run):
    run_dir = make_run()
    write_split(run_dir, "train", [(number, 0, grey(number % 256)) for number in range(1030)])
    faces = load_split(run_dir, "train")
    levels = faces.in_grey_levels()
    assert (levels.pixels.dtype, levels.pixels[255, 3, 4, 0], levels.pixels[256, 3, 4, 0]) == (np.uint8, 255, 0)
    parts = list(levels.pixel_parts())
    assert [len(part) for part in parts] == [1024, 6]
    assert (np.concatenate(parts) == faces.pixels).all()


def test_faces_between_grey_levels_stay_floats(make_run):
    run_dir = make_run()
    write_split(run_dir, "train", [(0, 0, grey(51)), (1, 0, grey(102))])
    faces = load_split(run_dir, "train")
    faces.pixels[1, 47, 47, 0] = 0.3
    assert faces.in_grey_levels() is faces
    assert (next(faces.pixel_parts()) == faces.pixels).all()
