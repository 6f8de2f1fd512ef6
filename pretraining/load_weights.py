"""Put a trained network on TensorFlow, prove that it is the same one, calibrate it and write fer_tasks/pretrained.

python -m pretraining.load_weights faces.npz FOLDER/resnet-1 [--teachers FOLDER...] [--output fer_tasks/pretrained]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tasks.calibration import fit_temperature, fold_temperature
from fer_tasks.errors import PipelineError, TrainingError
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import build_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.views import predict_views
from pretraining.ensemble import accuracies, soft_vote
from pretraining.export_faces import PREPARATION
from pretraining.faces_file import FacesFile, as_input, load_faces
from pretraining.measurement import measure
from pretraining.model_card import ModelCard, TeacherRecord
from pretraining.weights_file import Training, WeightsFile, assign_weights, load_weights_file

LARGEST_DIFFERENCE = 1e-4
_SMALLEST_SPREAD = 10 * LARGEST_DIFFERENCE
MAX_FOLDER_BYTES = 10_000_000
CARD = "model_card.json"


def restore(content: WeightsFile) -> tuple[Any, float]:
    """The network on this backend, and how far at most its probabilities of the check faces differ from the recorded.

    Raises TrainingError when the weights do not fit, when the difference is above LARGEST_DIFFERENCE, and when it would
    be small for any network.
    """
    recipe = content.training.recipe
    if recipe["network"] != "resnet":
        raise TrainingError(f"{content.training.name} is a {recipe['network']}; the pipeline has no such network.")
    if np.ptp(content.check_outputs, axis=0).max() < _SMALLEST_SPREAD:
        raise TrainingError(f"{content.training.name} says the same of all check faces, which proves nothing of it.")
    model = build_model("resnet", crop_side=recipe["side"])
    assign_weights(model, content.weights)
    said = predict_probabilities(model, as_input(content.check_faces))
    difference = float(np.abs(said - content.check_outputs).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise TrainingError(
            f"{content.training.name} says something else here than where it was trained: probabilities differ by up "
            f"to {difference:.2g}; expected at most {LARGEST_DIFFERENCE:.0e}. Were the weights or the code changed?"
        )
    return model, difference


def calibrate(model: Any, faces: FacesFile) -> float:
    """Fit the temperature on validation, fold it into the model and return it."""
    pixels = as_input(faces.validation.pixels)
    temperature = fit_temperature(faces.validation.labels, predict_views(model, pixels, tta=True))
    fold_temperature(model, temperature)
    return temperature


def make_card(
    model: Any,
    content: WeightsFile,
    teachers: list[WeightsFile],
    faces: FacesFile,
    *,
    temperature: float,
    difference: float,
) -> ModelCard:
    """model: calibrated. Raises TrainingError when it was trained on other faces or by other teachers than these."""
    training = content.training
    _check_origin(training, teachers, faces)
    voted = accuracies(soft_vote(teachers), faces.validation.labels) if teachers else (None, None)
    return ModelCard(
        architecture=training.recipe["network"],
        crop_side=training.recipe["side"],
        num_parameters=training.num_parameters,
        seed=training.seed,
        recipe=training.recipe,
        cut_after_epoch=training.cut_after_epoch,
        teachers=tuple(_record(teacher) for teacher in teachers),
        ensemble_single_view_accuracy=voted[0],
        ensemble_ten_view_accuracy=voted[1],
        data_sha256=training.data_sha256,
        num_train_images=len(faces.train),
        roles=faces.origin["roles"],
        validation_is_carved=faces.origin["validation_is_carved"],
        temperature=temperature,
        largest_difference=difference,
        validation=measure(model, as_input(faces.validation.pixels), faces.validation.labels, split="validation"),
    )


def save(folder: Path, model: Any, card: ModelCard, faces: FacesFile) -> None:
    """Write model.keras, settings.json and model_card.json. Raises TrainingError when they exceed MAX_FOLDER_BYTES."""
    run_dir = RunDirectory(folder)
    with run_dir.replacing(run_dir.model) as temporary:
        model.save(temporary)
    run_dir.save_json(run_dir.settings_json, _settings(card, faces).to_params())
    run_dir.save_json(folder / CARD, card)
    size = sum(path.stat().st_size for path in (run_dir.model, run_dir.settings_json, folder / CARD))
    if size > MAX_FOLDER_BYTES:
        raise TrainingError(
            f"{folder} takes {size:,} bytes; it is shipped, so at most {MAX_FOLDER_BYTES:,} are allowed."
        )


def _check_origin(training: Training, teachers: list[WeightsFile], faces: FacesFile) -> None:
    if training.data_sha256 != faces.sha256():
        raise TrainingError(f"{training.name} was trained on other faces than these; give the file it was trained on.")
    if training.teachers != tuple(teacher.training.name for teacher in teachers):
        raise TrainingError(f"{training.name} was taught by {training.teachers}; give --teachers the same, in order.")


def _record(teacher: WeightsFile) -> TeacherRecord:
    training = teacher.training
    return TeacherRecord(
        name=training.name,
        network=training.recipe["network"],
        num_parameters=training.num_parameters,
        seed=training.seed,
        epochs=training.cut_after_epoch or training.recipe["epochs"],
        single_view_accuracy=training.single_view_accuracy,
        ten_view_accuracy=training.ten_view_accuracy,
    )


def _settings(card: ModelCard, faces: FacesFile) -> RunSettings:
    """What predict needs to prepare a face as the training faces were, and what else the settings can say of it."""
    recipe = card.recipe
    return RunSettings.from_params(
        {
            **{name: faces.origin[name] for name in PREPARATION},
            "architecture": card.architecture,
            "crop_side": card.crop_side,
            "seed": card.seed,
            "epochs": recipe["epochs"],
            "batch_size": recipe["batch_size"],
            "learning_rate": recipe["learning_rate"],
            "label_smoothing": recipe["label_smoothing"],
        }
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.load_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("faces", type=Path, help="what pretraining.export_faces wrote")
    parser.add_argument("training", type=Path, metavar="FOLDER", help="holds the network's weights.npz")
    parser.add_argument("--teachers", type=Path, nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=PRETRAINED, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        faces = load_faces(options.faces)
        content = load_weights_file(options.training / "weights.npz")
        teachers = [load_weights_file(folder / "weights.npz") for folder in options.teachers]
        model, difference = restore(content)
        temperature = calibrate(model, faces)
        card = make_card(model, content, teachers, faces, temperature=temperature, difference=difference)
        save(options.output, model, card, faces)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"{options.output}: outputs equal to {difference:.1e}; on {card.validation.num_images} validation faces "
        f"{card.validation.single_view_accuracy:.2%}, with ten views {card.validation.accuracy:.2%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
