"""Tiny raw_faces tables for the tests of the steps that read them, in the schema of `fer_tasks/__init__.py`."""

import hashlib
import json
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_tasks.run_directory import RunDirectory

LABELS = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}
USAGES = ("Training", "PublicTest", "PrivateTest")

SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        *[(name, pa.string()) for name in ("source", "image_id", "usage_text", "label_text", "usage")],
        *[(name, pa.int32()) for name in ("label", "height", "width", "channels", "num_pixels", "minimum", "maximum")],
        *[(name, pa.float64()) for name in ("mean", "standard_deviation", "sharpness")],
        ("decode_error", pa.string()),
        ("pixels", pa.binary()),
    ]
)


def noise(seed: int, height: int = 48, width: int = 48) -> np.ndarray:
    """Grey levels as different from one seed to the next as can be."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def image(pixels: np.ndarray, usage: str | None, label: str | None, source: str | None = None) -> dict[str, Any]:
    """A row for a decoded image; `position`, and `source` if not given, follow from its place in the table."""
    return {
        "source": source,
        "image_id": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "usage_text": usage,
        "label_text": label,
        "usage": usage if usage in USAGES else None,
        "label": LABELS.get(label or ""),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "channels": 1,
        "num_pixels": pixels.size,
        "minimum": int(pixels.min()),
        "maximum": int(pixels.max()),
        "mean": float(pixels.mean()),
        "standard_deviation": float(pixels.std()),
        "sharpness": float(cv2.Laplacian(pixels, cv2.CV_64F).var()),
        "decode_error": None,
        "pixels": pixels.tobytes(),
    }


def undecodable(raw: bytes, usage: str, label: str, error: str) -> dict[str, Any]:
    row = dict.fromkeys(SCHEMA.names)
    row |= {"image_id": hashlib.sha256(raw).hexdigest(), "usage_text": usage, "label_text": label, "usage": usage}
    return row | {"label": LABELS[label], "decode_error": error}


def seven_emotions(images_each: dict[str, int], first_seed: int = 1000) -> list[dict[str, Any]]:
    """`images_each[usage]` different good images of each emotion."""
    seeds = iter(range(first_seed, first_seed + 100_000))
    return [
        image(noise(next(seeds)), usage, label)
        for usage, number in images_each.items()
        for label in LABELS
        for _ in range(number)
    ]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    placed = [
        row | {"position": place, "source": row["source"] or f"image-{place}.png"} for place, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(placed, schema=SCHEMA)


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as data_quality hands them to the cleaning plan."""
    text = pd.ArrowDtype(pa.string())
    return (
        table(rows).drop_columns(["pixels"]).to_pandas(types_mapper=lambda kind: text if kind == pa.string() else None)
    )


def write(run_dir: RunDirectory, rows: list[dict[str, Any]]) -> None:
    """raw_faces in two files whose names are not in the order of the positions, and ingestion.json."""
    run_dir.raw_faces.mkdir(parents=True)
    whole, half = table(rows), len(rows) // 2
    pq.write_table(whole.slice(half), run_dir.raw_faces / "part-0.parquet")
    pq.write_table(whole.slice(0, half), run_dir.raw_faces / "part-1.parquet")
    record = {
        "kind": "folder",
        "path": "/data/faces",
        "dataset_sha256": "a" * 64,
        "num_images": len(rows),
        "num_undecodable": 0,
        "num_ignored_files": 0,
        "ignored_examples": [],
        "seconds": 1.0,
    }
    run_dir.ingestion_json.write_text(json.dumps(record))
