import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_faces import cut_split, write_faces

from fer_tasks import training
from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError
from fer_tasks.settings import RunSettings
from fer_tasks.shuffle_buffer import ShuffleBuffer
from fer_tasks.stored_faces import open_split
from fer_tasks.streamed_batches import StreamedBatches, choose_batches, mixed_order
from fer_tasks.training_batches import TrainingBatches

BUFFER_OF_ONE_MB = 113  # faces of 2,304 bytes in a quarter of a megabyte


def settings(**changed):
    """Whole faces, unchanged, streamed where there are more than 91 of them."""
    plain = {"architecture": "paper_cnn", "batch_size": 14, "augment": False, "memory_limit_mb": 1}
    return RunSettings(**{**plain, **changed})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A run of 500 training faces in four files, in row groups of 20."""
    from fer_tasks.run_directory import RunDirectory

    run_dir = RunDirectory(tmp_path_factory.mktemp("many"))
    write_faces(run_dir, {"train": 500})
    cut_split(run_dir, "train", num_files=4, faces_a_group=20)
    return run_dir


def order(run_dir, epoch, **changed):
    batches = StreamedBatches(open_split(run_dir, "train"), settings(**changed))
    return np.stack([faces for faces, _ in batches.drawn(epoch)])


def test_an_epoch_shows_every_face_in_batches_of_one_size_and_is_filled_up_from_its_beginning(many):
    drawn = order(many, 1)
    assert drawn.shape == (36, 14)
    assert sorted(drawn.ravel()[:500]) == list(range(500))
    assert drawn.ravel()[500:].tolist() == drawn.ravel()[:4].tolist()


def test_the_order_is_another_each_epoch_and_follows_from_the_seed(many):
    first = order(many, 1)
    assert (order(many, 1) == first).all()
    for other in (order(many, 2), order(many, 1, seed=8)):
        assert (other != first).mean() > 0.9


def test_faces_that_stand_together_come_apart(many):
    drawn = order(many, 1).ravel()[:500]
    assert (np.abs(np.diff(drawn)) < 20).mean() < 0.25  # 0.08 in an even shuffle, nearly 1 without a buffer
    early = drawn[:100]
    assert len({face // 20 for face in early.tolist()}) >= 8
    assert (early < 250).any()
    assert (early >= 250).any()


def test_each_round_of_reading_takes_one_row_group_of_each_sixteenth_of_the_set():
    first, second = (mixed_order(64, np.random.default_rng(seed)) for seed in (1, 2))
    assert (first != second).mean() > 0.8
    for order in (first, second):
        assert sorted(order) == list(range(64))
        assert [sorted(order[start : start + 16] // 4) for start in (0, 16, 32, 48)] == [list(range(16))] * 4


@pytest.mark.parametrize("num_groups", [1, 5, 16, 17, 100])
def test_a_set_of_any_number_of_row_groups_is_read_as_a_whole(num_groups):
    assert sorted(mixed_order(num_groups, np.random.default_rng(1))) == list(range(num_groups))


def test_the_buffer_never_holds_more_than_a_quarter_of_the_limit(many, monkeypatch):
    sizes = []
    add = ShuffleBuffer.add

    def noting(buffer, faces, pixels):
        add(buffer, faces, pixels)
        sizes.append((buffer.size, buffer._pixels.nbytes))

    monkeypatch.setattr(ShuffleBuffer, "add", noting)
    order(many, 1)
    assert max(size for size, _ in sizes) > 93
    assert max(size for size, _ in sizes) <= BUFFER_OF_ONE_MB
    assert {num_bytes for _, num_bytes in sizes} == {260_352}


def test_pixels_targets_and_weights_are_those_of_the_faces_in_memory(many):
    chosen = settings(class_weights=True)
    faces = load_split(many, "train")
    seen = 0
    for pixels, answer, weights in StreamedBatches(open_split(many, "train"), chosen).of_epoch(1):
        face = answer["face"].numpy()
        assert (pixels.numpy() == faces.pixels[face]).all()
        assert (answer["target"].numpy().argmax(axis=1) == faces.labels[face]).all()
        assert weights.numpy() == pytest.approx([1.0] * 14, abs=0.02)
        seen += 1
    assert seen == 36


def test_grey_levels_in_memory_become_the_same_floats(many):
    faces = load_split(many, "train")
    grey = faces.in_grey_levels()
    assert (grey.pixels.dtype, grey.pixels.nbytes) == (np.uint8, 500 * 2304)
    for (one, *_), (other, *_) in zip(
        TrainingBatches(faces, settings()).of_epoch(1), TrainingBatches(grey, settings()).of_epoch(1), strict=True
    ):
        assert (one.numpy() == other.numpy()).all()


@pytest.mark.parametrize(
    ("limit_mb", "is_streamed", "says"), [(5, True, "streamed from"), (6, False, "held in memory")]
)
def test_a_set_that_takes_more_than_the_limit_is_streamed(many, caplog, limit_mb, is_streamed, says):
    with caplog.at_level(logging.INFO, logger="fer_tasks"):
        batches = choose_batches(many, settings(memory_limit_mb=limit_mb))
    assert batches.is_streamed == is_streamed
    assert f"500 training faces take 5 MB while they are loaded, the limit is {limit_mb} MB: {says}" in caplog.text


def test_row_groups_larger_than_the_buffer_are_a_dataset_error(make_run):
    run_dir = make_run()
    write_faces(run_dir, {"train": 100})
    with pytest.raises(DatasetError, match=r"row groups of up to 100, and the shuffle buffer has room for 113\. Raise"):
        choose_batches(run_dir, settings())


def make_streamed(make_run, **changed):
    run_dir = make_run(**settings(**changed).to_params())
    write_faces(run_dir, {"train": 105, "validation": 21})
    cut_split(run_dir, "train", num_files=2, faces_a_group=10)
    return run_dir


def test_a_streamed_training_learns_as_well_as_one_in_memory(make_run):
    run_dir = make_streamed(make_run, epochs=10, batch_size=7, learning_rate=0.1)
    history = training.run(run_dir)
    assert history.is_streamed
    assert max(record.val_accuracy for record in history.epochs) >= 0.8


def test_a_streamed_training_that_died_ends_as_an_unbroken_one(make_run, monkeypatch):
    class Died(Exception):
        pass

    run_dir = make_streamed(make_run, epochs=4, learning_rate=0.05, augment=True, self_distillation=0.5)
    whole = training.run(run_dir)
    saved = []

    def save_and_die(*checkpoint):
        saved.append(training_save(*checkpoint))
        if len(saved) == 2:
            raise Died

    training_save = training.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save_and_die)
        with pytest.raises(Died):
            training.run(run_dir)
    resumed = training.run(run_dir)
    assert resumed.resumed_at_epochs == (3,)
    for one, other in zip(resumed.epochs, whole.epochs, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3), (one.epoch, name)


def test_pixels_damaged_in_the_middle_of_an_epoch_are_a_dataset_error_in_words(make_run):
    run_dir = make_streamed(make_run, epochs=1)
    part = run_dir.faces / "split=train" / "part-00001.parquet"
    pixels = pq.read_metadata(part).row_group(2).column(5)
    assert pixels.path_in_schema == "pixels.list.element"
    content = bytearray(part.read_bytes())
    content[pixels.dictionary_page_offset : pixels.dictionary_page_offset + 40] = b"\xff" * 40
    part.write_bytes(content)
    with pytest.raises(DatasetError, match=r"part-00001.parquet cannot be read as Parquet .* run preprocess_faces"):
        training.run(run_dir)
    assert run_dir.attempts("train_model")[0].status == "refused"
