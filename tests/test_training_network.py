import numpy as np
import pytest
from tiny_faces import write_faces

from fer_tasks.dataset import load_split
from fer_tasks.settings import RunSettings
from fer_tasks.training import compiled_network, fit_epoch
from fer_tasks.training_batches import TrainingBatches
from fer_tasks.training_network import side_in_epoch


def test_crops_grow_by_four_pixels_in_equal_parts_of_the_epochs():
    settings = RunSettings(epochs=8, first_crop_side=32, crop_side=44)
    assert [side_in_epoch(settings, epoch) for epoch in range(1, 9)] == [32, 32, 36, 36, 40, 40, 44, 44]
    uneven = RunSettings(epochs=3, first_crop_side=32, crop_side=39)
    assert [side_in_epoch(uneven, epoch) for epoch in range(1, 4)] == [32, 36, 39]


def test_fewer_epochs_than_sides_end_on_the_last_and_a_first_side_above_it_changes_nothing():
    short = RunSettings(epochs=2, first_crop_side=24, crop_side=48)
    assert [side_in_epoch(short, epoch) for epoch in (1, 2)] == [36, 48]
    assert side_in_epoch(RunSettings(epochs=5, first_crop_side=48, crop_side=40), 1) == 40


def test_the_papers_network_sees_whole_faces():
    assert side_in_epoch(RunSettings(architecture="paper_cnn", first_crop_side=32, crop_side=40), 1) == 48


@pytest.fixture
def faces(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 28})
    return load_split(run_dir, "train")


@pytest.mark.parametrize("weight_averaging", [0.0, 0.5])
def test_the_average_follows_its_definition(faces, weight_averaging):
    settings = RunSettings(batch_size=28, crop_side=32, learning_rate=0.1, epochs=4, weight_averaging=weight_averaging)
    batches = TrainingBatches(faces, settings)
    model = compiled_network(settings, "float32", batches, initial=None)
    average = None
    for step in range(1, 5):  # one step an epoch
        fit_epoch(model, batches, step)
        values = [variable.numpy() for variable in model.network.variables]
        kept = min(weight_averaging, (step - 1) / (step + 9))
        average = values if step == 1 else [
            kept * one + (1 - kept) * other for one, other in zip(average, values, strict=True)
        ]  # fmt: skip
    for one, other in zip(model.average, average, strict=True):
        assert np.allclose(one.numpy(), other, rtol=1e-4, atol=1e-6)


def test_the_target_moves_from_the_label_to_the_average_of_earlier_answers(faces):
    settings = RunSettings(
        architecture="paper_cnn", batch_size=28, augment=False, label_smoothing=0.0, self_distillation=1.0,
        learning_rate=0.5, epochs=4, weight_averaging=0.0,
    )  # fmt: skip
    batches = TrainingBatches(faces, settings)
    model = compiled_network(settings, "float32", batches, initial=None)
    model.trust.assign(0.75)
    labels, belief = np.eye(7)[faces.labels], None
    for step in range(1, 4):  # one step an epoch, of all faces
        said = model.network.predict(faces.pixels, verbose=0)
        target = labels if belief is None else 0.25 * labels + 0.75 * belief
        loss = fit_epoch(model, batches, step)["loss"][0]
        if belief is not None:
            assert loss == pytest.approx(-(target * np.log(said)).sum(axis=1).mean(), rel=1e-4)
        belief = said if belief is None else 0.8 * belief + 0.2 * said
        assert np.allclose(model.belief, belief, atol=1e-5)
