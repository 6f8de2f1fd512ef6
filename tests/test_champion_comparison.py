"""The champion beside a challenger: real models, a real registry, real run folders."""

import json
import sqlite3
from dataclasses import dataclass, field

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bar_models import bar_model
from tiny_faces import write_faces

from fer_tasks import accuracy_gate, champion_comparison, evaluation, explanation, registry, rejection
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.dataset import load_split
from fer_tasks.emotion_changes import EmotionChange
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError, ModelRejectedError, RegistryError, TrainingError
from fer_tasks.explanation import Explanations
from fer_tasks.model import build_model, import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.training_history import EpochRecord, History

NUM_FACES = 140


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An embedded registry of the module's own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def trained(tmp_path):
    """trained(name, model, seed=0, **settings) -> a run with test faces drawn from the seed and that model."""

    def train(name, model, *, seed=0, **settings):
        run_dir = RunDirectory(tmp_path / name)
        run_dir.save_json(run_dir.settings_json, RunSettings(test_time_augmentation=False, **settings).to_params())
        write_faces(run_dir, {"test": NUM_FACES}, seed)
        model.save(run_dir.model)
        record = EpochRecord(1, 1.5, 0.5, 1.0, 0.25, 0.1, 1.0, 9.0)
        run_dir.save_json(run_dir.history_json, History("paper_cnn", 5, "float32", (record,), 1, False, (), 1.0))
        return run_dir

    return train


def aliases(home, name):
    with sqlite3.connect(home / "mlflow.db") as database:
        return dict(database.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,)))


def test_a_crippled_challenger_is_rejected_and_the_champion_stays(home, trained):
    """The whole way: the first run has no champion and becomes it, the second is blind to two emotions."""
    first = trained("first", bar_model(), registered_model="bars", min_accuracy=0.5)
    evaluation.run(first)
    assert accuracy_gate.run(first).reason == "100.0% (97.3–100.0%), no champion yet."
    assert registry.run(first).version == 1

    second = trained(
        "second",
        bar_model(blind_to=(1, 4)),
        registered_model="bars",
        min_accuracy=0.5,
        lime_map_images=3,
        lime_samples=50,
    )
    evaluation.run(second)
    comparison = second.load_json(second.champion_comparison_json, ChampionComparison)
    assert (comparison.outcome, comparison.version, comparison.run_folder) == ("compared", 1, "first")
    assert (comparison.paired.challenger_accuracy, comparison.paired.champion_accuracy) == (100 / 140, 1.0)
    assert (comparison.paired.only_challenger_right, comparison.paired.only_champion_right) == (0, 40)
    assert comparison.notes == ()
    changes = {change.emotion: change for change in comparison.per_emotion}
    assert tuple(changes) == EMOTIONS
    assert changes["disgust"] == EmotionChange("disgust", 20, 0.0, 1.0, gained=0, lost=20)
    assert changes["happy"] == EmotionChange("happy", 20, 1.0, 1.0, gained=0, lost=0)
    (predicted,) = comparison.drift
    assert (predicted.subject, predicted.then) == ("predicted", (20 / 140,) * 7)
    assert predicted.now[1] == 0.0
    assert predicted.reading == "large"
    faces = load_split(second, "test")
    told = pq.read_table(second.champion_predictions)
    assert told["predicted"].to_pylist() == faces.labels.tolist()
    assert told["image_id"].to_pylist() == faces.image_id.tolist()

    decision = accuracy_gate.run(second)
    assert not decision.passed
    assert decision.reason.startswith("The champion, version 1, has 100.0% on the same images, a difference of −28.6")
    assert [c.metric for c in decision.criteria if not c.passed] == ["champion"]
    with pytest.raises(RegistryError, match="gate rejected this model"):
        registry.run(second)
    with pytest.raises(ModelRejectedError, match=r"difference of −28\.6 points"):
        rejection.run(second)
    assert aliases(home, "bars") == {"champion": 1}

    explanation.run(second)
    explained = second.load_json(second.explanations_json, Explanations)
    assert explained.champion_version == 1
    assert [found.true for found in explained.champion_recognised] == list(EMOTIONS)
    assert [found.true for found in explained.recognised] == [e for e in EMOTIONS if e not in ("disgust", "sad")]
    assert [(found.true, found.num_images) for found in explained.confused] == [("disgust", 3), ("sad", 3)]
    happy = next(found for found in explained.champion_recognised if found.true == "happy")
    assert (happy.num_images, happy.num_found) == (3, 20)
    with np.load(second.explanation_maps) as maps:
        assert maps["map_faces"].shape == (5 + 2 + 7, 48, 48)
        assert np.bincount(maps["map_number"]).tolist() == [3] * 14

    other = trained("other test set", bar_model(), seed=5, registered_model="bars")
    faces = load_split(other, "test")
    comparison = champion_comparison.run(other, faces, faces.labels)
    assert comparison.notes == (
        "It was promoted on another test set, and may have been trained on some of these images.",
    )
    assert comparison.paired.champion_accuracy == 1.0


