"""The designs' balance, counted, and that it makes the weights of a made-up probability scatter less."""

import numpy as np
import pytest

from fer_tasks.face_regions import facial_segments, grid_segments, region_centres
from fer_tasks.lime_surrogate import fit
from fer_tasks.sampling_designs import draw_masks


def grid(side):
    return region_centres(grid_segments(side))


def facial():
    return region_centres(facial_segments())


@pytest.mark.parametrize("design", ["random", "antithetic", "hadamard"])
def test_every_design_begins_with_the_whole_face_and_follows_the_seed(design):
    masks = draw_masks(design, 101, grid(6), seed=4)
    assert masks.shape == (101, 36)
    assert masks.dtype == np.int64
    assert masks[0].tolist() == [1] * 36
    assert np.unique(masks).tolist() == [0, 1]
    assert 0.4 < masks[1:].mean() < 0.6
    np.testing.assert_array_equal(masks, draw_masks(design, 101, grid(6), seed=4))
    assert (masks != draw_masks(design, 101, grid(6), seed=5)).any()


def test_each_antithetic_copy_is_followed_by_its_complement():
    masks = draw_masks("antithetic", 101, facial(), seed=0)
    np.testing.assert_array_equal(masks[1::2] + masks[2::2], np.ones((50, 11)))


def test_a_whole_hadamard_design_shows_each_two_regions_together_as_often_as_apart():
    masks = draw_masks("hadamard", 1 + 128, grid(6), seed=1)[1:]
    signs = 2 * masks - 1
    np.testing.assert_array_equal(signs.T @ signs, 128 * np.eye(36))
    assert masks.sum(axis=0).tolist() == [64] * 36


@pytest.mark.parametrize("side", [2, 3, 6, 8, 12])
@pytest.mark.parametrize("num_samples", [50, 400, 1000])
def test_any_number_of_regions_and_samples_is_served(side, num_samples):
    assert draw_masks("hadamard", num_samples, grid(side), seed=0).shape == (num_samples, side**2)


def test_a_single_region_and_two_are_served():
    assert draw_masks("hadamard", 9, np.array([[24.0, 24.0]]), seed=0).shape == (9, 1)
    assert draw_masks("hadamard", 9, np.array([[24.0, 12.0], [24.0, 36.0]]), seed=0).shape == (9, 2)


def test_what_two_or_three_neighbours_do_together_is_kept_out_of_the_other_weights():
    """Of 110 touching pairs and 100 triangles in a 6x6 grid, each weight would take over some by chance."""
    signs = 2 * draw_masks("hadamard", 257, grid(6), seed=3)[1:] - 1
    corners = [(row, column) for row in range(5) for column in range(5)]
    overlaps = 0
    for row, column in corners:
        square = [6 * row + column, 6 * row + column + 1, 6 * row + column + 6, 6 * row + column + 7]
        for left_out in range(4):
            together = np.prod(np.delete(signs[:, square], left_out, axis=1), axis=1)
            overlaps += np.count_nonzero(together @ signs)
            overlaps += sum(
                np.count_nonzero(signs[:, square[left_out]] * signs[:, other] @ signs) for other in square[:left_out]
            )
    assert overlaps == 0


def scatter(design, num_samples, *, of_triples):
    """Of the weights over 20 seeds, for a probability of single squares, pairs of them and three that touch."""
    random = np.random.default_rng(0)
    single, pairs = random.normal(size=36), np.triu(random.normal(size=(36, 36)), 1) / 8
    triples = [
        [6 * row + column, 6 * row + column + 1, 6 * row + column + 6] for row in range(5) for column in range(5)
    ]
    found = []
    for seed in range(20):
        masks = draw_masks(design, num_samples, grid(6), seed=seed)
        truth = masks @ single + np.einsum("ni,ij,nj->n", masks, pairs, masks)
        truth += of_triples * np.prod(2 * masks[:, triples] - 1, axis=2).sum(axis=1)
        probabilities = np.repeat(1 / (1 + np.exp(-truth / 8))[:, None], 7, axis=1)
        found.append(fit(masks, probabilities, kernel_width=0.25).weights[0])
    return float(np.std(found, axis=0).mean())


def test_256_copies_by_design_scatter_less_than_256_random_ones():
    at_random = scatter("random", 256, of_triples=0)
    assert scatter("antithetic", 256, of_triples=0) < 0.9 * at_random
    assert scatter("hadamard", 256, of_triples=0) < 0.5 * at_random


def test_where_neighbours_act_together_256_copies_by_design_scatter_less_than_1000_random_ones():
    assert scatter("hadamard", 256, of_triples=4) < 0.9 * scatter("random", 1000, of_triples=4)
