import logging
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_faces import write_faces

from fer_tasks import training
from fer_tasks.checkpoint import training_fingerprint
from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError, TrainingError
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.training import learning_rates
from fer_tasks.training_batches import TrainingBatches, balanced_weights
from fer_tasks.training_history import EpochRecord, History, best_epoch, has_stalled, progress_line

PROJECT = Path(__file__).resolve().parent.parent
COUNTS = {"train": 70, "validation": 21, "test": 21}


def records(*validation):
    """One epoch a (val_accuracy, val_loss)."""
    return tuple(
        EpochRecord(number, 1.0, 0.5, loss, accuracy, 0.01, 1.0, 100.0)
        for number, (accuracy, loss) in enumerate(validation, start=1)
    )


def test_the_best_epoch_is_the_most_accurate_on_validation_then_the_surest():
    assert best_epoch(records((0.5, 1.0), (0.7, 1.0), (0.6, 0.5))) == 2
    assert best_epoch(records((0.7, 1.0), (0.7, 0.9), (0.7, 0.9))) == 2


def test_patience_counts_epochs_without_a_better_validation_accuracy():
    epochs = records((0.5, 1.0), (0.6, 1.0), (0.6, 0.9), (0.55, 0.8))
    assert not has_stalled((), 1)
    assert not has_stalled(epochs, 3)
    assert has_stalled(epochs, 2)
    assert not has_stalled(epochs[:2], 1)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = learning_rates(RunSettings(epochs=20, learning_rate=0.4), steps=10)
    got = [float(rates(step)) for step in (0, 10, 20, 110, 200)]
    assert got == pytest.approx([0.0, 0.2, 0.4, 0.2, 0.0], abs=1e-6)


@pytest.fixture
def faces(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 10})
    return load_split(run_dir, "train")


def test_an_epoch_shows_every_face_in_batches_of_one_size_and_another_order_each_time(faces):
    batches = TrainingBatches(faces, RunSettings(batch_size=4, augment=False, crop_side=48))
    first = batches.indices(1)
    assert first.shape == (3, 4)
    assert sorted(first.ravel()[:10]) == list(range(10))
    assert first.ravel()[10:].tolist() == first.ravel()[:2].tolist()
    assert (batches.indices(1) == first).all()
    assert (batches.indices(2) != first).any()
    pixels, answers, weights = zip(*batches.of_epoch(1), strict=True)
    pixels, weights = np.concatenate(pixels), np.concatenate(weights)
    one_hot = np.concatenate([answer["target"] for answer in answers])
    assert (pixels == faces.pixels[first.ravel()]).all()
    assert (one_hot.argmax(axis=1) == faces.labels[first.ravel()]).all()
    assert (np.concatenate([answer["face"] for answer in answers]) == first.ravel()).all()
    assert weights.tolist() == [1.0] * 12


def test_a_set_smaller_than_a_batch_is_one_batch(faces):
    assert TrainingBatches(faces, RunSettings(batch_size=64)).indices(1).shape == (1, 10)


def test_augmentation_differs_by_epoch_and_step_and_repeats_with_the_seed(faces):
    alike = replace(faces, pixels=np.repeat(faces.pixels[:1], 10, axis=0))

    def drawn(seed, epoch):
        batches = TrainingBatches(alike, RunSettings(batch_size=5, seed=seed))
        return np.stack([pixels for pixels, _, _ in batches.of_epoch(epoch)])

    first = drawn(1, 2)
    assert (first == drawn(1, 2)).all()
    for other in (drawn(1, 3), drawn(2, 2), first[::-1]):
        assert np.abs(first - other).max(axis=(2, 3, 4)).min() > 0.1


def test_the_time_left_grows_with_the_pixels_of_the_crops_to_come():
    epochs = records((0.5, 1.0), (0.625, 1.0))
    assert progress_line(epochs, [30, 30, 60, 90]) == (
        "epoch 2/4  loss 1.00  accuracy 50.0%  val 62.5%  100 images/s  13 s left"
    )
    slow = (replace(epochs[0], seconds=120.0),)
    assert progress_line(slow, [30, 30, 60, 90]).endswith("28 min left")


def test_class_weights_give_every_emotion_the_same_say():
    weights = balanced_weights(np.array([3, 3, 3, 0], np.int32))
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


def test_training_learns_and_leaves_a_model_and_its_history(make_run, caplog):
    run_dir = make_run(epochs=8, batch_size=14, learning_rate=0.1, augment=False, class_weights=True, crop_side=48)
    write_faces(run_dir, COUNTS)
    with caplog.at_level(logging.INFO, logger="fer_tasks"):
        history = training.run(run_dir)
    assert run_dir.load_json(run_dir.history_json, History) == history
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (history.architecture, history.stopped_early, history.resumed_at_epochs) == ("resnet", False, ())
    assert history.seconds == pytest.approx(sum(record.seconds for record in history.epochs))
    assert max(record.val_accuracy for record in history.epochs) >= 0.8
    validation = load_split(run_dir, "validation")
    predicted = predict_probabilities(load_model(run_dir.model), validation.pixels).argmax(axis=1)
    kept = history.epochs[history.best_epoch - 1]
    assert (predicted == validation.labels).mean() == pytest.approx(kept.val_accuracy, abs=1e-6)
    assert not run_dir.checkpoint_folder.exists()
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 8
    for part in ("epoch 8/8  loss ", "  accuracy ", "%  val ", " images/s  0 s left"):
        assert part in lines[-1]
    assert run_dir.attempts("train_model")[0].status == "succeeded"