@dataclass
class RegisteredChampion:
    """A champion whose model and records are those of the test; the registry itself is tested above."""

    model: object
    records: dict = field(default_factory=dict)
    version: int = 4
    run_folder: str | None = None
    model_sha256: str | None = None

    def load_records(self):
        return self.records

    def load_model(self):
        if isinstance(self.model, Exception):
            raise self.model
        return self.model


@pytest.fixture
def compared(trained, monkeypatch):
    """compared(champion, **settings) -> the comparison of a perfect challenger with that champion, and the run."""

    def compare(champion, **settings):
        run_dir = trained("challenger", bar_model(), **settings)
        monkeypatch.setattr(registry, "find_champion", lambda name: champion)
        faces = load_split(run_dir, "test")
        return champion_comparison.run(run_dir, faces, faces.labels), run_dir

    return compare


def test_without_a_champion_that_is_what_is_recorded(compared):
    comparison, run_dir = compared(None)
    assert (comparison.outcome, comparison.version, comparison.paired) == ("no champion", None, None)
    assert not run_dir.champion_predictions.exists()
    assert len(comparison.test_set_sha256) == 64


def test_what_the_registry_does_not_tell_is_said(compared):
    comparison, _ = compared(RegisteredChampion(bar_model(blind_to=(0,))))
    assert comparison.paired.champion_accuracy == 120 / 140
    assert comparison.notes == (
        "The registry has no settings of it, so it sees the faces as this run prepared them.",
        "Which test images it was evaluated on when it was promoted is not on record.",
    )


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (RunSettings(dataset="/data/fer2013.csv"), ""),
        (RunSettings(), "It was trained on drawn faces: do not rely on what it says of photographs."),
        (None, "The registry has no settings of its run, so faces are prepared by the default ones."),
    ],
)
def test_what_a_champion_was_trained_on_is_told(settings, note):
    assert champion_comparison.note_on_training(settings) == note


def test_classes_in_another_order_are_matched_by_name(compared):
    order = (6, 0, 1, 2, 3, 4, 5)
    records = {"evaluation": {"per_emotion": [{"emotion": EMOTIONS[label]} for label in order]}}
    comparison, _ = compared(RegisteredChampion(bar_model(classes=order), records))
    assert comparison.paired.champion_accuracy == 1.0
    assert "Its classes are in another order; they were matched by name." in comparison.notes


@pytest.mark.parametrize(
    ("make_model", "emotions", "words"),
    [
        (lambda: bar_model(classes=range(5)), None, "It turns (None, 48, 48, 1) into (None, 5)"),
        (lambda: bar_model(), ("calm", *EMOTIONS[1:]), "It knows other classes (calm, disgust, "),
        (lambda: TrainingError("no model at x"), None, "It cannot be loaded: no model at x"),
    ],
)
def test_a_champion_of_another_kind_is_not_comparable(compared, make_model, emotions, words):
    rows = [{"emotion": emotion} for emotion in emotions or ()]
    comparison, run_dir = compared(RegisteredChampion(make_model(), {"evaluation": {"per_emotion": rows}}))
    assert (comparison.outcome, comparison.version, comparison.paired) == ("not comparable", 4, None)
    assert comparison.notes[0].startswith(words)
    assert not run_dir.champion_predictions.exists()


