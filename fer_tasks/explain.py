"""Why a face is taken for an emotion: one image to a picture of the regions that decided, with the evidence for it.

    python -m fer_tasks.explain IMAGE --output explanation.png [--emotion happy] [--regions face] [--model DIR]

Without --emotion the predicted one is explained. Prints the probability, the strongest regions and the evidence. Exit
status 0 when the explanation is reliable, 1 when it is not (the picture is grey then), 2 when there is none.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.explained_network import ExplainedNetwork, network_to_explain
from fer_tasks.face_filters import prepare_face
from fer_tasks.face_regions import region_names
from fer_tasks.image_decoding import decode
from fer_tasks.named_model import MODEL_HELP, model_folder
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.picture_files import UniqueNames, read_picture
from fer_tasks.predict import load_model_folder
from fer_tasks.prediction_rows import Prediction
from fer_tasks.settings import RunSettings
from fer_tasks.surrogates import Surrogate, surrogates
from fer_tasks.training_network import use_cores

_ENLARGED = 8
_FOR, _AGAINST = (214, 143, 26), (10, 100, 226)  # blue, green, red, as cv2 has them: the report's colours
_STRONGEST_OPACITY = 0.72
_NUM_NAMED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="image of a face")
    parser.add_argument("--output", type=Path, required=True, metavar="PNG", help="picture to write")
    parser.add_argument("--emotion", choices=EMOTIONS, help="explain this one instead of the predicted one")
    parser.add_argument("--regions", choices=("grid", "slic", "face"), help="instead of those of the model's run")
    parser.add_argument("--model", default="pretrained", metavar="DIR", help=MODEL_HELP)
    options = parser.parse_args(arguments)
    try:
        folder = model_folder(options.model)
        surrogate, around, names = explain_file(options.image, folder, options.emotion, options.regions)
        write_png(draw(around, surrogate), options.output)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(tell(surrogate, names)))
    return 0 if surrogate.evidence.is_reliable else 1


def explain_file(
    image: Path, folder: Path, emotion: str | None, regions: str | None
) -> tuple[Surrogate, Neighbourhood, tuple[str, ...]]:
    """The explanation, what it is of, and the names of its regions.

    Raises DatasetError where the file is no image, and TrainingError where there is no model.
    """
    use_cores()
    model, settings = load_model_folder(folder)
    if regions is not None:
        settings = replace(settings, lime_regions=regions)
    try:
        decoded = decode(read_picture(image), max_megapixels=settings.max_image_megapixels)
    except DatasetError as error:
        raise DatasetError(f"{image}: {error}") from error
    face = prepare_face(decoded.pixels, settings)
    surrogate, around = explain_face(face, network_to_explain(model, settings.precision), settings, emotion)
    return surrogate, around, region_names(around.segments, settings)


def explained(
    predictions: Iterable[Prediction], folder: Path, *, model: Any, settings: RunSettings
) -> Iterator[Prediction]:
    """The predictions as they come, a picture of each face's explanation in the folder: `<name>-face<number>.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    network = network_to_explain(model, settings.precision)
    names = UniqueNames(folder)
    for item in predictions:
        if item.pixels is not None:
            surrogate, around = explain_face(item.pixels, network, settings)
            write_png(draw(around, surrogate), names.path(f"{item.path.stem}-face{item.face}"))
        yield item


def explain_face(
    face: NDArray[np.float32], network: ExplainedNetwork, settings: RunSettings, emotion: str | None = None
) -> tuple[Surrogate, Neighbourhood]:
    """face: float32 (48, 48) in [0, 1], prepared by the settings. emotion: of EMOTIONS; None for the predicted one."""
    around = Neighbourhood.of(face, network, settings)
    label = int(around.probabilities.argmax()) if emotion is None else EMOTIONS.index(emotion)
    (surrogate,) = surrogates(around, [label], settings=settings)
    return surrogate, around


def tell(surrogate: Surrogate, names: Sequence[str]) -> list[str]:
    """What a person reads, a line each."""
    evidence, weights = surrogate.evidence, np.array(surrogate.weights)
    order = np.argsort(-np.abs(weights), kind="stable")[:_NUM_NAMED]
    verdict = "reliable" if evidence.is_reliable else f"unreliable: {'; '.join(evidence.doubts)}"
    return [
        f"{surrogate.emotion}: {surrogate.probability:.1%}, by the stand-in {surrogate.prediction:.1%}",
        f"strongest regions: {', '.join(f'{names[region]} {weights[region]:+.3f}' for region in order)}",
        f"R² on other copies {evidence.held_out_r2:.2f}; shared by other seeds {evidence.top5_overlap:.0%} of the top "
        f"regions, rank correlation {evidence.rank_correlation:.2f}",
        f"deletion {evidence.deletion:.3f}, insertion {evidence.insertion:.3f}, random order "
        f"{evidence.random_order:.3f}; agreement with integrated gradients {evidence.gradient_agreement:.2f}",
        verdict,
    ]


def draw(around: Neighbourhood, surrogate: Surrogate) -> NDArray[np.uint8]:
    """uint8 (384, 768, 3), blue, green, red: the face, and beside it the regions; grey where they are unreliable."""
    weights = np.array(surrogate.weights)
    opacity = (np.abs(weights) / (np.abs(weights).max() or 1.0) * _STRONGEST_OPACITY)[around.segments][..., None]
    grey = np.repeat(np.clip(around.face, 0, 1)[..., None] * 255, 3, axis=-1)
    colour = np.where((weights > 0)[around.segments][..., None], _FOR, _AGAINST)
    overlaid = grey * (1 - opacity) + colour * opacity
    if not surrogate.evidence.is_reliable:
        overlaid = np.repeat(overlaid.mean(axis=-1, keepdims=True), 3, axis=-1)
    both = np.rint(np.concatenate([grey, overlaid], axis=1)).astype(np.uint8)
    enlarged: NDArray[np.uint8] = both.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
    return enlarged


def write_png(picture: NDArray[np.uint8], path: Path) -> None:
    """Raises DatasetError for another ending than .png, and OSError where the file cannot be written."""
    import cv2

    if path.suffix.lower() != ".png":
        raise DatasetError(f"The picture is a PNG, but --output is {path}; let its name end in .png.")
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


if __name__ == "__main__":
    sys.exit(main())
