import numpy as np
import pytest

from fer_tasks.model import import_keras

import_keras()
import tensorflow as tf  # noqa: E402

from fer_tasks import augmentation  # noqa: E402
from fer_tasks.augmentation import augment  # noqa: E402


@pytest.fixture
def faces():
    return np.random.default_rng(0).random((200, 48, 48, 1), dtype=np.float32)


def test_shape_type_and_range_are_kept_and_nearly_every_face_changes(faces):
    changed = augment(faces, [7, 1]).numpy()
    assert (changed.shape, changed.dtype) == ((200, 48, 48, 1), np.float32)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert sum(np.abs(one - other).max() > 0.1 for one, other in zip(changed, faces, strict=True)) > 196


def test_the_seed_alone_decides_also_inside_a_graph(faces):
    eager = augment(faces, [7, 1]).numpy()
    assert np.allclose(tf.function(augment)(faces, tf.constant([7, 1])).numpy(), eager, atol=1e-5)
    assert np.abs(augment(faces, [7, 2]).numpy() - eager).max() > 0.1
    assert np.abs(augment(faces, [8, 1]).numpy() - eager).max() > 0.1


@pytest.fixture
def only_moves(monkeypatch):
    """No rotation, zoom, shift, contrast or erasing: a face comes back as it was, or mirrored."""
    for name in ("MAX_ROTATION_DEGREES", "MAX_ZOOM", "MAX_SHIFT_PIXELS", "ERASE_PROBABILITY"):
        monkeypatch.setattr(augmentation, name, 0.0)
    monkeypatch.setattr(augmentation, "MAX_GAMMA", 1.0)
    return monkeypatch


def test_about_half_of_the_faces_are_mirrored_and_the_others_left(faces, only_moves):
    changed = augment(faces, [7, 1]).numpy()
    left = [np.allclose(one, other, atol=1e-5) for one, other in zip(changed, faces, strict=True)]
    mirrored = [np.allclose(one, other[:, ::-1], atol=1e-5) for one, other in zip(changed, faces, strict=True)]
    assert sum(left) + sum(mirrored) == 200
    assert 70 < sum(mirrored) < 130


def test_a_shift_moves_no_farther_than_said(only_moves):
    only_moves.setattr(augmentation, "MAX_SHIFT_PIXELS", 4.8)
    faces = np.zeros((200, 48, 48, 1), np.float32)
    faces[:, 22:26, 22:26] = 1.0  # symmetric about the middle, so mirroring leaves it
    mass = augment(faces, [7, 1]).numpy()[..., 0]
    places = np.arange(48) - 23.5
    down = (mass.sum(2) * places).sum(1) / mass.sum((1, 2))
    right = (mass.sum(1) * places).sum(1) / mass.sum((1, 2))
    for moved in (down, right):
        assert 4.0 < np.abs(moved).max() <= 4.81
        assert abs(moved.mean()) < 0.7


def test_rotation_and_zoom_keep_the_middle_and_reach_their_limits(only_moves):
    only_moves.setattr(augmentation, "MAX_ROTATION_DEGREES", 10.0)
    faces = np.zeros((200, 48, 48, 1), np.float32)
    faces[:, 23:25] = 1.0  # a horizontal line through the middle
    turned = augment(faces, [7, 1]).numpy()[..., 0]
    places = np.arange(48) - 23.5
    heights = (turned * places[None, :, None]).sum(1) / turned.sum(1)
    degrees = np.degrees(np.arctan2(heights[:, 40] - heights[:, 7], 33))
    assert 9 < np.abs(degrees).max() < 10.5
    assert np.abs(heights[:, 23:25]).max() < 0.2


def test_a_zoom_keeps_the_middle(only_moves):
    only_moves.setattr(augmentation, "MAX_ZOOM", 0.1)
    faces = np.zeros((200, 48, 48, 1), np.float32)
    faces[:, 14:34] = 1.0
    heights = augment(faces, [7, 1]).numpy()[:, :, 24, 0].sum(1)
    assert 17.9 < heights.min() < 18.8
    assert 21.4 < heights.max() < 22.4


def test_half_of_the_faces_are_moved_by_whole_pixels_and_stay_as_crisp_as_they_were(faces, monkeypatch):
    monkeypatch.setattr(augmentation, "ERASE_PROBABILITY", 0.0)
    monkeypatch.setattr(augmentation, "MAX_GAMMA", 1.0)
    changed = augment(faces, [7, 1], side=40).numpy()
    moves = [
        [
            (row - 4, column - 4)
            for row in range(9)
            for column in range(9)
            for step in (1, -1)
            if np.allclose(face[row : row + 40, column : column + 40][:, ::step], one, atol=1e-4)
        ]
        for face, one in zip(faces, changed, strict=True)
    ]
    crisp = np.array([found[0] for found in moves if found])
    assert 70 < len(crisp) < 130
    assert np.abs(crisp).max(axis=0).tolist() == [3, 3]
    assert {tuple(move) for move in crisp.tolist()} > {(0, 1), (-2, 2)}


def test_contrast_changes_grey_and_leaves_black_and_white(only_moves):
    only_moves.setattr(augmentation, "MAX_GAMMA", 1.5)
    faces = np.zeros((200, 48, 48, 1), np.float32)
    faces[:, :, :16], faces[:, :, 16:32] = 0.5, 0.5
    faces[:, :10], faces[:, 38:] = 0.0, 1.0
    changed = augment(faces, [7, 1]).numpy()
    assert changed[:, 5].max() == 0.0
    assert changed[:, 43].min() == 1.0
    grey = changed[:, 24, 20, 0]
    assert 0.5**1.5 - 1e-5 <= grey.min() < 0.37
    assert 0.6 < grey.max() <= 0.5 ** (1 / 1.5) + 1e-5


def test_erasing_covers_one_rectangle_of_half_of_the_faces_with_their_mean(faces, only_moves):
    only_moves.setattr(augmentation, "ERASE_PROBABILITY", 0.5)
    changed = augment(faces, [7, 1]).numpy()[..., 0]
    erased = np.isclose(changed, faces.mean((1, 2, 3))[:, None, None], atol=1e-5)
    areas = []
    for mask in erased:
        rows, columns = np.flatnonzero(mask.sum(1) > 3), np.flatnonzero(mask.sum(0) > 3)
        if len(rows):
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert 5 <= len(rows) <= 18
            assert 5 <= len(columns) <= 18
            areas.append(len(rows) * len(columns))
    assert 70 < len(areas) < 130
    assert max(areas) > 200
