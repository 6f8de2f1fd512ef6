"""McNemar's test against binomial sums worked out by hand, the bootstrap against one that resamples image by image."""

import numpy as np
import pytest

from fer_tasks.errors import DatasetError
from fer_tasks.paired_test import compare_paired


def compared(*, gained, lost, both=0, neither=0, seed=7):
    """A comparison in which so many images are right for the challenger only, the champion only, both or none."""
    answers = [(1, 0)] * gained + [(0, 1)] * lost + [(1, 1)] * both + [(0, 0)] * neither
    challenger, champion = (np.array(column) for column in zip(*answers, strict=True))
    return compare_paired(np.ones(len(answers), np.int32), challenger, champion, seed=seed)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (0, 4, 2 / 16),
        (0, 6, 2 / 64),
        (1, 6, 2 * (1 + 7) / 128),
        (5, 5, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_sum_of_both_tails(gained, lost, p):
    assert compared(gained=gained, lost=lost, both=20).mcnemar_p == pytest.approx(p)


def test_counts_and_shares():
    test = compared(gained=3, lost=1, both=10, neither=6)
    assert (test.num_images, test.only_challenger_right, test.only_champion_right) == (20, 3, 1)
    assert (test.challenger_accuracy, test.champion_accuracy) == (13 / 20, 11 / 20)
    assert test.difference == pytest.approx(0.1)


def test_a_wrong_answer_is_wrong_whichever_it_is():
    labels = np.array([0, 1, 2, 3], np.int32)
    test = compare_paired(labels, np.array([0, 1, 6, 6]), np.array([5, 1, 4, 4]), seed=0)
    assert (test.only_challenger_right, test.only_champion_right) == (1, 0)


def test_the_interval_is_that_of_a_bootstrap_over_images():
    test = compared(gained=60, lost=30, both=600, neither=310)
    gains = np.array([1] * 60 + [-1] * 30 + [0] * 910)
    random = np.random.default_rng(1)
    means = [random.choice(gains, 1000).mean() for _ in range(4000)]
    low, high = np.quantile(means, (0.025, 0.975))
    assert test.difference_low == pytest.approx(low, abs=0.0015)
    assert test.difference_high == pytest.approx(high, abs=0.0015)
    assert test.difference == pytest.approx(0.03)


def test_the_seed_decides_the_interval():
    draws = [compared(gained=300, lost=211, both=489, seed=seed).difference_low for seed in (7, 7, 8, 9, 10)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1


def test_equal_answers_have_no_difference():
    test = compared(gained=0, lost=0, both=9)
    assert (test.difference, test.difference_low, test.difference_high, test.mcnemar_p) == (0.0, 0.0, 0.0, 1.0)


def test_without_images_there_is_nothing_to_compare():
    nothing = np.empty(0, np.int32)
    with pytest.raises(DatasetError, match="no test images"):
        compare_paired(nothing, nothing, nothing, seed=0)
