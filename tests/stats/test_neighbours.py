"""Nearest neighbours and whether labels agree with them, against slow and obvious twins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diagnose.stats.neighbours import agreement, fitted_agreement, nearest, nearness, right_when_renamed


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


@pytest.mark.parametrize("columns", [4, 8, 64])
def test_neighbours_in_noise_are_as_near_as_with_independent_columns(columns: int) -> None:
    noise = np.random.default_rng(1).normal(size=(500, columns))
    assert 0.9 < nearness(noise) < 1.1
    assert 0.9 < nearness(noise.round()) < 1.1
    assert 0.9 < nearness(np.exp(noise)) < 1.1


def test_groups_and_few_dimensions_are_near() -> None:
    rng = np.random.default_rng(1)
    assert nearness(rng.normal(size=(4, 20))[rng.integers(0, 4, 500)] + 0.7 * rng.normal(size=(500, 20))) < 0.85
    assert nearness(rng.normal(size=(500, 3)) @ rng.normal(size=(3, 20))) < 0.6
    assert nearness(np.cumsum(rng.normal(size=(500, 20)), axis=1)) < 0.6


def test_nearness_without_rows_or_differences() -> None:
    assert math.isnan(nearness(np.ones((5, 3))))
    assert math.isnan(nearness(np.full((5, 3), np.nan)))
    assert math.isnan(nearness(np.zeros((0, 3))))


def test_a_fit_finds_lines_and_distances_but_nothing_in_permuted_labels() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(500, 30))
    assert fitted_agreement(rows, (rows[:, 0] > 0).astype(np.int64)).sigmas > 8
    assert fitted_agreement(rows, ((rows**2).sum(axis=1) > 30).astype(np.int64)).sigmas > 8
    sigmas = [fitted_agreement(rows[:, :8], rng.integers(0, 4, 500)).sigmas for _ in range(60)]
    assert abs(float(np.mean(sigmas))) < 0.5
    assert float(np.std(sigmas)) < 1.6


def test_a_fit_takes_equal_rows_for_one() -> None:
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)
    found = fitted_agreement(np.tile(rows, (8, 1)), np.tile(labels, 8))
    assert found.rows == 50
    assert abs(found.sigmas) < 4
    assert fitted_agreement(rows[:9], labels[:9]).rows == 0
    assert fitted_agreement(rows, np.zeros(50, dtype=np.int64)).sigmas == 0


@pytest.mark.parametrize("classes", [5, 6])
def test_right_when_renamed_is_the_share_of_all_ways(classes: int) -> None:
    generator = np.random.default_rng(classes)
    answers, labels = generator.integers(0, classes, (2, 60))
    right = (answers == labels).sum()
    ways = [np.array(way) for way in itertools.permutations(range(classes))]
    share = np.mean([(way[answers] == labels).sum() >= right for way in ways])
    assert abs(right_when_renamed(answers, labels) - share) < 4 * math.sqrt(0.25 / 1000)


def test_right_when_renamed_of_one_known_class_and_of_several() -> None:
    labels = np.repeat(np.arange(10), 50)
    one = np.where(labels == 3, 3, 7)
    assert 0.05 < right_when_renamed(one, labels) < 0.3
    little = np.where(np.arange(500) % 5 == 0, labels, np.random.default_rng(0).integers(0, 10, 500))
    assert right_when_renamed(little, labels) <= 0.01
    shifted = (labels + 1) % 10
    assert right_when_renamed(shifted, labels) == 1.0


@pytest.mark.parametrize("classes", [2, 4, 101])
def test_right_when_renamed_cannot_tell(classes: int) -> None:
    labels = np.arange(classes).repeat(3)
    assert math.isnan(right_when_renamed(labels, labels))


def test_right_when_renamed_leaves_the_random_state_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    right_when_renamed(np.arange(10), np.arange(10))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
