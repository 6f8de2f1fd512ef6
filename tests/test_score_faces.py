"""The champion scores a folder: real registry, real Spark, real Great Expectations, step by step as the DAG has it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bar_models import bar_model
from finished_run import finish
from PIL import Image
from scored_run import MODEL
from tiny_faces import bar_face

from fer_tasks import data_profile, registry, score_checks, scoring_plan, scoring_report, store_scores
from fer_tasks.emotions import EMOTIONS, PROBABILITIES
from fer_tasks.errors import DatasetError, RegistryError, SettingsError
from fer_tasks.face_rows import FaceRow
from fer_tasks.face_scoring import ANSWERS, network_of_worker, score_batch
from fer_tasks.image_decoding import DecodedImage
from fer_tasks.model import import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings

PROJECT = Path(__file__).resolve().parent.parent
SHARPNESS = 40.0


def face(label: int, seed: int = 0) -> np.ndarray:
    return bar_face(label, np.random.default_rng([label, seed]))


def expected(pixels: np.ndarray) -> np.ndarray:
    """The probabilities of bar_model, computed by hand."""
    logits = [SHARPNESS * (pixels[3 + 6 * bar : 8 + 6 * bar, 8:40] / 255).mean() for bar in range(7)]
    return np.exp(logits) / np.exp(logits).sum()


def write(path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def promote(name: str, run_id: str) -> None:
    """A run whose model tells the bars, promoted, and its profile on record: 10 test images of each emotion."""
    run_dir = finish(RunDirectory.for_run_id(run_id), name)
    bar_model(sharpness=SHARPNESS).save(run_dir.model)
    data_profile.run(run_dir, np.repeat(np.arange(7), 10))
    registry.promote(run_dir, name)


@pytest.fixture(scope="module")
def bars(registry_home):
    promote("bars", "trained")
    return "bars"


def planned(run_id: str, **settings):
    scoring_plan.start(run_id, settings)
    run_dir = ScoringDirectory.for_run_id(run_id)
    return run_dir, scoring_plan.run(run_dir)


def paths(run_dir):
    return pd.read_parquet(run_dir.plan)["path"].tolist()


def test_new_images_are_scored_checked_stored_and_told_and_only_they(spark, bars, tmp_path):
    from spark_jobs import score_faces

    inbox = tmp_path / "inbox"
    for label, emotion in enumerate(EMOTIONS):
        write(inbox / f"{label}-{emotion}.png", face(label))
    write(inbox / "larger" / "happy.png", np.kron(face(3), np.ones((2, 2), np.uint8)))
    write(inbox / "flat.png", np.full((48, 48), 9, np.uint8))
    (inbox / "broken.jpg").write_bytes(b"no image")
    settings = {"images": str(inbox), "registered_model": bars, "max_refused_share": 0.2, "batch_rows": 3}
    run_dir, plan = planned("first", **settings)
    assert (plan.num_found, plan.num_known, plan.num_planned, plan.model.version) == (10, 0, 10, 1)
    assert plan.next_tasks == ["score_faces"]
    score_faces.main(str(run_dir))

    scores = pd.read_parquet(run_dir.scores).sort_values("path", ignore_index=True)
    assert scores["path"].tolist() == [
        *(f"{inbox}/{label}-{emotion}.png" for label, emotion in enumerate(EMOTIONS)),
        f"{inbox}/larger/happy.png",
    ]
    assert scores["emotion"].tolist() == [*EMOTIONS, "happy"]
    by_hand = [expected(face(label)) for label in (*range(7), 3)]
    np.testing.assert_allclose(scores[list(PROBABILITIES)], by_hand, atol=1e-5)
    np.testing.assert_allclose(scores["confidence"], np.max(by_hand, axis=1), atol=1e-5)
    assert scores["brightness"][0] == pytest.approx(face(0).mean())
    assert scores["image_id"].nunique() == 8
    refused = pd.read_parquet(run_dir.refused).set_index("path")["reason"].to_dict()
    assert refused[f"{inbox}/flat.png"] == "constant image: every pixel has grey level 9"
    assert "no JPEG" in refused[f"{inbox}/broken.jpg"]
    assert len(refused) == 2

    checks = score_checks.run(run_dir)
    assert checks.emotions == (1, 1, 1, 2, 1, 1, 1)
    assert [(line.subject, line.reading) for line in checks.training_drift] == [("predicted", "stable")]
    html = scoring_report.run(run_dir).read_text()
    assert "store_scores adds them to the tables" in html
    assert "It was trained on drawn faces: do not rely on what it says of photographs." in html
    store_scores.run(run_dir)
    html = run_dir.scoring_html.read_text()
    assert "bars version 1 has scored 8 images and refused 2. They are stored." in html
    assert html.count("<img") == 8 + 8 + 1  # the broken one has no picture

    assert planned("second", **settings)[1].next_tasks == []
    assert "Nothing new" in scoring_report.run(ScoringDirectory.for_run_id("second")).read_text()
    write(inbox / "0-angry.png", face(5, seed=1))
    write(inbox / "later.png", face(6, seed=1))
    third, _ = planned("third", **settings)
    assert paths(third) == [f"{inbox}/0-angry.png", f"{inbox}/later.png"]
    score_faces.main(str(third))
    checks = score_checks.run(third)
    assert (checks.num_scored, checks.former.run, checks.former.num_images) == (2, "first", 8)
    store_scores.run(third)
    stored = pd.read_parquet(ScoreFolder.for_model(bars).scores)
    assert sorted(stored["path"].value_counts().tolist()) == [1] * 8 + [2]
    assert len(paths(planned("all", **settings, incremental=False)[0])) == 11
    assert paths(planned("first", **settings)[0]) == [  # its own rows are those that it would replace
        path for path in paths(planned("all", **settings, incremental=False)[0]) if path not in paths(third)
    ]
    promote("bars", "trained again")
    assert planned("fourth", **settings)[1].num_planned == 11


def test_without_a_champion_or_a_source_the_run_ends_before_anything_is_scored(registry_home, tmp_path):
    with pytest.raises(RegistryError, match="no champion of 'nobody'"):
        planned("none", images=str(tmp_path), registered_model="nobody")
    assert ScoringDirectory.for_run_id("none").attempts("plan_scoring")[-1].status == "refused"
    with pytest.raises(DatasetError, match="There is no data set at"):
        scoring_plan.start("none", {"images": str(tmp_path / "nowhere")})
    with pytest.raises(SettingsError, match="Did you mean 'images'"):
        scoring_plan.start("none", {"imags": str(tmp_path)})


def test_a_champion_that_is_no_classifier_of_the_emotions_is_refused(registry_home, tmp_path):
    run_dir = finish(RunDirectory.for_run_id("other classes"), "other")
    bar_model(classes=range(6)).save(run_dir.model)
    registry.promote(run_dir, "other")
    with pytest.raises(RegistryError, match=r"other version 1 cannot score faces.*\(None, 6\)"):
        planned("other", images=str(tmp_path), registered_model="other")


def answers(images, model=MODEL, network=None, **settings):
    """score_batch of images or reasons, as columns."""
    rows = [
        FaceRow(number, f"{number}", None, None, None, image, b"x")
        if isinstance(image, str)
        else FaceRow(number, f"{number}", None, None, DecodedImage(image, 1))
        for number, image in enumerate(images)
    ]
    batch = score_batch(rows, network or bar_model(), model, ScoringSettings(**settings))
    assert [*batch.schema.names[:-1], "file_version", "position"] == ANSWERS.names
    return batch.to_pydict()


def test_what_is_no_face_gets_its_reason_and_no_score():
    wrong_count, small = np.zeros((1, 7), np.uint8), np.arange(48 * 5, dtype=np.uint8).reshape(48, 5)
    told = answers([face(2), "the file\n  is damaged", wrong_count, small, np.zeros((9, 9), np.uint8), face(4)])
    assert told["reason"] == [
        None,
        "the file is damaged",
        "expected 2304 pixels (48x48), got 7",
        "5x48 pixels, smallest side allowed: 8",
        "constant image: every pixel has grey level 0",
        None,
    ]
    assert told["emotion"] == ["fear", None, None, None, None, "sad"]
    assert [value is None for value in told["sharpness"]] == [False, True, True, True, True, False]
    assert answers([small], min_image_side=5)["reason"] == [None]
    assert answers(["gone"])["probability_fear"] == [None]


def test_classes_in_another_order_are_matched_by_name():
    order = (3, 6, 0, 1, 2, 4, 5)
    model = replace(MODEL, emotions=tuple(EMOTIONS[label] for label in order))
    told = answers([face(label) for label in range(7)], model, bar_model(classes=order))
    assert told["emotion"] == list(EMOTIONS)
    assert np.array([told[name] for name in PROBABILITIES]).argmax(axis=0).tolist() == list(range(7))


def test_the_images_go_through_the_champion_s_filters():
    noisy = face(3)
    plain, filtered = answers([noisy]), answers([noisy], replace(MODEL, denoise="median"))
    assert plain["confidence"] != filtered["confidence"]
    assert plain["brightness"] == filtered["brightness"]


def test_ten_views_are_averaged_where_that_is_asked():
    plain, averaged = answers([face(1)]), answers([face(1)], test_time_augmentation=True)
    assert plain["confidence"][0] > averaged["confidence"][0]  # shifted by two pixels, a bar is seen less


def test_a_worker_loads_the_champion_once(tmp_path):
    file = tmp_path / "champion.keras"
    keras = import_keras()
    face_input = keras.Input((48, 48, 1))
    keras.Model(face_input, keras.layers.Dense(7, "softmax")(keras.layers.Flatten()(face_input))).save(file)
    first = network_of_worker(str(file), "float32")
    file.unlink()
    assert network_of_worker(str(file), "float32") is first


def test_in_int8_the_champion_scores_on_spark_without_tensorflow(spark, bars, tmp_path):
    from spark_jobs import score_faces

    for label in range(7):
        write(tmp_path / "inbox" / f"{label}.png", face(label))
    run_dir, _ = planned("small", images=str(tmp_path / "inbox"), registered_model=bars, precision="int8")
    score_faces.main(str(run_dir))
    scores = pd.read_parquet(run_dir.scores).sort_values("path")
    assert scores["emotion"].tolist() == list(EMOTIONS)
    by_hand = [expected(face(label)) for label in range(7)]
    np.testing.assert_allclose(scores[list(PROBABILITIES)], by_hand, atol=0.05)
    assert not np.allclose(scores[list(PROBABILITIES)], by_hand, rtol=0.01, atol=0)  # they are rounded
    command = "import sys; from fer_tasks.face_scoring import network_of_worker as load; load(sys.argv[1], 'int8'); "
    command += "sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", command, str(run_dir.champion_model)], cwd=PROJECT, check=True)


def test_an_empty_batch_has_the_same_columns():
    batch = score_batch([], bar_model(), MODEL, ScoringSettings())
    assert batch.num_rows == 0
    assert batch.schema.field("confidence").type == pa.float32()