def raw_faces_of(run_dir):
    """raw_faces.parquet with the test faces as they were before any filter, in reverse, among others."""
    faces = load_split(run_dir, "test")
    grey = np.rint(faces.pixels[..., 0] * 255).astype(np.uint8)
    rows = [(int(p), i, g.tobytes()) for p, i, g in zip(faces.position, faces.image_id, grey, strict=True)]
    rows = [(10_000, "another", bytes(2304)), *reversed(rows)]
    position, image_id, pixels = zip(*rows, strict=True)
    side = pa.array([48] * len(rows), pa.int32())
    table = {"position": position, "image_id": image_id, "height": side, "width": side, "pixels": pixels}
    pq.write_table(pa.table(table), run_dir.raw_faces)
    return grey


def test_a_champion_with_other_filters_sees_the_faces_prepared_its_way(trained, monkeypatch):
    run_dir = trained("challenger", bar_model())
    grey = raw_faces_of(run_dir)
    import_keras().utils.set_random_seed(0)
    model = build_model("paper_cnn")
    records = {"settings": RunSettings(contrast="equalize").to_params()}
    monkeypatch.setattr(registry, "find_champion", lambda name: RegisteredChampion(model, records))
    faces = load_split(run_dir, "test")
    comparison = champion_comparison.run(run_dir, faces, faces.labels)
    assert comparison.notes[0] == "It sees the faces prepared its way (denoise none, contrast equalize)."
    equalized = np.stack([cv2.equalizeHist(face) for face in grey])[..., None] / np.float32(255)
    predicted = pq.read_table(run_dir.champion_predictions)["predicted"].to_pylist()
    assert predicted == model.predict_on_batch(equalized).argmax(axis=1).tolist()
    assert predicted != model.predict_on_batch(faces.pixels).argmax(axis=1).tolist()


def test_raw_faces_of_other_images_are_refused(trained, monkeypatch):
    run_dir = trained("challenger", bar_model())
    raw_faces_of(run_dir)
    write_faces(run_dir, {"test": NUM_FACES}, 3)
    records = {"settings": RunSettings(denoise="median").to_params()}
    monkeypatch.setattr(registry, "find_champion", lambda name: RegisteredChampion(bar_model(), records))
    faces = load_split(run_dir, "test")
    with pytest.raises(DatasetError, match="holds 0 of the 140 test images"):
        champion_comparison.run(run_dir, faces, faces.labels)


def test_both_models_get_the_runs_test_time_augmentation(compared, monkeypatch):
    asked = []
    views = champion_comparison.predict_views
    monkeypatch.setattr(
        champion_comparison, "predict_views", lambda *args, tta: asked.append(tta) or views(*args, tta=tta)
    )
    _, run_dir = compared(RegisteredChampion(bar_model()))
    params = json.loads(run_dir.settings_json.read_text()) | {"test_time_augmentation": True}
    run_dir.settings_json.write_text(json.dumps(params))
    faces = load_split(run_dir, "test")
    champion_comparison.run(run_dir, faces, faces.labels)
    assert asked == [False, True]


def test_the_fingerprint_of_a_test_set_is_that_of_its_images_and_labels(trained):
    faces = load_split(trained("one", bar_model()), "test")
    same = load_split(trained("same", bar_model()), "test")
    other = load_split(trained("other", bar_model(), seed=1), "test")
    assert champion_comparison.fingerprint(faces) == champion_comparison.fingerprint(same)
    assert champion_comparison.fingerprint(faces) != champion_comparison.fingerprint(other)
    same.labels[0] += 1
    assert champion_comparison.fingerprint(faces) != champion_comparison.fingerprint(same)
