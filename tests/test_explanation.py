"""LIME on classifiers whose deciding region is known, and the choice of images against literals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_tasks import explanation
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import ReportError
from fer_tasks.explained_network import Network
from fer_tasks.explanation import Explanations, choose, explain
from fer_tasks.face_regions import FACE_REGIONS
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.settings import RunSettings
from fer_tasks.surrogates import Surrogate, surrogates

HAPPY, SURPRISE = 3, 5
SETTINGS = RunSettings(lime_grid=6, lime_samples=300, lime_fill="zero", seed=3)


class MouthNetwork(Network):
    """P(happy) is the brightness of rows 32-39, columns 16-31: squares (4, 2) and (4, 3) of a 6 x 6 grid."""

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        assert faces.shape[1:] == (48, 48, 1)
        assert faces.dtype == np.float32
        probabilities = np.zeros((len(faces), 7), np.float32)
        probabilities[:, HAPPY] = faces[:, 32:40, 16:32, 0].mean(axis=(1, 2))
        probabilities[:, SURPRISE] = 1 - probabilities[:, HAPPY]
        return probabilities

    def gradients(self, faces: np.ndarray, label: int) -> np.ndarray:
        slopes = np.zeros_like(faces)
        slopes[:, 32:40, 16:32] = {HAPPY: 1 / 128, SURPRISE: -1 / 128}[label]
        return slopes


def explained(face: np.ndarray, labels: list[int], settings: RunSettings = SETTINGS) -> list[Surrogate]:
    return surrogates(Neighbourhood.of(face, MouthNetwork(), settings), labels, settings=settings)


def bright_face() -> np.ndarray:
    return np.full((48, 48), 0.8, np.float32)


def test_weights_name_the_deciding_squares() -> None:
    (happy,) = explained(bright_face(), [HAPPY])
    weights = np.array(happy.weights).reshape(6, 6)
    deciding = {(4, 2), (4, 3)}
    assert {tuple(divmod(int(i), 6)) for i in np.argsort(-weights, axis=None)[:2]} == deciding
    assert weights[4, 2] == pytest.approx(0.4, abs=0.05)  # half of the brightness 0.8 lies in each square
    assert weights[4, 3] == pytest.approx(0.4, abs=0.05)
    elsewhere = [weights[r, c] for r in range(6) for c in range(6) if (r, c) not in deciding]
    assert np.abs(elsewhere).max() < 0.03
    assert happy.probability == pytest.approx(0.8, abs=1e-6)
    assert happy.prediction == pytest.approx(0.8, abs=0.03)
    assert happy.r2 > 0.97
    assert happy.evidence.held_out_r2 > 0.95
    assert happy.evidence.is_reliable is (happy.evidence.doubts == ())


def test_opposite_emotion_gets_opposite_weights() -> None:
    happy, surprise = explained(bright_face(), [HAPPY, SURPRISE])
    assert (happy.emotion, surprise.emotion) == ("happy", "surprise")
    np.testing.assert_allclose(np.array(happy.weights), -np.array(surprise.weights), atol=1e-6)


def test_same_seed_same_weights_and_another_seed_others() -> None:
    face = np.random.default_rng(0).random((48, 48), np.float32)
    first = explained(face, [HAPPY])
    explained(bright_face(), [HAPPY])
    assert explained(face, [HAPPY]) == first
    other = RunSettings(lime_grid=6, lime_samples=300, lime_fill="zero", seed=4)
    assert explained(face, [HAPPY], other) != first


def test_nothing_is_drawn_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    explained(bright_face(), [HAPPY])
    assert capfd.readouterr() == ("", "")


def predictions(*rows: tuple[int, int, float]) -> dict[str, list[Any]]:
    return {
        "position": list(range(len(rows))),
        "image_id": [f"id{i}" for i in range(len(rows))],
        "source": [f"test/{i}.png" for i in range(len(rows))],
        "label": [row[0] for row in rows],
        "predicted": [row[1] for row in rows],
        "confidence": [row[2] for row in rows],
    }


def test_choose_takes_the_most_confident_hit_and_mistake_an_emotion() -> None:
    table = predictions((3, 3, 0.7), (3, 3, 0.9), (3, 4, 0.6), (3, 5, 0.8), (0, 0, 0.5), (0, 0, 0.5), (1, 6, 0.4))
    choices, notes = choose(table)
    assert [(c.kind, c.position, c.label, c.predicted) for c in choices] == [
        ("hit", 4, 0, 0),
        ("mistake", 6, 1, 6),
        ("hit", 1, 3, 3),
        ("mistake", 3, 3, 5),
    ]
    assert notes == [
        "No angry face of the test images was mistaken for another emotion.",
        "No disgust face of the test images was recognised.",
        "No test image shows fear.",
        "No test image shows sad.",
        "No test image shows surprise.",
        "No test image shows neutral.",
    ]
    backwards = {name: values[::-1] for name, values in table.items()}
    assert choose(backwards) == (choices, notes)


def test_a_mistake_is_explained_for_both_emotions() -> None:
    choices, _ = choose(predictions((SURPRISE, HAPPY, 0.8)))
    item = explain(choices[0], bright_face(), MouthNetwork(), settings=SETTINGS)
    assert (item.true, item.predicted, item.kind) == ("surprise", "happy", "mistake")
    assert item.for_predicted.emotion == "happy"
    assert item.for_predicted.weights[4 * 6 + 2] > 0.3
    assert item.for_true is not None
    assert item.for_true.emotion == "surprise"
    assert item.for_true.probability == pytest.approx(0.2, abs=1e-6)
    assert item.for_true.weights[4 * 6 + 2] < -0.3


def write_run(run_dir: Any, *, positions: list[int]) -> np.ndarray:
    """Two test faces and a Keras model that sees only their mouth: dark is sad, bright is happy."""
    import keras

    faces = np.zeros((2, 48, 48), np.float32)
    faces[0, 32:40, 16:32] = 1.0
    test_split = run_dir.faces / "split=test"
    test_split.mkdir(parents=True)
    pq.write_table(
        pa.table(
            {
                "position": [10, 11],
                "image_id": ["a", "b"],
                "source": ["test/happy/10.png", "test/happy/11.png"],
                "label": pa.array([HAPPY, HAPPY], pa.int32()),
                "augmentation": pa.array([None, None], pa.string()),
                "pixels": list(faces.reshape(2, -1)),
            }
        ),
        test_split / "part-0.parquet",
    )
    columns = predictions((3, 3, 0.9), (3, 4, 0.9)) | {"position": positions}
    pq.write_table(pa.table(columns), run_dir.predictions)
    kernel = np.zeros((2304, 7), np.float32)
    kernel.reshape(48, 48, 7)[32:40, 16:32, HAPPY] = 6 / 128
    dense = keras.layers.Dense(7, activation="softmax")
    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([kernel, np.array([-9, -9, -9, -3, 0, -9, -9], np.float32)])
    model.save(run_dir.model)
    return faces


def test_run_explains_a_real_keras_model(make_run: Any) -> None:
    run_dir = make_run(lime_samples=200, lime_fill="zero", seed=5)
    faces = write_run(run_dir, positions=[10, 11])
    explanation.run(run_dir)

    record = run_dir.load_json(run_dir.explanations_json, Explanations)
    assert (record.regions, record.grid, record.samples, record.seed, record.fill) == ("grid", 6, 200, 5, "zero")
    assert (record.kernel_width, record.design) == (0.25, "hadamard")
    hit, mistake = record.explanations
    assert (hit.kind, hit.position, hit.true, hit.predicted) == ("hit", 10, "happy", "happy")
    assert (mistake.kind, mistake.position, mistake.true, mistake.predicted) == ("mistake", 11, "happy", "sad")
    assert hit.for_true is None
    assert record.shuffled is not None
    assert record.shuffled.num_faces == 2
    assert hit.for_predicted.evidence.gradient_agreement > 0
    weights = np.array(hit.for_predicted.weights)
    assert {int(i) for i in np.argsort(-weights, axis=None)[:2]} == {4 * 6 + 2, 4 * 6 + 3}
    assert hit.for_predicted.probability == pytest.approx(np.exp(3) / (np.exp(3) + 1), abs=0.001)
    with np.load(run_dir.explanation_maps) as maps:
        np.testing.assert_array_equal(maps["images"], faces)
        np.testing.assert_array_equal(maps["weights"][0], weights)
        assert maps["segments"].shape == (2, 48, 48)
        assert maps["segments"][1, 47, 47] == 35
        assert np.isnan(maps["true_weights"][0]).all()
        assert np.isfinite(maps["true_weights"][1]).all()
    (happy,), (confused,) = record.recognised, record.confused
    assert (happy.true, happy.predicted, happy.num_images, happy.num_found) == ("happy", "happy", 1, 1)
    assert (confused.true, confused.predicted, confused.num_images) == ("happy", "sad", 1)
    assert happy.parts[0].part == "mouth"
    assert happy.parts[0].share > 0.8
    assert (record.champion_version, record.champion_recognised) == (None, ())
    with np.load(run_dir.explanation_maps) as maps:
        np.testing.assert_array_equal(maps["map_faces"], faces)
        assert (maps["map_number"].tolist(), maps["map_position"].tolist()) == ([0, 1], [10, 11])
        assert maps["map_weights"].shape == (2, 11)
        assert maps["map_weights"][0].argmax() == FACE_REGIONS.index("mouth")
    assert run_dir.attempts("explain_predictions")[-1].status == "succeeded"
    assert set(json.loads(Path(run_dir.explanations_json).read_text())["explanations"][0]["for_predicted"]) == {
        "emotion", "probability", "prediction", "r2", "weights", "evidence",
    }  # fmt: skip
    assert all(item.true in EMOTIONS for item in record.explanations)


def test_the_parts_of_the_face_are_named_and_the_mouth_decides(make_run: Any) -> None:
    run_dir = make_run(lime_samples=100, lime_fill="zero", lime_regions="face", seed=5)
    write_run(run_dir, positions=[10, 11])
    explanation.run(run_dir)
    record = run_dir.load_json(run_dir.explanations_json, Explanations)
    hit = record.explanations[0]
    assert hit.region_names[int(np.argmax(hit.for_predicted.weights))] == "mouth"
    with np.load(run_dir.explanation_maps) as maps:
        assert maps["weights"].shape == (2, 11)


def test_patches_of_another_number_in_each_face_are_padded(make_run: Any) -> None:
    run_dir = make_run(lime_samples=100, lime_fill="zero", lime_regions="slic", lime_grid=4, seed=5, lime_map_images=0)
    write_run(run_dir, positions=[10, 11])
    explanation.run(run_dir)
    record = run_dir.load_json(run_dir.explanations_json, Explanations)
    assert (record.recognised, record.confused) == ((), ())
    counts = [len(item.region_names) for item in record.explanations]
    with np.load(run_dir.explanation_maps) as maps:
        assert np.isfinite(maps["weights"]).sum(axis=1).tolist() == counts
        assert [segments.max() + 1 for segments in maps["segments"]] == counts


def test_run_refuses_predictions_of_other_faces(make_run: Any) -> None:
    run_dir = make_run(lime_samples=50)
    write_run(run_dir, positions=[10, 99])
    with pytest.raises(ReportError, match=r"names 1 images that .* does not hold, the first at position 99"):
        explanation.run(run_dir)
    assert not run_dir.explanations_json.exists()
