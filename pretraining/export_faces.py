"""The train and validation faces of a run as one file for the GPU machine.

python -m pretraining.export_faces --run-dir runs/RUN faces.npz
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.run_directory import RunDirectory
from pretraining.faces_file import FacesFile, SplitFaces, save_faces

PREPARATION = ("denoise", "contrast")


def export(run_dir: RunDirectory) -> FacesFile:
    """The run's cleaned train and validation faces, without the copies that balancing added.

    Raises DatasetError when the run has not cleaned its data, or was told to leave leaked faces in.
    """
    if not run_dir.preprocessing_json.is_file():
        raise DatasetError(f"{run_dir} has no {run_dir.preprocessing_json.name}; run it up to preprocess_faces first.")
    settings = run_dir.load_settings()
    if not settings.drop_leaked:
        raise DatasetError(f"{run_dir} was run with `drop_leaked` off: training faces may stand in the test split.")
    origin = {name: getattr(settings, name) for name in PREPARATION}
    record = json.loads(run_dir.preprocessing_json.read_text())
    origin |= {name: record[name] for name in ("roles", "validation_is_carved")}
    return FacesFile(_originals(run_dir, "train"), _originals(run_dir, "validation"), origin)


def _originals(run_dir: RunDirectory, split: str) -> SplitFaces:
    """The first face of each position: load_split puts changed copies behind their original."""
    faces = load_split(run_dir, split)
    original = np.diff(faces.position, prepend=-1) != 0
    pixels = np.rint(faces.pixels[original, :, :, 0] * 255).astype(np.uint8)
    return SplitFaces(pixels, faces.labels[original])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.export_faces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="RUN", help="a run's folder")
    parser.add_argument("output", type=Path, metavar="OUT.npz")
    options = parser.parse_args(arguments)
    try:
        faces = export(RunDirectory(options.run_dir))
        save_faces(options.output, faces)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(faces.train)} train and {len(faces.validation)} validation faces, {size:.1f} MB")
    print(f"sha256 of pixels and labels: {faces.sha256()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
