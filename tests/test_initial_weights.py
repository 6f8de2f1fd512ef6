import numpy as np
import pytest
from tiny_faces import write_faces

from fer_tasks import training
from fer_tasks.errors import SettingsError, TrainingError
from fer_tasks.initial_weights import find_initial_model, fingerprint, freeze, transfer, width_of
from fer_tasks.model import build_model, import_keras, load_model
from fer_tasks.settings import RunSettings
from fer_tasks.start_run import run as start_run

COUNTS = {"train": 70, "validation": 21, "test": 21}


@pytest.fixture
def initial(tmp_path):
    import_keras().utils.set_random_seed(3)
    build_model("paper_cnn").save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_from_scratch_there_is_none():
    assert find_initial_model(RunSettings()) is None


def test_a_file_and_the_folder_it_is_in_are_the_same(initial):
    first, second = (
        find_initial_model(RunSettings(initial_weights=str(path))).get_weights() for path in (initial, initial.parent)
    )
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_the_weights_of_another_network_are_refused(initial):
    settings = RunSettings(initial_weights=str(initial))
    with pytest.raises(TrainingError, match="Choose the architecture that they were trained with"):
        transfer(find_initial_model(settings), build_model("resnet"), settings)


def test_the_width_is_that_of_the_initial_weights(initial):
    settings = RunSettings(network_width=1.5)
    assert width_of(None, settings) == 1.5
    assert width_of(build_model("resnet", width=0.5), settings) == 0.5
    assert width_of(load_model(initial), settings) == 0.5  # its first stage has 32 channels; transfer refuses it
    assert width_of(load_model(initial), RunSettings(architecture="paper_cnn", network_width=0.5)) == 0.5


@pytest.mark.parametrize(("architecture", "num_stages", "trainable"), [
    ("resnet", 0, 26), ("resnet", 1, 20), ("resnet", 4, 2), ("paper_cnn", 2, 8), ("paper_cnn", 4, 4),
])  # fmt: skip
def test_frozen_stages_are_counted_from_the_input(architecture, num_stages, trainable):
    network = build_model(architecture)
    freeze(network, num_stages)
    assert len(network.trainable_variables) == trainable


def test_more_stages_than_there_are_cannot_be_frozen():
    with pytest.raises(TrainingError, match="resnet has 4 stages; `frozen_stages` is 5"):
        freeze(build_model("resnet"), 5)


def test_training_leaves_frozen_stages_as_they_were_and_changes_the_others(make_run, initial):
    run_dir = make_run(
        architecture="paper_cnn", initial_weights=str(initial), frozen_stages=2, epochs=2, learning_rate=0.1,
        batch_size=14, augment=False,
    )  # fmt: skip
    write_faces(run_dir, COUNTS)
    training.run(run_dir)
    before, after = load_model(initial), load_model(run_dir.model)
    history = run_dir.load_json(run_dir.history_json, training.History)
    assert (history.initial_weights_sha256, history.weights_sha256) == (fingerprint(before), fingerprint(after))
    kept = [
        (np.asarray(one) == np.asarray(other)).all() for one, other in zip(before.weights, after.weights, strict=True)
    ]
    assert kept == [True] * 4 + [False] * 8


def test_a_start_that_is_not_there_is_refused_before_anything_is_spent(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    with pytest.raises(SettingsError, match=r"'initial_weights' is 'no/such': there is no .*such.* Allowed: none"):
        start_run("manual__1", {"initial_weights": "no/such"})
