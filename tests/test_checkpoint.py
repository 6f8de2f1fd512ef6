import logging

import numpy as np
import pytest

from fer_tasks.checkpoint import TrainingCheckpoint, load_checkpoint, save_checkpoint

MODEL = [np.arange(6.0, dtype=np.float32).reshape(2, 3), np.array([7], np.uint32)]
OPTIMIZER = [np.array(5)]
CHECKPOINT = TrainingCheckpoint(
    "ab12", {"epochs": [{"epoch": 1, "loss": 0.25}]}, MODEL, OPTIMIZER, [MODEL[0] * 2, MODEL[1]]
)
LIKE = (MODEL, OPTIMIZER, MODEL)


@pytest.fixture
def saved(make_run):
    run_dir = make_run()
    save_checkpoint(run_dir, CHECKPOINT)
    return run_dir


def test_a_checkpoint_comes_back_as_it_was(saved):
    loaded = load_checkpoint(saved, "ab12", LIKE)
    assert loaded.progress == {"epochs": [{"epoch": 1, "loss": 0.25}]}
    assert [array.tolist() for array in loaded.model] == [[[0, 1, 2], [3, 4, 5]], [7]]
    assert [array.tolist() for array in loaded.optimizer] == [5]
    assert [array.tolist() for array in loaded.best] == [[[0, 2, 4], [6, 8, 10]], [7]]
    assert [array.dtype for array in loaded.model] == [np.float32, np.uint32]


def test_many_arrays_keep_their_order(make_run):
    run_dir, arrays = make_run(), [np.array(number) for number in range(120)]
    save_checkpoint(run_dir, TrainingCheckpoint("ab12", {}, arrays, [], arrays))
    assert [int(array) for array in load_checkpoint(run_dir, "ab12", (arrays, [], arrays)).model] == list(range(120))


def test_a_new_checkpoint_takes_the_place_of_the_last_one_and_leaves_nothing_beside(saved):
    save_checkpoint(saved, TrainingCheckpoint("ab12", {"epochs": []}, *[[np.zeros(1)]] * 3))
    assert load_checkpoint(saved, "ab12", [[np.zeros(1)]] * 3).progress == {"epochs": []}
    assert [path.name for path in saved.checkpoint_folder.iterdir()] == ["last_epoch.npz"]


def test_without_a_checkpoint_there_is_none(make_run):
    assert load_checkpoint(make_run(), "ab12", LIKE) is None


def test_one_of_other_settings_is_ignored_and_said(saved, caplog):
    with caplog.at_level(logging.INFO, logger="fer_tasks"):
        assert load_checkpoint(saved, "cd34", LIKE) is None
    assert "is of other settings or data; training starts over." in caplog.text


def test_one_of_another_network_is_ignored_and_said(saved, caplog):
    with caplog.at_level(logging.INFO, logger="fer_tasks"):
        assert load_checkpoint(saved, "ab12", ([MODEL[0].T, MODEL[1]], OPTIMIZER, MODEL)) is None
    assert "is of another network; training starts over." in caplog.text


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(5.0).tobytes())] ^= 0xFF
    path.write_bytes(bytes(content))


def pickle_instead(path):
    np.savez(path, state=np.array({"an": "object"}, dtype=object))


def leave_out_the_state(path):
    np.savez(path, model_0000=MODEL[0])


@pytest.mark.parametrize("damage", [cut, empty, flip_a_byte, pickle_instead, leave_out_the_state])
def test_a_corrupt_one_is_ignored_and_said(saved, caplog, damage):
    damage(saved.checkpoint_folder / "last_epoch.npz")
    with caplog.at_level(logging.INFO, logger="fer_tasks"):
        assert load_checkpoint(saved, "ab12", LIKE) is None
    assert "cannot be read" in caplog.text
