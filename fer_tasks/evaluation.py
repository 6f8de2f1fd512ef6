"""evaluate_model: measures the trained model on the test faces, which no step reads before it.

It measures and does not judge; accuracy_gate does.
"""

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tasks import champion_comparison, data_profile, serving_check, slices
from fer_tasks.calibration import at_temperature
from fer_tasks.dataset import Faces, load_split
from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.intervals import wilson_interval
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from fer_tasks.training_history import History
from fer_tasks.views import predict_views

_log = logging.getLogger(__name__)

NUM_RELIABILITY_BINS = 15
_ALL = list(range(NUM_EMOTIONS))


@dataclass(frozen=True)
class EmotionScore:
    """One emotion against the rest. None where undefined: precision when it was never predicted, recall when it has
    no test image, f1 when both hold. support: number of test images."""

    emotion: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose highest probability lies in (low, high]; the means are None where there is none."""

    low: float
    high: float
    num_images: int
    mean_confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """Measurements on the test split; shares are in [0, 1].

    accuracy_low, accuracy_high   95% Wilson interval
    balanced_accuracy, macro_f1   means over the emotions that have test images
    single_view_accuracy          without test-time augmentation; equal to accuracy where that is off
    num_views                     views of each face that were averaged
    expected_calibration_error    over `reliability`, equal-width bins of the highest probability
    uncalibrated_error            the same at temperature 1
    temperature                   fitted on validation, folded into the model; see calibration.py
    confusion_matrix              7x7 counts; rows are the truth, columns the prediction, in EMOTIONS order
    validation_accuracy           of the epoch whose weights were kept, without test-time augmentation
    """

    num_images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    majority_class_accuracy: float
    balanced_accuracy: float
    macro_f1: float
    top_2_accuracy: float
    log_loss: float
    expected_calibration_error: float
    uncalibrated_error: float
    temperature: float
    single_view_accuracy: float
    num_views: int
    validation_accuracy: float
    per_emotion: tuple[EmotionScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]
    images_per_second: float


def run(run_dir: RunDirectory) -> Evaluation:
    """Predict the test faces; write predictions.parquet and evaluation.json, then what gate and report also need.

    Raises DatasetError if there are no test faces.
    """
    with run_dir.attempt("evaluate_model"):
        faces = load_split(run_dir, "test")
        model = load_model(run_dir.model)
        history = run_dir.load_json(run_dir.history_json, History)
        tta = run_dir.load_settings().test_time_augmentation
        predict_probabilities(model, faces.pixels[:1])  # builds the graph, so that the clock below is fair
        start = time.monotonic()
        views = predict_views(model, faces.pixels, tta=tta)
        speed = len(faces) / (time.monotonic() - start)
        evaluation = evaluate(
            faces.labels,
            views,
            temperature=history.temperature,
            validation_accuracy=history.epochs[history.best_epoch - 1].val_accuracy,
            images_per_second=speed,
        )
        probabilities = views.mean(axis=0)
        _save_predictions(run_dir, faces, probabilities)
        run_dir.save_json(run_dir.evaluation_json, evaluation)
        _log.info("%s", _sentence(evaluation))
        predicted = probabilities.argmax(axis=1)
        champion_comparison.run(run_dir, faces, predicted, data_profile.run(run_dir, predicted))
        slices.run(run_dir, faces, predicted)
        serving_check.run(run_dir, faces, views[0])
    return evaluation


def evaluate(
    labels: NDArray[np.int32],
    views: NDArray[np.float32],
    *,
    temperature: float,
    validation_accuracy: float,
    images_per_second: float,
) -> Evaluation:
    """labels: int (n,). views: probabilities of a model into which `temperature` is folded, (v, n, 7), rows sum to 1,
    the face itself first. Raises DatasetError if n == 0."""
    from sklearn import metrics

    if len(labels) == 0:
        raise DatasetError("There are no test images to evaluate on; the data set needs some of the test split.")
    probabilities, uncalibrated = views.mean(axis=0), at_temperature(views, 1 / temperature).mean(axis=0)
    predicted = probabilities.argmax(axis=1)
    hits = int((predicted == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    per_emotion = _score_emotions(labels, predicted)
    present = [score for score in per_emotion if score.support]
    bins = reliability_bins(labels, probabilities)
    return Evaluation(
        num_images=len(labels),
        accuracy=hits / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        majority_class_accuracy=int(np.bincount(labels).max()) / len(labels),
        balanced_accuracy=float(np.mean([score.recall or 0.0 for score in present])),
        macro_f1=float(np.mean([score.f1 or 0.0 for score in present])),
        top_2_accuracy=float(metrics.top_k_accuracy_score(labels, probabilities, k=2, labels=_ALL)),
        log_loss=_log_loss(labels, probabilities),
        expected_calibration_error=expected_calibration_error(bins),
        uncalibrated_error=expected_calibration_error(reliability_bins(labels, uncalibrated)),
        temperature=temperature,
        single_view_accuracy=float((views[0].argmax(axis=1) == labels).mean()),
        num_views=len(views),
        validation_accuracy=validation_accuracy,
        per_emotion=per_emotion,
        confusion_matrix=tuple(
            tuple(int(count) for count in row) for row in metrics.confusion_matrix(labels, predicted, labels=_ALL)
        ),
        reliability=bins,
        images_per_second=images_per_second,
    )


def reliability_bins(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> tuple[ReliabilityBin, ...]:
    """How often the model is right where it says it is so sure, in equal-width bins over [0, 1]."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, NUM_RELIABILITY_BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_RELIABILITY_BINS - 1)
    bins = []
    for number in range(NUM_RELIABILITY_BINS):
        inside = place == number
        filled = bool(inside.any())
        bins.append(
            ReliabilityBin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                num_images=int(inside.sum()),
                mean_confidence=float(confidence[inside].mean()) if filled else None,
                accuracy=float(right[inside].mean()) if filled else None,
            )
        )
    return tuple(bins)


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their images."""
    total = sum(b.num_images for b in bins)
    return sum(abs((b.mean_confidence or 0.0) - (b.accuracy or 0.0)) * b.num_images for b in bins) / total


def _sentence(measured: Evaluation) -> str:
    return (
        f"Test accuracy {measured.accuracy:.1%} (95% interval {measured.accuracy_low:.1%} to "
        f"{measured.accuracy_high:.1%}) on {measured.num_images} faces; always saying the commonest emotion gives "
        f"{measured.majority_class_accuracy:.1%}."
    )


def _score_emotions(labels: NDArray[np.int32], predicted: NDArray[np.int64]) -> tuple[EmotionScore, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predicted, labels=_ALL, zero_division=np.nan)
    scores = []
    for emotion, row in zip(EMOTIONS, zip(*columns, strict=True), strict=True):
        precision, recall, f1 = (None if np.isnan(value) else float(value) for value in row[:3])
        scores.append(EmotionScore(emotion, precision, recall, f1, support=int(row[3])))
    return tuple(scores)


def _log_loss(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> float:
    """In float64 and normalised, since float32 rows sum to 1 only nearly, which scikit-learn warns about."""
    from sklearn.metrics import log_loss

    exact = probabilities.astype(np.float64)
    return float(log_loss(labels, exact / exact.sum(axis=1, keepdims=True), labels=_ALL))


def _save_predictions(run_dir: RunDirectory, faces: Faces, probabilities: NDArray[np.float32]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "position": pa.array(faces.position, pa.int64()),
        "image_id": pa.array(faces.image_id, pa.string()),
        "source": pa.array(faces.source, pa.string()),
        "label": pa.array(faces.labels, pa.int32()),
        "predicted": pa.array(probabilities.argmax(axis=1), pa.int32()),
        "confidence": pa.array(probabilities.max(axis=1), pa.float32()),
    }
    for emotion, column in zip(EMOTIONS, probabilities.T, strict=True):
        columns[f"probability_{emotion}"] = pa.array(column, pa.float32())
    with run_dir.replacing(run_dir.predictions) as temporary:
        pq.write_table(pa.table(columns), temporary)
