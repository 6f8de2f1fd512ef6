"""What is done to the pixels, against plain numpy and known pictures."""

import numpy as np
import pytest
from raw_faces import noise

from fer_tasks.face_filters import change_face, filter_face, normalise, prepare_face, resize
from fer_tasks.settings import RunSettings

GRADIENT = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))


def test_a_face_of_48_pixels_goes_through_unchanged():
    face = noise(1)
    prepared = prepare_face(face, RunSettings())
    assert (prepared.shape, prepared.dtype) == ((48, 48), np.float32)
    np.testing.assert_array_equal(prepared, face.astype(np.float32) / 255)


def test_normalise_maps_256_levels_onto_0_to_1():
    levels = normalise(np.arange(256, dtype=np.uint8).reshape(2, 128))
    assert levels.shape == (2, 128)
    assert (levels.min(), levels.max(), len(np.unique(levels))) == (0.0, 1.0, 256)


def test_a_large_image_is_averaged_down():
    large = noise(2, 96, 144)
    averages = large.reshape(48, 2, 48, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(large), averages, atol=0.51)


def test_a_small_image_is_interpolated_up_without_new_extremes_in_a_ramp():
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (24, 1))
    enlarged = resize(ramp)
    assert enlarged.shape == (48, 48)
    assert (np.diff(enlarged[20].astype(int)) >= 0).all()
    assert np.ptp(enlarged, axis=0).max() == 0  # the rows stay alike


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (47, 49), (500, 375)])
def test_every_shape_becomes_48_by_48(shape):
    resized = resize(np.full(shape, 77, np.uint8))
    assert (resized.shape, resized.dtype) == ((48, 48), np.uint8)
    assert set(np.unique(resized)) == {77}


@pytest.mark.parametrize("denoise", ["median", "gaussian", "nlmeans"])
def test_noise_reduction_takes_noise_away(denoise):
    noisy = (GRADIENT.astype(int) + np.random.default_rng(3).normal(0, 6, (48, 48)).round()).clip(0, 255)
    noisy = noisy.astype(np.uint8)
    filtered = filter_face(noisy, RunSettings(denoise=denoise))
    before, after = (np.abs(face.astype(int) - GRADIENT)[2:-2, 2:-2].mean() for face in (noisy, filtered))
    assert after < 0.9 * before


def test_median_removes_single_wrong_pixels():
    spotted = GRADIENT.copy()
    spotted[10, 10] = spotted[30, 20] = 255
    filtered = filter_face(spotted, RunSettings(denoise="median"))
    np.testing.assert_array_equal(filtered[1:-1, 1:-1], GRADIENT[1:-1, 1:-1])


@pytest.mark.parametrize("contrast", ["equalize", "clahe"])
def test_contrast_widens_the_range_of_grey_levels(contrast):
    dull = (100 + GRADIENT / 10).astype(np.uint8)
    assert np.ptp(filter_face(dull, RunSettings(contrast=contrast))) > 2 * np.ptp(dull)


def test_a_copy_depends_on_seed_image_and_number_alone():
    face = noise(4)
    first, words = change_face(face, seed=7, image_id="a", copy_number=1)
    again, same_words = change_face(face, seed=7, image_id="a", copy_number=1)
    np.testing.assert_array_equal(first, again)
    assert words == same_words
    others = [(8, "a", 1), (7, "b", 1), (7, "a", 2)]
    for seed, image_id, number in others:
        assert change_face(face, seed=seed, image_id=image_id, copy_number=number)[1] != words


def test_copies_move_little_and_say_what_was_done():
    spot = np.full((48, 48), 100, np.uint8)
    spot[22:26, 22:26] = 200
    descriptions = []
    for number in range(1, 41):
        copy, words = change_face(spot, seed=1, image_id="x", copy_number=number)
        assert (copy.shape, copy.dtype) == ((48, 48), np.uint8)
        bright = np.argwhere(copy > (int(copy.min()) + int(copy.max())) / 2)
        shift = bright.mean(axis=0) - 23.5
        right, down = (int(part) for part in words.split("shift ")[1].split(",")[0].split())
        np.testing.assert_allclose(shift, [down, right], atol=0.75)
        descriptions.append(words)
    assert len(set(descriptions)) == 40
    assert 10 < sum(words.startswith("flip") for words in descriptions) < 30


def test_a_flipped_copy_is_a_mirror_image():
    half = np.full((48, 48), 60, np.uint8)
    half[:, :24] = 180
    for number in range(1, 11):
        copy, words = change_face(half, seed=2, image_id="x", copy_number=number)
        left_is_brighter = copy[:, :16].mean() > copy[:, 32:].mean()
        assert left_is_brighter != words.startswith("flip")
