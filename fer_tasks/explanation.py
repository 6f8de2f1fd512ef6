"""explain_predictions: which squares of a face decided, by LIME, for the most confident hit and mistake an emotion."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import load_split
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.errors import ReportError
from fer_tasks.explained_network import ExplainedNetwork
from fer_tasks.lime_surrogate import disturbed_faces, fit, random_masks
from fer_tasks.model import load_model
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]
Classifier = Callable[[FloatArray], FloatArray]
"""faces: float32 (n, 48, 48, 1) in [0, 1] -> probabilities: float32 (n, 7), columns in EMOTIONS order."""

_KERNEL_WIDTH = 0.25  # lime's own
_COLUMNS = ["position", "image_id", "source", "label", "predicted", "confidence"]


@dataclass(frozen=True)
class Choice:
    """A test image worth explaining; `label` and `predicted` index EMOTIONS."""

    kind: Literal["hit", "mistake"]
    position: int
    image_id: str
    source: str
    label: int
    predicted: int


@dataclass(frozen=True)
class Surrogate:
    """LIME's linear stand-in for one emotion's probability around one face.

    weights: grid x grid, row by row from the top left; positive where showing the square raises the probability.
    prediction: what the stand-in says for the whole face. r2: its fit over the disturbed copies, at most 1.
    """

    emotion: str
    probability: float
    prediction: float
    r2: float
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Explanation:
    """One face with the stand-in for the predicted emotion and, for a mistake, also the one for the true emotion."""

    kind: Literal["hit", "mistake"]
    position: int
    image_id: str
    source: str
    true: str
    predicted: str
    for_predicted: Surrogate
    for_true: Surrogate | None
    seconds: float


@dataclass(frozen=True)
class Explanations:
    """What explanations.json holds: hit and mistake an emotion in EMOTIONS order, and why some are not there."""

    grid: int
    fill: str
    samples: int
    seed: int
    explanations: tuple[Explanation, ...]
    notes: tuple[str, ...]


def choose(predictions: Mapping[str, list[Any]]) -> tuple[list[Choice], list[str]]:
    """The most confident hit and the most confident mistake an emotion (a mistake belongs to its true emotion).

    predictions: columns of predictions.parquet as lists. Of equally confident images the first one counts. Returns
    the choices in EMOTIONS order, hit before mistake, and a sentence for each one that does not exist.
    """
    rows = sorted(zip(*(predictions[name] for name in _COLUMNS), strict=True), key=lambda row: (-row[5], row[0]))
    best: dict[tuple[int, bool], Choice] = {}
    for position, image_id, source, label, predicted, _ in rows:
        is_hit = label == predicted
        choice = Choice("hit" if is_hit else "mistake", position, image_id, source, label, predicted)
        best.setdefault((label, is_hit), choice)
    labels = {label for label, _ in best}
    notes = []
    for label, emotion in enumerate(EMOTIONS):
        if label not in labels:
            notes.append(f"No test image shows {emotion}.")
        elif (label, True) not in best:
            notes.append(f"No {emotion} face of the test images was recognised.")
        elif (label, False) not in best:
            notes.append(f"No {emotion} face of the test images was mistaken for another emotion.")
    return [best[key] for key in sorted(best, key=lambda key: (key[0], not key[1]))], notes


def grid_segments(grid: int) -> NDArray[np.int64]:
    """int64 (48, 48): the number of each pixel's square, row by row from the top left, grid x grid in all."""
    band = np.arange(IMAGE_SIDE) * grid // IMAGE_SIDE
    return band[:, None] * grid + band[None, :]


def filled(face: FloatArray, segments: NDArray[np.int64], fill: str) -> FloatArray:
    """The face with every square switched off: float32 (48, 48). fill: `mean` of the square, `blur`, or `zero`."""
    if fill == "zero":
        return np.zeros_like(face)
    if fill == "blur":
        import cv2

        return np.asarray(cv2.GaussianBlur(face, (0, 0), sigmaX=face.shape[0] / 8), np.float32)
    means = np.bincount(segments.ravel(), face.ravel()) / np.bincount(segments.ravel())
    return means[segments].astype(np.float32)


