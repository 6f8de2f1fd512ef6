"""The designs' balance, counted, and that it makes the weights of a made-up probability scatter less."""

import numpy as np
import pytest

from fer_tasks.lime_surrogate import fit
from fer_tasks.sampling_designs import draw_masks


@pytest.mark.parametrize("design", ["random", "antithetic", "hadamard"])
def test_every_design_begins_with_the_whole_face_and_follows_the_seed(design):
    masks = draw_masks(design, 101, 36, seed=4)
    assert masks.shape == (101, 36)
    assert masks.dtype == np.int64
    assert masks[0].tolist() == [1] * 36
    assert np.unique(masks).tolist() == [0, 1]
    assert 0.4 < masks[1:].mean() < 0.6
    np.testing.assert_array_equal(masks, draw_masks(design, 101, 36, seed=4))
    assert (masks != draw_masks(design, 101, 36, seed=5)).any()


@pytest.mark.parametrize("design", ["antithetic", "hadamard"])
def test_each_copy_is_followed_by_its_complement(design):
    masks = draw_masks(design, 101, 11, seed=0)
    np.testing.assert_array_equal(masks[1::2] + masks[2::2], np.ones((50, 11)))


def test_a_whole_hadamard_design_shows_each_two_regions_together_as_often_as_apart():
    masks = draw_masks("hadamard", 1 + 2 * 64, 36, seed=1)[1:]
    signs = 2 * masks - 1
    np.testing.assert_array_equal(signs.T @ signs, 128 * np.eye(36))
    assert masks.sum(axis=0).tolist() == [64] * 36


@pytest.mark.parametrize("num_regions", [9, 11, 31, 32, 63, 64, 144])
def test_any_number_of_regions_and_samples_is_served(num_regions):
    assert draw_masks("hadamard", 50, num_regions, seed=0).shape == (50, num_regions)
    assert draw_masks("hadamard", 1000, num_regions, seed=0).shape == (1000, num_regions)


def scatter(design, num_samples):
    """Of the weights over 20 seeds, for a probability made of single regions and of pairs of them."""
    random = np.random.default_rng(0)
    single, pairs = random.normal(size=36), np.triu(random.normal(size=(36, 36)), 1) / 8
    found = []
    for seed in range(20):
        masks = draw_masks(design, num_samples, 36, seed=seed)
        truth = masks @ single + np.einsum("ni,ij,nj->n", masks, pairs, masks)
        probabilities = np.repeat(1 / (1 + np.exp(-truth / 4))[:, None], 7, axis=1)
        found.append(fit(masks, probabilities, kernel_width=0.25).weights[0])
    return float(np.std(found, axis=0).mean())


def test_256_copies_by_design_scatter_less_than_256_random_ones():
    at_random = scatter("random", 256)
    assert scatter("antithetic", 256) < 0.9 * at_random
    assert scatter("hadamard", 256) < 0.8 * at_random
