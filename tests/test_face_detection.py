"""Faces are found where they were drawn, and cut out upright. No photograph: the scenes are drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_scene import FACES, scene

from fer_tasks.face_detection import FaceDetector, FoundFace, crop_face


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def turned(picture, degrees):
    """About the middle of the first face; positive turns anticlockwise."""
    _, _, left, top, side = FACES[0]
    motion = cv2.getRotationMatrix2D((left + side / 2, top + side / 2), degrees, 1)
    return cv2.warpAffine(picture, motion, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def small(crop):
    return cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)


def likeness(crop, part):
    """Correlation with the part wherever it fits best: boxes differ by some pixels."""
    return cv2.matchTemplate(crop, part, cv2.TM_CCOEFF_NORMED).max()


@pytest.mark.parametrize("enlarged", [1, 5])
def test_every_drawn_face_is_found_once_in_its_place_from_left_to_right(detector, enlarged):
    height, width = 320 * enlarged, 640 * enlarged  # 3200 pixels are searched reduced to 1280
    found = detector.find(cv2.resize(scene(), (width, height), interpolation=cv2.INTER_CUBIC))
    assert len(found) == 3
    for face, (_, _, left, top, side) in zip(found, FACES, strict=True):
        assert left * enlarged <= face.left + face.width / 2 <= (left + side) * enlarged
        assert abs(face.left + face.width / 2 - (left + side / 2) * enlarged) < 0.15 * side * enlarged
        assert abs(face.top + face.height / 2 - (top + side / 2) * enlarged) < 0.15 * side * enlarged
        assert 0.5 * side * enlarged < face.height < 1.1 * side * enlarged
        (one_x, one_y), (other_x, other_y) = face.eyes
        assert face.left < one_x < face.left + face.width / 2 < other_x < face.left + face.width
        assert face.top < min(one_y, other_y) <= max(one_y, other_y) < face.top + face.height / 2
        assert 0.4 < face.score <= 1


def test_pictures_of_changing_shapes_in_colour_and_in_grey_are_searched_by_one_detector(detector):
    grey = cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)
    assert [len(detector.find(picture)) for picture in (scene(), grey[:, :330], grey, scene()[20:], grey)] == [
        3, 2, 3, 3, 3,
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(300, 400), (300, 400, 3), (1, 3000), (3000, 1), (8, 8), (1, 1)])
def test_a_wall_has_no_faces(detector, shape):
    assert detector.find(np.full(shape, 120, np.uint8)) == []


@pytest.mark.parametrize("degrees", [-30, -20, 15, 20])
def test_a_turned_face_is_cut_out_upright(detector, degrees):
    grey = cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)
    tilted = turned(grey, degrees)
    one, other = detector.find(grey)[0], detector.find(tilted)[0]
    (ax, ay), (bx, by) = other.eyes
    assert np.degrees(np.arctan2(ay - by, bx - ax)) == pytest.approx(degrees, abs=5)
    middle = small(crop_face(grey, one))[9:39, 9:39]
    assert likeness(small(crop_face(tilted, other)), middle) > 0.75
    level_eyes = replace(other, eyes=((0, 0), (1, 0)))
    assert likeness(small(crop_face(tilted, level_eyes)), middle) < 0.65


def test_the_eyes_come_to_lie_level_and_the_margin_is_that_of_fer_2013():
    picture = np.zeros((200, 200), np.uint8)
    eyes = ((80.0, 110.0), (120.0, 80.0))
    for x, y in eyes:
        cv2.circle(picture, (int(x), int(y)), 4, 255, cv2.FILLED)
    crop = crop_face(picture, FoundFace(50, 50, 100, 100, eyes, 1.0))
    assert crop.shape == (102, 102)
    assert crop.dtype == np.uint8
    _, _, _, middles = cv2.connectedComponentsWithStats((crop > 128).astype(np.uint8))
    (ax, ay), (bx, by) = sorted(middles[1:].tolist())
    assert ay == pytest.approx(by, abs=0.7)
    assert bx - ax == pytest.approx(50, abs=1)
    # By hand: turned about (100, 98), the middle of what is cut out, the eyes' middle (100, 95) comes 3 pixels from it.
    assert np.hypot((ax + bx) / 2 - 51, (ay + by) / 2 - 51) == pytest.approx(3, abs=1)


@pytest.mark.parametrize(("height", "side"), [(12, 48), (100, 102), (3000, 384)])
def test_a_crop_has_between_48_and_384_pixels_and_repeats_the_edge_beyond_the_picture(height, side):
    face = FoundFace(-height / 2, -height / 2, height, height, ((0, 0), (1, 0)), 1.0)
    crop = crop_face(np.full((40, 40), 77, np.uint8), face)
    assert crop.shape == (side, side)
    assert (crop == 77).all()
