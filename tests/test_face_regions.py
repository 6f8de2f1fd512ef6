"""The regions that LIME switches on and off, against places in the picture that a person would name."""

import numpy as np
import pytest

from fer_tasks.drawn_face import draw_face
from fer_tasks.face_regions import FACE_REGIONS, face_segments, filled, grid_segments, region_names, region_path
from fer_tasks.settings import RunSettings

FACE = draw_face(3, np.random.default_rng(1)).pixels / np.float32(255)


def test_grid_segments_cover_the_face_also_where_48_is_no_multiple() -> None:
    assert grid_segments(6)[8:16, 40:48].tolist() == [[11] * 8] * 8
    segments = grid_segments(5)
    assert segments.shape == (48, 48)
    assert np.unique(segments).tolist() == list(range(25))
    assert set(np.bincount(segments.ravel()).tolist()) <= {81, 90, 100}


def test_fills() -> None:
    face = np.zeros((48, 48), np.float32)
    face[:8, :4] = 1.0  # half of square 0
    segments = grid_segments(6)
    mean = filled(face, segments, "mean")
    assert mean[0, 0] == mean[7, 7] == 0.5
    assert mean[8:, :].max() == 0.0
    assert filled(face, segments, "zero").max() == 0.0
    blurred = filled(face, segments, "blur")
    assert blurred.dtype == np.float32
    assert 0.0 < blurred[0, 6] < blurred[0, 0] < 1.0


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        (2, 2, "background"),
        (47, 47, "background"),
        (8, 24, "forehead"),
        (15, 16, "left brow"),
        (15, 31, "right brow"),
        (20, 16, "left eye"),
        (20, 31, "right eye"),
        (20, 24, "nose"),
        (28, 20, "nose"),
        (28, 10, "left cheek"),
        (28, 38, "right cheek"),
        (35, 24, "mouth"),
        (44, 24, "chin"),
    ],
)
def test_the_parts_of_the_face_lie_where_registered_faces_have_them(row: int, column: int, name: str) -> None:
    segments = face_segments(FACE, RunSettings(lime_regions="face"))
    assert FACE_REGIONS[segments[row, column]] == name


def test_the_parts_of_the_face_are_a_mirror_image_of_themselves() -> None:
    segments = face_segments(FACE, RunSettings(lime_regions="face"))
    swap = {"left": "right", "right": "left"}
    mirrored = [" ".join(swap.get(word, word) for word in name.split()) for name in FACE_REGIONS]
    there = np.array(FACE_REGIONS)[segments]
    np.testing.assert_array_equal(np.array(mirrored)[segments[:, ::-1]], there)
    assert np.unique(segments).tolist() == list(range(11))


def test_drawn_faces_move_where_the_parts_are_called_so() -> None:
    """In any pose: a happy mouth, angry brows, hardly anything in the background."""
    names = np.array(FACE_REGIONS)[face_segments(FACE, RunSettings(lime_regions="face"))]
    happy, angry = (
        np.concatenate([names[draw_face(emotion, np.random.default_rng(seed)).mask] for seed in range(20)])
        for emotion in (3, 0)
    )
    assert (happy == "mouth").mean() > 2 * (names == "mouth").mean()
    brows = ["left brow", "right brow"]
    assert np.isin(angry, brows).mean() > 2 * np.isin(names, brows).mean()
    assert (happy == "background").mean() < 0.03


def test_slic_cuts_along_the_edges_of_the_picture() -> None:
    halves = np.zeros((48, 48), np.float32)
    halves[:, 20:] = 1.0
    segments = face_segments(halves, RunSettings(lime_regions="slic", lime_grid=4))
    assert np.unique(segments).tolist() == list(range(segments.max() + 1))
    assert 8 <= segments.max() + 1 <= 24
    assert not set(segments[:, :20].ravel()) & set(segments[:, 20:].ravel())


def test_regions_are_called_by_the_place_of_their_middle() -> None:
    segments = grid_segments(3)
    names = region_names(segments, RunSettings(lime_grid=3))
    assert names[:4] == ("row 8, column 8", "row 8, column 24", "row 8, column 40", "row 24, column 8")


def test_a_region_s_path_is_made_of_as_few_rectangles_as_its_rows_allow() -> None:
    segments = np.zeros((48, 48), np.int64)
    segments[2:4, 10:20] = 1
    segments[4, 10:14] = segments[4, 16:20] = 1
    assert region_path(grid_segments(6), 7) == "M8 8h8v8H8z"
    assert region_path(segments, 1) == "M10 2h10v2H10zM10 4h4v1H10zM16 4h4v1H16z"
    assert region_path(segments, 2) == ""