def surrogates(
    face: FloatArray, classifier: Classifier, labels: list[int], *, settings: RunSettings
) -> list[Surrogate]:
    """LIME's linear stand-ins for the probabilities of `labels` around one face, all from the same disturbed copies.

    face: float32 (48, 48) in [0, 1]. Deterministic for equal settings and classifier.
    """
    segments = grid_segments(settings.lime_grid)
    masks = random_masks(settings.lime_samples, settings.lime_grid**2, seed=settings.seed)
    probabilities = classifier(disturbed_faces(face, filled(face, segments, settings.lime_fill), segments, masks))
    fitted = fit(masks, probabilities, kernel_width=_KERNEL_WIDTH)
    predictions = fitted.predict(masks[:1])[0]
    return [
        Surrogate(
            emotion=EMOTIONS[label],
            probability=float(probabilities[0, label]),
            prediction=float(predictions[label]),
            r2=float(fitted.r2[label]),
            weights=_in_rows(fitted.weights[label], settings.lime_grid),
        )
        for label in labels
    ]


def _in_rows(weights: NDArray[np.float64], grid: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in weights.reshape(grid, grid).tolist())


def explain(choice: Choice, face: FloatArray, classifier: Classifier, *, settings: RunSettings) -> Explanation:
    """Explain the predicted emotion of one chosen face and, where it is a mistake, also its true one."""
    started = time.monotonic()
    labels = [choice.predicted] if choice.kind == "hit" else [choice.predicted, choice.label]
    for_predicted, *for_true = surrogates(face, classifier, labels, settings=settings)
    return Explanation(
        kind=choice.kind,
        position=choice.position,
        image_id=choice.image_id,
        source=choice.source,
        true=EMOTIONS[choice.label],
        predicted=EMOTIONS[choice.predicted],
        for_predicted=for_predicted,
        for_true=for_true[0] if for_true else None,
        seconds=round(time.monotonic() - started, 3),
    )


def run(run_dir: RunDirectory) -> None:
    """Choose, explain, and write explanations.json and explanation_maps.npz.

    The npz holds `images` float32 (n, 48, 48), `segments` int64 (48, 48), and `weights` and `true_weights` float64
    (n, grid, grid), in the order of explanations.json; `true_weights` is NaN for a hit.
    """
    with run_dir.attempt("explain_predictions"):
        import pyarrow.parquet as pq

        settings = run_dir.load_settings()
        choices, notes = choose(pq.read_table(run_dir.predictions, columns=_COLUMNS).to_pydict())
        faces = _faces_at(run_dir, [choice.position for choice in choices])
        classifier = ExplainedNetwork(load_model(run_dir.model)).probabilities
        explanations = []
        for number, (choice, face) in enumerate(zip(choices, faces, strict=True), start=1):
            explanations.append(explain(choice, face, classifier, settings=settings))
            logger.info("Explained %d of %d: %s, %s", number, len(choices), choice.kind, choice.source)
        asked = (settings.lime_grid, settings.lime_fill, settings.lime_samples, settings.seed)
        record = Explanations(*asked, explanations=tuple(explanations), notes=tuple(notes))
        _save_maps(run_dir, faces, record)
        run_dir.save_json(run_dir.explanations_json, record)


def _faces_at(run_dir: RunDirectory, positions: list[int]) -> FloatArray:
    """float32 (n, 48, 48): the test faces at these positions, in this order. Raises ReportError where one is gone."""
    test = load_split(run_dir, "test")
    row_of = {int(position): row for row, position in enumerate(test.position)}
    missing = [position for position in positions if position not in row_of]
    if missing:
        raise ReportError(
            f"{run_dir.predictions} names {len(missing)} images that {run_dir.faces} does not hold, the first at "
            f"position {missing[0]}; clear evaluate_model and let it run again."
        )
    return test.pixels[[row_of[position] for position in positions], :, :, 0]


def _save_maps(run_dir: RunDirectory, faces: FloatArray, record: Explanations) -> None:
    unknown = np.full((record.grid, record.grid), np.nan)
    items = record.explanations
    with run_dir.replacing(run_dir.explanation_maps) as temporary:
        np.savez_compressed(
            temporary,
            images=faces,
            segments=grid_segments(record.grid),
            weights=np.array([item.for_predicted.weights for item in items]),
            true_weights=np.array([item.for_true.weights if item.for_true else unknown for item in items]),
        )
