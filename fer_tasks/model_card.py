"""The weights that come with the project, and the card that says what they are.

    python -m fer_tasks.model_card runs/<run>

makes the model of a finished run the pretrained one: model.keras, settings.json (how faces are prepared for it) and
model_card.json (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993), all taken from the run's records.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tasks.errors import PipelineError
from fer_tasks.evaluation import Evaluation
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.lineage import Lineage
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.teachers import NO_TEACHERS, teacher_names
from fer_tasks.training_history import History

MAX_BYTES = 10_000_000

PROTOCOL = (
    "Chosen by validation, which is carved out of the published training images: stratified, seeded, equal pictures "
    "never on both sides. Training images that also stand in validation or test were dropped. The test images were "
    "read once, after training."
)
LIMITS = (
    "Labels of FER-2013 are noisy: people agree with them about 65 times in 100. Faces are frontal crops of 48x48 grey "
    "pixels from web pictures; on webcams, other crops and other people expect less. Expressions are not feelings. "
    "Inferring emotions at work or in education is prohibited in the European Union (AI Act, Article 5(1)(f))."
)


@dataclass(frozen=True)
class SplitMetrics:
    """On the images of `split`, by its published name. Shares of 1; all with test-time augmentation where num_views is
    above 1, but single_view_accuracy. accuracy_low and accuracy_high: 95% Wilson interval."""

    split: str
    num_images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    single_view_accuracy: float
    num_views: int
    macro_f1: float
    log_loss: float
    expected_calibration_error: float

    @classmethod
    def of(cls, evaluation: Evaluation, split: str) -> "SplitMetrics":
        measured = {name: getattr(evaluation, name) for name in cls.__dataclass_fields__ if name != "split"}
        return cls(split=split, **measured)


@dataclass(frozen=True)
class ModelCard:
    """settings: all of the run that made it, the recipe among them. dataset_sha256: of the data set as it was given.

    validation_accuracy: of the kept epoch, without test-time augmentation. trained_at: UTC, ISO 8601. teachers_sha256:
    of the weights of the models that it learned from.
    """

    architecture: str
    num_parameters: int
    settings: dict[str, Any]
    seed: int
    dataset_sha256: str
    num_training_images: int
    training_minutes: float
    best_epoch: int
    validation_accuracy: float
    test: SplitMetrics
    model_sha256: str
    trained_at: str
    code_commit: str | None
    teachers_sha256: tuple[str, ...] = ()
    protocol: str = PROTOCOL
    limits: str = LIMITS


def describe(run_dir: RunDirectory) -> ModelCard:
    """The card of a finished run's model. Raises FileNotFoundError when a record is missing."""
    settings = run_dir.load_settings()
    history = run_dir.load_json(run_dir.history_json, History)
    evaluation = run_dir.load_json(run_dir.evaluation_json, Evaluation)
    preprocessing = run_dir.load_json(run_dir.preprocessing_json, Preprocessing)
    lineage = run_dir.load_json(run_dir.lineage_json, Lineage)
    test_usages = ", ".join(usage for usage, split in preprocessing.roles.items() if split == "test")
    return ModelCard(
        architecture=history.architecture,
        num_parameters=history.num_parameters,
        settings=_without_folders(settings),
        seed=settings.seed,
        dataset_sha256=lineage.dataset_sha256 or "",
        num_training_images=preprocessing.faces_per_split["train"],
        training_minutes=round(history.seconds / 60, 1),
        best_epoch=history.best_epoch,
        validation_accuracy=evaluation.validation_accuracy,
        test=SplitMetrics.of(evaluation, test_usages),
        model_sha256=hashlib.sha256(run_dir.model.read_bytes()).hexdigest(),
        trained_at=lineage.finished_at,
        code_commit=lineage.code.commit,
        teachers_sha256=history.teachers_sha256,
    )


def _without_folders(settings: RunSettings) -> dict[str, Any]:
    """The settings as JSON object, with what names a path of this machine cut to its last part."""
    teachers = [Path(name).name for name in teacher_names(settings.teachers)]
    named = {name: Path(getattr(settings, name)).name for name in ("dataset", "initial_weights")}
    return {**settings.to_params(), **named, "teachers": ",".join(teachers) or NO_TEACHERS}


def ship(run_dir: RunDirectory, folder: Path = PRETRAINED) -> ModelCard:
    """Put the run's model, settings and card into `folder`. Raises PipelineError for a model over MAX_BYTES."""
    size = run_dir.model.stat().st_size
    if size > MAX_BYTES:
        raise PipelineError(
            f"{run_dir.model} has {size:,} bytes; the repository takes {MAX_BYTES:,}. Ship a smaller one."
        )
    card = describe(run_dir)
    target = RunDirectory(folder)
    target.root.mkdir(parents=True, exist_ok=True)
    with target.replacing(target.model) as temporary:
        shutil.copyfile(run_dir.model, temporary)
    target.save_json(target.settings_json, card.settings)
    target.save_json(target.root / "model_card.json", card)
    return card


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.model_card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    options = parser.parse_args(arguments)
    try:
        card = ship(RunDirectory(options.run))
    except FileNotFoundError as error:
        print(f"{error.filename} is missing; give the folder of a run that came to its end.", file=sys.stderr)
        return 2
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"accuracy": card.test.accuracy, "single_view_accuracy": card.test.single_view_accuracy}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
