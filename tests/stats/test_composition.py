"""How batches are composed of classes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.stats import composition

BATCHES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=2, max_size=6)


def counts_of(batches: list[list[int]]) -> np.ndarray:
    return np.array([np.bincount(batch, minlength=4) for batch in batches], dtype=float)


@given(BATCHES)
def test_the_slow_twin_counts_pairs(batches: list[list[int]]) -> None:
    members = [(number, label) for number, batch in enumerate(batches) for label in batch]
    pairs = list(itertools.combinations(members, 2))
    within = [a[1] == b[1] for a, b in pairs if a[0] == b[0]]
    between = [a[1] == b[1] for a, b in pairs if a[0] != b[0]]
    counts = counts_of(batches)
    assert composition.agreement_within(counts) == pytest.approx(np.mean(within) if within else math.nan, nan_ok=True)
    assert composition.agreement_between(counts) == pytest.approx(np.mean(between))


def test_segregation_is_zero_on_average_for_random_batches() -> None:
    rng = np.random.default_rng(0)
    found = [composition.segregation(rng.multinomial(16, [0.7, 0.2, 0.1], size=12).astype(float)) for _ in range(400)]
    assert abs(np.mean(found)) < 0.01


def test_segregation_at_its_ends() -> None:
    assert composition.segregation(np.array([[8.0, 0.0], [0.0, 8.0]])) == 1
    assert composition.segregation(np.array([[4.0, 4.0], [4.0, 4.0]])) < 0
    assert math.isnan(composition.segregation(np.array([[8.0], [8.0]])))


def test_two_classes_in_equal_numbers_stay_below_a_half() -> None:
    counts = np.zeros((50, 100))
    for row in range(50):
        counts[row, [2 * row, 2 * row + 1]] = 16
    assert 0.4 < composition.segregation(counts) < 0.5


def test_chance_is_uniform_for_random_batches() -> None:
    rng = np.random.default_rng(0)
    found = [
        composition.chance_of_composition(rng.multinomial(32, [0.5, 0.3, 0.2], size=10).astype(float))
        for _ in range(500)
    ]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.04)
    assert np.median(found) == pytest.approx(0.5, abs=0.07)


def test_chance_of_nothing_to_test() -> None:
    assert composition.chance_of_composition(np.array([[5.0], [5.0]])) == 1
    assert composition.chance_of_composition(np.zeros((0, 3))) == 1
    assert composition.chance_of_composition(np.eye(4) * 30) < 1e-20


def test_overlap() -> None:
    counts = np.array([[2.0, 2.0], [4.0, 0.0], [0.0, 1.0]])
    assert composition.overlap(counts[:-1], counts[1:]) == pytest.approx((0.5 + 0.0) / 2)
    assert math.isnan(composition.overlap(counts[:0], counts[:0]))
