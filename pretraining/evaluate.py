"""Measure fer_tasks/pretrained on the test faces, once, and write the result into its model card.

python -m pretraining.evaluate --run-dir runs/RUN [--model fer_tasks/pretrained]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory
from pretraining.export_faces import export
from pretraining.load_weights import CARD
from pretraining.measurement import measure
from pretraining.model_card import ModelCard


def evaluate(run_dir: RunDirectory, folder: Path) -> ModelCard:
    """The card with test metrics, also written. run_dir: the run whose faces the weights were trained on.

    Raises DatasetError when the run's faces are others, or when the card has test metrics: a second look at the test
    faces, after a change that the first one suggested, would no longer measure what the model makes of unseen faces.
    """
    pretrained = RunDirectory(folder)
    card = pretrained.load_json(folder / CARD, ModelCard)
    if card.test is not None:
        raise DatasetError(f"{folder / CARD} has test metrics already; new weights start with a new card.")
    if export(run_dir).sha256() != card.data_sha256:
        raise DatasetError(f"{run_dir} has other train and validation faces than the weights were trained on.")
    faces = load_split(run_dir, "test")
    usages = ", ".join(usage for usage, split in card.roles.items() if split == "test")
    card = replace(card, test=measure(load_model(pretrained.model), faces.pixels, faces.labels, split=usages))
    pretrained.save_json(folder / CARD, card)
    return card


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="RUN", help="a run's folder")
    parser.add_argument("--model", type=Path, default=PRETRAINED, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        test = evaluate(RunDirectory(options.run_dir), options.model).test
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(test)
    return 0


if __name__ == "__main__":
    sys.exit(main())
