import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_faces import write_faces

from fer_tasks import evaluation
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.evaluation import Evaluation, evaluate, expected_calibration_error, reliability_bins
from fer_tasks.model import build_model
from fer_tasks.training_history import EpochRecord, History


def sure_of(predicted, confidence, second=None):
    """Probabilities with `confidence` for each predicted emotion; the rest goes to `second`, or evenly to all."""
    rows = np.zeros((len(predicted), 7))
    for row, first in enumerate(predicted):
        if second is None:
            rows[row] = (1 - confidence) / 6
        else:
            rows[row, second[row]] = 1 - confidence
        rows[row, first] = confidence
    return rows.astype(np.float32)


def measured(labels, *views, temperature=1.0):
    return evaluate(
        np.array(labels, np.int32),
        np.stack(views),
        temperature=temperature,
        validation_accuracy=0.5,
        images_per_second=10.0,
    )


def test_measures_of_a_small_table_worked_out_by_hand():
    # truth 0 0 0 3 3 6, predicted 0 0 3 3 3 0; the second guess is right for the third image only
    result = measured([0, 0, 0, 3, 3, 6], sure_of([0, 0, 3, 3, 3, 0], 0.8, second=[1, 1, 0, 1, 1, 1]))
    assert result.num_images == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.majority_class_accuracy == pytest.approx(3 / 6)
    assert result.top_2_accuracy == pytest.approx(5 / 6)
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert result.expected_calibration_error == pytest.approx(0.8 - 4 / 6, abs=1e-6)
    matrix = np.array(result.confusion_matrix)
    assert matrix.shape == (7, 7)
    assert {(int(r), int(c)): int(matrix[r, c]) for r, c in np.argwhere(matrix)} == {
        (0, 0): 2, (0, 3): 1, (3, 3): 2, (6, 0): 1,
    }  # fmt: skip
    assert (result.validation_accuracy, result.images_per_second) == (0.5, 10.0)


def test_what_is_undefined_for_an_emotion_is_none():
    scores = {row.emotion: row for row in measured([0, 0, 6], sure_of([0, 3, 0], 0.9)).per_emotion}
    assert tuple(scores) == EMOTIONS
    assert (scores["angry"].precision, scores["angry"].recall, scores["angry"].support) == (0.5, 0.5, 2)
    assert scores["angry"].f1 == pytest.approx(0.5)
    happy, neutral, fear = scores["happy"], scores["neutral"], scores["fear"]
    assert (happy.precision, happy.recall, happy.f1, happy.support) == (0.0, None, 0.0, 0)
    assert (neutral.precision, neutral.recall, neutral.f1, neutral.support) == (None, 0.0, 0.0, 1)
    assert (fear.precision, fear.recall, fear.f1, fear.support) == (None, None, None, 0)


def test_log_loss_is_the_mean_surprise():
    result = measured([0, 1], sure_of([0, 0], 0.7))
    assert result.log_loss == pytest.approx(-(math.log(0.7) + math.log(0.05)) / 2, rel=1e-5)


def test_a_certain_and_wrong_prediction_keeps_the_log_loss_finite():
    assert math.isfinite(measured([1], sure_of([0], 1.0)).log_loss)


def test_views_are_averaged_and_the_face_itself_comes_first():
    # the face itself is taken for 1, 60 to 40; the other view outvotes it
    result = measured([0], sure_of([1], 0.6, second=[0]), sure_of([0], 0.9, second=[1]))
    assert (result.single_view_accuracy, result.accuracy, result.num_views) == (0.0, 1.0, 2)
    assert result.log_loss == pytest.approx(-math.log((0.4 + 0.9) / 2), rel=1e-5)


def test_the_error_before_scaling_is_that_of_the_unscaled_probabilities():
    # odds of 9 to 1 at temperature 2 were 81 to 1 before: 0.9878
    result = measured([0], sure_of([0], 0.9, second=[1]), temperature=2.0)
    assert result.expected_calibration_error == pytest.approx(0.1, abs=1e-5)
    assert result.uncalibrated_error == pytest.approx(1 - 81 / 82, abs=1e-5)
    assert result.temperature == 2.0


def test_reliability_bins_count_each_image_once_and_give_the_calibration_error():
    labels = np.array([0, 0, 0, 0], np.int32)
    probabilities = np.concatenate([sure_of([0, 1], 0.95), sure_of([0, 1], 0.5), sure_of([0], 1.0)])
    bins = reliability_bins(np.append(labels, 0), probabilities)
    assert len(bins) == 15
    filled = {round(b.low, 3): (b.num_images, round(b.mean_confidence, 3), b.accuracy) for b in bins if b.num_images}
    assert filled == {0.467: (2, 0.5, 0.5), 0.933: (3, 0.967, pytest.approx(2 / 3))}
    assert bins[0].mean_confidence is None
    assert expected_calibration_error(bins) == pytest.approx((0 * 2 + (2.9 - 2)) / 5, abs=1e-5)


def test_no_test_images_is_a_dataset_error():
    with pytest.raises(DatasetError, match="no test images"):
        measured([], np.empty((0, 7), np.float32))


@pytest.fixture
def evaluated(make_run):
    """A run with an untrained network and 20 test faces, after evaluate_model."""
    run_dir = make_run()
    written = write_faces(run_dir, {"train": 3, "test": 20})
    build_model("paper_cnn").save(run_dir.model)
    epochs = (EpochRecord(1, 1.0, 0.5, 1.0, 0.25, 0.1, 1.0, 9.0), EpochRecord(2, 1.0, 0.5, 1.0, 0.2, 0.1, 1.0, 9.0))
    run_dir.save_json(run_dir.history_json, History("paper_cnn", 5, "float32", epochs, 1, False, (), 2.0))
    return run_dir, evaluation.run(run_dir), written["test"]


def test_the_run_leaves_its_measures_and_a_row_an_image(evaluated):
    run_dir, result, faces = evaluated
    assert run_dir.load_json(run_dir.evaluation_json, Evaluation) == result
    assert (result.num_images, result.validation_accuracy) == (20, 0.25)
    assert result.images_per_second > 0
    table = pq.read_table(run_dir.predictions)
    assert table.column_names == [
        "position", "image_id", "source", "label", "predicted", "confidence",
        "probability_angry", "probability_disgust", "probability_fear", "probability_happy", "probability_sad",
        "probability_surprise", "probability_neutral",
    ]  # fmt: skip
    assert [str(kind) for kind in table.schema.types] == ["int64", "string", "string", "int32", "int32"] + ["float"] * 8
    assert table["position"].to_pylist() == [position for position, _, _ in faces]
    assert table["label"].to_pylist() == [label for _, label, _ in faces]
    assert table["source"].to_pylist()[0] == "faces.csv:5"
    probabilities = np.stack([table[name].to_numpy() for name in table.column_names[6:]], axis=1)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert table["predicted"].to_pylist() == probabilities.argmax(axis=1).tolist()
    assert table["confidence"].to_pylist() == probabilities.max(axis=1).tolist()
    hits = sum(
        label == guess for label, guess in zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True)
    )
    assert result.accuracy == hits / 20