def test_the_papers_network_trains_with_plain_sgd(make_run):
    run_dir = make_run(architecture="paper_cnn", epochs=10, batch_size=7, learning_rate=0.1, augment=False)
    write_faces(run_dir, COUNTS)
    history = training.run(run_dir)
    assert max(record.val_accuracy for record in history.epochs) >= 0.8


def test_training_stops_when_patience_runs_out(make_run):
    run_dir = make_run(architecture="paper_cnn", epochs=6, patience=1, learning_rate=1e-6, augment=False)
    write_faces(run_dir, COUNTS)
    history = training.run(run_dir)
    assert history.stopped_early
    assert len(history.epochs) < 6


def test_a_diverged_training_is_a_training_error_in_words(make_run):
    run_dir = make_run(architecture="paper_cnn", epochs=4, batch_size=7, learning_rate=10.0)
    write_faces(run_dir, COUNTS)
    with pytest.raises(TrainingError, match=r"In epoch 1 the loss became \S+ at .* Lower the setting `learning_rate`"):
        training.run(run_dir)
    assert run_dir.attempts("train_model")[0].status == "refused"
    assert not run_dir.model.exists()


def test_no_validation_images_is_a_dataset_error(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 7})
    with pytest.raises(DatasetError, match="no validation images"):
        training.run(run_dir)
    assert run_dir.attempts("train_model")[0].status == "refused"


def start_training(run_dir):
    script = f"from fer_tasks import training, run_directory as r; training.run(r.RunDirectory({str(run_dir)!r}))"
    return subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stderr=subprocess.DEVNULL)


def test_a_training_killed_midway_ends_as_an_unbroken_one(tmp_path):
    settings = {"epochs": 5, "batch_size": 14, "learning_rate": 0.1}
    broken, unbroken = RunDirectory(tmp_path / "broken"), RunDirectory(tmp_path / "unbroken")
    for run_dir in (broken, unbroken):
        run_dir.save_json(run_dir.settings_json, settings)
        write_faces(run_dir, COUNTS)
    checkpoint = broken.checkpoint_folder / "last_epoch.npz"
    process = start_training(broken)
    try:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not broken.model.exists()
    for run_dir in (
        broken,
        unbroken,
    ):  # in a new process each, since the number of threads changes how sums are rounded
        assert start_training(run_dir).wait() == 0
    killed, whole = (run_dir.load_json(run_dir.history_json, History) for run_dir in (broken, unbroken))

    assert [attempt.status for attempt in broken.attempts("train_model")] == ["running", "succeeded"]
    assert len(killed.resumed_at_epochs) == 1
    assert 2 <= killed.resumed_at_epochs[0] <= 5
    assert whole.resumed_at_epochs == ()
    for one, other in zip(killed.epochs, whole.epochs, strict=True):
        assert one.epoch == other.epoch
        assert one.learning_rate == other.learning_rate
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3), (one.epoch, name)
    faces = load_split(broken, "test").pixels
    one, other = (predict_probabilities(load_model(run_dir.model), faces) for run_dir in (broken, unbroken))
    assert np.abs(one - other).max() < 1e-3


def test_a_training_that_died_after_its_last_epoch_only_saves_what_it_has(make_run, monkeypatch):
    class Died(Exception):
        pass

    def die(*_):
        raise Died

    run_dir = make_run(architecture="paper_cnn", epochs=1, batch_size=35, augment=False)
    write_faces(run_dir, COUNTS)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_finished_model", die)
        with pytest.raises(Died):
            training.run(run_dir)
    history = training.run(run_dir)
    assert len(history.epochs) == 1
    assert history.resumed_at_epochs == ()
    assert run_dir.model.exists()


def test_the_fingerprint_is_of_what_decides_how_training_goes_on(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 7, "validation": 7})
    train, validation = load_split(run_dir, "train"), load_split(run_dir, "validation")
    relabelled = replace(train, labels=train.labels[::-1].copy())

    def fingerprint(faces=train, precision="float32", teachers="", **settings):
        data = (faces.fingerprint, validation.fingerprint)
        return training_fingerprint(RunSettings(**settings), [precision, teachers], data)

    assert fingerprint(min_accuracy=0.9, lime_samples=50) == fingerprint()
    changed = [
        fingerprint(seed=1),
        fingerprint(epochs=5),
        fingerprint(architecture="paper_cnn"),
        fingerprint(batch_size=3),
        fingerprint(learning_rate=0.02),
        fingerprint(label_smoothing=0.0),
        fingerprint(augment=False),
        fingerprint(class_weights=True),
        fingerprint(patience=1),
        fingerprint(precision="mixed_bfloat16"),
        fingerprint(teachers="a" * 64),
        fingerprint(teacher_share=0.5),
        fingerprint(validation),
        fingerprint(relabelled),
    ]
    assert len({fingerprint(), *changed}) == 15
