"""The same face keeps its number and is where it was drawn, also in the frames that are not searched."""

import cv2
import numpy as np
import pytest
from drawn_clip import frame, place

from fer_tasks.face_detection import FaceDetector, FoundFace
from fer_tasks.face_tracking import FaceTracker, overlap

RATE = 25


class Counting(FaceDetector):
    """The detector, and the numbers of the frames in which it was asked."""

    def __init__(self):
        super().__init__(longest_side=640)
        self.asked, self.frame = [], 0

    def find(self, picture):
        self.asked.append(self.frame)
        return super().find(picture)


def track(pictures, detect_every=10):
    """For each picture its faces by their numbers, and when was searched."""
    detector = Counting()
    tracker = FaceTracker(detect_every=detect_every, detector=detector)
    seen = []
    for detector.frame, picture in enumerate(pictures):
        seen.append({face.track: face.box for face in tracker.update(picture)})
    return seen, detector.asked


def box_at(left, top, width=10.0, height=10.0):
    return FoundFace(left, top, width, height, ((0, 0), (1, 0)), 1.0)


@pytest.fixture(scope="module")
def followed():
    return track([frame(number / RATE) for number in range(25)], detect_every=100)


def test_faces_keep_their_numbers_and_are_searched_as_often_as_asked(followed):
    seen, asked = followed
    assert [sorted(faces) for faces in seen] == [[1, 2, 3]] * 25
    assert asked == [0]
    assert track([frame(number / RATE) for number in range(9)], detect_every=4)[1] == [0, 4, 8]


def test_without_a_search_they_are_followed_as_they_move_grow_and_turn(followed):
    seen, _ = followed
    for number in range(3):
        first, last = (faces[number + 1] for faces in (seen[0], seen[24]))
        (x, y, side, degrees), (to_x, to_y, to_side, to_degrees) = (place(number, second) for second in (0, 24 / RATE))
        assert (last.x - first.x, last.y - first.y) == pytest.approx((to_x - x, to_y - y), abs=4)
        assert last.height / first.height == pytest.approx(to_side / side, abs=0.04)
        assert slope(first) - slope(last) == pytest.approx(to_degrees - degrees, abs=3)
    assert abs(place(0, 24 / RATE)[0] - place(0, 0)[0]) > 10


def slope(face):
    (ax, ay), (bx, by) = face.eyes
    return np.degrees(np.arctan2(by - ay, bx - ax))


def test_a_face_that_comes_gets_a_new_number_and_one_that_left_is_searched_at_once_and_forgotten():
    pictures = [frame(number / RATE, faces=(0, 1) if number < 4 else (1, 2)) for number in range(16)]
    seen, asked = track(pictures, detect_every=8)
    assert [sorted(faces) for faces in seen[:4]] == [[1, 2]] * 4
    assert asked[:2] == [0, 4]
    assert [sorted(faces) for faces in seen[4:]] == [[2, 3]] * 12
    assert seen[15][3].x == pytest.approx(place(2, 15 / RATE)[0], abs=0.15 * 170)


def test_a_face_hidden_for_a_moment_keeps_its_number():
    pictures = [frame(0), frame(0.04), frame(0.08, faces=(0, 1)), frame(0.12), frame(0.16)]
    seen, _ = track(pictures, detect_every=1)
    assert [sorted(faces) for faces in seen] == [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2, 3], [1, 2, 3]]


def test_an_empty_wall_and_a_change_of_size_are_nothing_special():
    small = cv2.resize(frame(0.08), (320, 180), interpolation=cv2.INTER_AREA)
    seen, _ = track([frame(0, faces=()), frame(0.04), small, np.zeros((4, 4, 3), np.uint8)], detect_every=1)
    assert [len(faces) for faces in seen[:2]] == [0, 3]


@pytest.mark.parametrize(
    ("other", "share"),
    [(box_at(0, 0), 1.0), (box_at(5, 0), 1 / 3), (box_at(5, 5), 1 / 7), (box_at(10, 0), 0.0), (box_at(40, 40), 0.0)],
)
def test_the_overlap_of_two_boxes(other, share):
    assert overlap(box_at(0, 0), other) == pytest.approx(share)
