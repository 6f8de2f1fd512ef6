"""The quality check on the measurements of many images: seconds and memory.

    python benchmarks/quality_check.py [--rows 3200000]

The measurements are made up, in the shape of ingest_dataset's: one image in 25 repeats an earlier one, one in 500 is
constant, one in 1,000 cannot be read. The check runs in a process of its own, Great Expectations and its pages
included. The last line is JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks.data_quality import MEASUREMENTS_SCHEMA, run  # noqa: E402
from fer_tasks.emotions import USAGES  # noqa: E402
from fer_tasks.ingestion import Ingestion  # noqa: E402
from fer_tasks.run_directory import RunDirectory  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402

_ROWS_A_FILE = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_200_000)
    parser.add_argument("--check", type=Path, metavar="RUN", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.check:
        check(RunDirectory(options.check))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_measurements(RunDirectory(Path(folder)), options.rows)
        subprocess.run([sys.executable, __file__, "--check", folder], check=True)


def check(run_dir: RunDirectory) -> None:
    started = time.perf_counter()
    quality = run(run_dir)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{quality.counts['images']:,} images, {quality.counts['quarantined']:,} quarantined, ", end="")
    print(f"{sum(quality.exclusions.values()):,} left out of training: {seconds:.0f} s, at most {peak:.2f} GB")
    print(
        json.dumps({"rows": quality.counts["images"], "seconds": round(seconds, 1), "peak_gigabytes": round(peak, 2)})
    )


def write_measurements(run_dir: RunDirectory, rows: int) -> None:
    settings = RunSettings(dataset="made-up.csv", reuse=False)
    run_dir.save_json(run_dir.settings_json, settings.to_params())
    ingestion = Ingestion("csv", "made-up.csv", "0" * 64, rows, rows // 1000, 0, (), 1.0)
    run_dir.save_json(run_dir.ingestion_json, ingestion)
    run_dir.raw_faces.mkdir(parents=True)
    for start in range(0, rows, _ROWS_A_FILE):
        table = measurements(start, min(rows, start + _ROWS_A_FILE))
        pq.write_table(table, run_dir.raw_faces / f"part-{start:09}.parquet")


def measurements(start: int, stop: int) -> pa.Table:
    random = np.random.default_rng(start)
    position = np.arange(start, stop)
    is_repeat, is_constant, is_unread = position % 25 == 24, position % 500 == 0, position % 1000 == 1
    image = np.where(is_repeat, position // 50, position)
    label, usage = image % 7, np.where(image % 10 == 0, 1, 0)
    minimum = random.integers(0, 60, len(position))
    columns = {
        "position": position,
        "source": [f"made-up.csv:{number + 2}" for number in position],
        "image_id": [f"{number:064x}" for number in image],
        "usage_text": [USAGES[number] for number in usage],
        "label_text": [str(number) for number in label],
        "usage": [USAGES[number] for number in usage],
        "label": label,
        "height": np.full(len(position), 48),
        "width": np.full(len(position), 48),
        "channels": np.ones(len(position), int),
        "num_pixels": np.full(len(position), 48 * 48),
        "minimum": minimum,
        "maximum": np.where(is_constant, minimum, minimum + 150),
        "mean": minimum + 75.0,
        "sharpness": random.gamma(2.0, 400.0, len(position)),
        "decode_error": [None] * len(position),
    }
    table = pa.table(columns, schema=MEASUREMENTS_SCHEMA).to_pandas()
    table.loc[is_unread, ["label", "height", "width", "channels", "num_pixels", "minimum", "maximum", "mean"]] = None
    table.loc[is_unread, "decode_error"] = "not an image"
    return pa.Table.from_pandas(table, schema=MEASUREMENTS_SCHEMA, preserve_index=False)


if __name__ == "__main__":
    main()
