"""Accuracy on validation of trained networks, and of their soft vote: the mean of their probabilities.

    python -m pretraining.ensemble faces.npz FOLDER...

Each folder holds the weights.npz of a training on these faces.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.errors import PipelineError, TrainingError
from pretraining.faces_file import load_faces
from pretraining.weights_file import WeightsFile, load_weights_file


def soft_vote(members: list[WeightsFile]) -> NDArray[np.float32]:
    """float32 (2, n, 7): mean probabilities of the validation faces, of the face itself and of ten views.

    Raises TrainingError when the members were trained on other data than each other.
    """
    if len({member.training.data_sha256 for member in members}) != 1:
        raise TrainingError("The networks were trained on different faces; a vote of them says nothing.")
    said = np.stack([member.validation.astype(np.float32) for member in members])
    return np.asarray(said.mean(axis=0), dtype=np.float32)


def accuracies(probabilities: NDArray[Any], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Of (2, n, 7): on single views, and on ten."""
    single, ten = (float((said.argmax(axis=1) == labels).mean()) for said in probabilities)
    return single, ten


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.ensemble", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path, help="what pretraining.export_faces wrote")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        faces = load_faces(options.faces)
        members = [load_weights_file(folder / "weights.npz") for folder in options.folders]
        if members[0].training.data_sha256 != faces.sha256():
            raise TrainingError(f"{options.folders[0]} was not trained on {options.faces}.")
        voted = soft_vote(members)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    rows: list[tuple[str, NDArray[Any]]] = [(member.training.name, member.validation) for member in members]
    for name, said in [*rows, ("soft vote", voted)]:
        single, ten = accuracies(said, faces.validation.labels)
        print(json.dumps({"name": name, "single_view_accuracy": round(single, 4), "ten_view_accuracy": round(ten, 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
