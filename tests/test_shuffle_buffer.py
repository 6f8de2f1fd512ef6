import numpy as np
import pytest

from fer_tasks.shuffle_buffer import ShuffleBuffer


def numbered(*numbers):
    """Faces whose grey level tells their number."""
    return np.array(numbers), np.array(numbers, np.uint8)[:, None, None, None] * np.ones((1, 48, 48, 1), np.uint8)


def test_every_face_is_drawn_once_with_its_own_pixels():
    buffer = ShuffleBuffer(8, np.random.default_rng(3))
    buffer.add(*numbered(0, 1, 2, 3, 4, 5))
    first, pixels = buffer.draw(4)
    assert buffer.size == 2
    assert (pixels == first[:, None, None, None]).all()
    buffer.add(*numbered(6, 7, 8, 9, 10, 11))
    rest, pixels = buffer.draw(8)
    assert (pixels == rest[:, None, None, None]).all()
    assert sorted([*first.tolist(), *rest.tolist()]) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert buffer.size == 0


def test_every_face_is_as_likely_as_any_other():
    counts = np.zeros(6, int)
    for seed in range(3000):
        buffer = ShuffleBuffer(6, np.random.default_rng(seed))
        buffer.add(*numbered(0, 1, 2, 3, 4, 5))
        buffer.draw(3)
        counts[buffer.draw(1)[0]] += 1
    assert counts == pytest.approx([500] * 6, abs=100)


def test_what_does_not_fit_is_refused():
    buffer = ShuffleBuffer(3, np.random.default_rng(0))
    buffer.add(*numbered(0, 1))
    with pytest.raises(ValueError, match="4 faces do not fit into a buffer of 3"):
        buffer.add(*numbered(2, 3))
