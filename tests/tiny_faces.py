"""Writes a faces.parquet as preprocess_faces leaves it, with faces so simple that a network learns them in seconds."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def bar_face(label, rng):
    """uint8 (48, 48): noise with a bright bar at a height that tells the label."""
    face = rng.integers(0, 120, (48, 48))
    face[3 + 6 * label : 8 + 6 * label, 8:40] += 110
    return face.astype(np.uint8)


def write_faces(run_dir, counts, seed=0):
    """counts: {split: number of faces}; labels go round 0..6. Returns {split: [(position, label, uint8 face)]}."""
    rng, position, written = np.random.default_rng(seed), 0, {}
    for split, count in counts.items():
        rows = []
        for number in range(count):
            rows.append((position, number % 7, bar_face(number % 7, rng)))
            position += 1
        write_split(run_dir, split, rows)
        written[split] = rows
    return written


def write_split(run_dir, split, rows, *, augmentations=None, file_name="part-0.parquet"):
    folder = run_dir.faces / f"split={split}"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "position": pa.array([position for position, _, _ in rows], pa.int64()),
            "image_id": [hashlib.sha256(face.tobytes()).hexdigest() for _, _, face in rows],
            "source": [f"faces.csv:{position + 2}" for position, _, _ in rows],
            "label": pa.array([label for _, label, _ in rows], pa.int32()),
            "augmentation": pa.array(augmentations or [None] * len(rows), pa.string()),
            "pixels": pa.array([face.ravel() / np.float32(255) for _, _, face in rows], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, folder / file_name)


def cut_split(run_dir, split, *, num_files, faces_a_group):
    """Writes part-0 of a split again as several files in the same order, in row groups of so many faces."""
    whole = run_dir.faces / f"split={split}" / "part-0.parquet"
    table = pq.read_table(whole, partitioning=None)
    whole.unlink()
    rows = -(-len(table) // num_files)
    for number in range(num_files):
        part = table.slice(number * rows, rows)
        pq.write_table(part, whole.with_name(f"part-{number:05d}.parquet"), row_group_size=faces_a_group)
