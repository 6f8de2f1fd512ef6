"""Intervals against textbook values and against chance itself, drawn many times."""

import numpy as np
import pytest

from fer_tasks.intervals import macro_f1_interval, wilson_interval


def test_wilson_interval_of_a_textbook_case():
    # 60 of 100: centre (0.6 + 1.96^2/200) / (1 + 1.96^2/100), Wilson 1927
    low, high = wilson_interval(60, 100)
    assert (low, high) == (pytest.approx(0.50200, abs=1e-4), pytest.approx(0.69060, abs=1e-4))
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0


def test_the_interval_of_the_macro_f1_is_as_wide_as_chance_makes_it():
    confusion = np.array([[40, 10, 0], [20, 30, 5], [1, 4, 90]])
    draws = np.random.default_rng(0).multinomial(200, confusion.ravel() / 200, size=50_000).reshape(-1, 3, 3)
    hits = np.diagonal(draws, axis1=1, axis2=2)
    deviation = (2 * hits / (draws.sum(axis=1) + draws.sum(axis=2))).mean(axis=1).std()
    low, high = macro_f1_interval(confusion.tolist())
    # F1: 2*40/(50+61), 2*30/(55+44), 2*90/(95+95)
    assert (low + high) / 2 == pytest.approx((80 / 111 + 60 / 99 + 180 / 190) / 3)
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.03)


def test_a_class_without_images_does_not_count_and_the_interval_stays_within_0_and_1():
    assert macro_f1_interval([[5, 0, 0], [0, 5, 0], [0, 0, 0]]) == (1.0, 1.0)
    low, high = macro_f1_interval([[0, 1], [1, 0]])
    assert (low, high) == (0.0, 0.0)
    low, high = macro_f1_interval([[2, 0], [1, 1]])
    assert 0.0 <= low < high == 1.0
