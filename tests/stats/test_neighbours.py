"""Nearest neighbours and whether labels agree with them, against slow and obvious twins."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diagnose.stats.neighbours import agreement, nearest


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 4)), elements=st.integers(-9, 9)))
def test_nearest_is_what_a_search_finds(features: np.ndarray) -> None:
    spread = features.std(axis=0)
    scaled = ((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    found = nearest(features)
    for row, neighbour in enumerate(found):
        distances = np.sqrt(((scaled - scaled[row]) ** 2).sum(axis=1))
        others = distances[distances > 1e-4]
        if neighbour < 0:
            assert len(others) == 0
        else:
            assert math.isclose(distances[neighbour], others.min(), rel_tol=1e-6)


def test_rows_that_are_not_finite_have_none_and_are_none() -> None:
    features = np.array([[0.0], [1.0], [np.nan], [1.1], [np.inf]])
    assert nearest(features).tolist() == [1, 3, -1, 1, -1]


def test_equal_rows_are_one_example() -> None:
    assert nearest(np.ones((5, 3))).tolist() == [-1] * 5
    assert nearest(np.array([[0.0], [0.0], [5.0]])).tolist() == [2, 2, 0]


def test_agreement_by_hand() -> None:
    found = agreement(np.array([0, 0, 1, 1]), np.array([1, 0, 0, -1]))
    assert found.rows == 3
    assert found.share == 2 / 3
    assert found.by_chance == 0.5
    assert math.isclose(found.sigmas, (2 / 3 - 0.5) / math.sqrt(0.25 / 3))


def test_nothing_to_compare() -> None:
    assert agreement(np.array([0, 1]), np.array([-1, -1])).rows == 0
    assert agreement(np.zeros(4, dtype=np.int64), np.array([1, 0, 3, 2])).sigmas == 0


def test_permuted_labels_stay_within_chance() -> None:
    rng = np.random.default_rng(0)
    neighbours = nearest(rng.normal(size=(400, 8)))
    sigmas = [agreement(rng.integers(0, 5, 400), neighbours).sigmas for _ in range(200)]
    # The variance of agreements of neighbours is that of a binomial or a little more: mutual ones count twice.
    assert abs(float(np.mean(sigmas))) < 0.3
    assert float(np.std(sigmas)) < 1.6
