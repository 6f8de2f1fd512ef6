import hashlib
import json

import pytest
from tiny_faces import write_faces

from fer_tasks import evaluation, lineage, model_card, training
from fer_tasks.errors import PipelineError
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import build_model, load_model
from fer_tasks.model_card import ModelCard
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.run_directory import RunDirectory


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the paper's network on tiny faces, with the records that a card is made of."""
    from fer_tasks.settings import RunSettings

    run_dir = RunDirectory(tmp_path_factory.mktemp("run"))
    teacher = tmp_path_factory.mktemp("secret") / "teacher.keras"
    build_model("paper_cnn").save(teacher)
    settings = RunSettings.from_params(
        {"dataset": "/secret/place/faces.zip", "architecture": "paper_cnn", "epochs": 2, "batch_size": 14, "seed": 5,
         "teachers": f"{teacher},{teacher}"}
    )  # fmt: skip
    settings.save(run_dir)
    write_faces(run_dir, {"train": 70, "validation": 21, "test": 14})
    training.run(run_dir)
    evaluation.run(run_dir)
    roles = {"Training": "train", "PublicTest": "test"}
    counts = {"train": 70, "validation": 21, "test": 14}
    run_dir.save_json(
        run_dir.preprocessing_json,
        Preprocessing(105, 0, {}, roles, True, counts, {}, 0, 0, 1.0, {}),
    )
    record = lineage.collect(
        "run",
        {},
        settings=settings,
        dataset_sha256="ab" * 32,
        history=None,
        finished_at="2026-11-22T10:00:00+00:00",
    )
    run_dir.save_json(run_dir.lineage_json, record)
    return run_dir


def test_a_runs_model_is_shipped_with_a_card_of_its_records(finished, tmp_path):
    card = model_card.ship(finished, tmp_path / "pretrained")
    shipped = RunDirectory(tmp_path / "pretrained")
    assert sorted(path.name for path in shipped.root.iterdir()) == ["model.keras", "model_card.json", "settings.json"]
    assert shipped.model.read_bytes() == finished.model.read_bytes()
    assert shipped.load_json(shipped.root / "model_card.json", ModelCard) == card
    assert (card.architecture, card.seed, card.num_training_images) == ("paper_cnn", 5, 70)
    assert (card.test.split, card.test.num_images, card.test.num_views) == ("PublicTest", 14, 10)
    assert card.dataset_sha256 == "ab" * 32
    assert card.settings["dataset"] == shipped.load_settings().dataset == "faces.zip"
    assert card.settings["teachers"] == "teacher.keras,teacher.keras"
    assert len(card.teachers_sha256) == 2
    assert "secret" not in (shipped.root / "model_card.json").read_text()


def test_a_model_too_large_for_the_repository_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(model_card, "MAX_BYTES", 1000)
    with pytest.raises(PipelineError, match=r"has [\d,]+ bytes; the repository takes 1,000"):
        model_card.ship(finished, tmp_path / "pretrained")
    assert not (tmp_path / "pretrained").exists()


def test_an_unfinished_run_is_told_without_a_traceback(make_run, capsys):
    run_dir = make_run()
    run_dir.model.write_bytes(b"model")
    assert model_card.main([str(run_dir)]) == 2
    assert "history.json is missing" in capsys.readouterr().err


def test_the_shipped_weights_are_those_of_their_card():
    card = json.loads((PRETRAINED / "model_card.json").read_text())
    content = (PRETRAINED / "model.keras").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["model_sha256"]
    assert len(content) <= 10_000_000
    model = load_model(PRETRAINED / "model.keras")
    assert (model.name, model.count_params()) == (card["architecture"], card["num_parameters"])
    assert model.input_shape == (None, 48, 48, 1)
    assert card["settings"]["seed"] == card["seed"]
    assert card["test"]["accuracy_low"] < card["test"]["accuracy"] < card["test"]["accuracy_high"]
