"""Rows that are too near to each other: neighbours, dimensions, and how often there are some by chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from diagnose.stats.near_pairs import dimension_of, near_pairs, nearest_rows


@pytest.mark.parametrize("size", [20, 700])
def test_neighbours_are_those_of_scikit_learn(size: int) -> None:
    rows = np.random.default_rng(0).normal(size=(size, 6)).astype(np.float32)
    found = nearest_rows(rows, 8)
    distances, others = NearestNeighbors(n_neighbors=9).fit(rows).kneighbors(rows)
    assert np.allclose(found.distances, distances[:, 1:], atol=1e-4)
    assert (found.rows == others[:, 1:]).mean() > 0.999
    part = nearest_rows(rows, 8, queries=np.array([3, 11]))
    assert np.array_equal(part.rows, found.rows[[3, 11]])


def test_near_copies_keep_their_distance_beside_large_numbers() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32) + 1000
    rows[1] = rows[0] + np.float32(1e-3)
    found = nearest_rows(rows, 3)
    assert found.rows[0, 0] == 1
    assert found.distances[0, 0] == pytest.approx(np.linalg.norm(rows[1] - rows[0]), rel=1e-3)


@pytest.mark.parametrize("dimension", [2, 5, 10])
def test_the_dimension_is_found_or_taken_too_small(dimension: int) -> None:
    numbers = np.random.default_rng(1)
    flat = numbers.normal(size=(3000, dimension)) @ numbers.normal(size=(dimension, 20))
    nearest = nearest_rows(flat.astype(np.float32), 6)
    found = dimension_of(np.log(nearest.distances[:, 1] / nearest.distances[:, 0]))
    assert 0.6 * dimension < found < 1.15 * dimension


CLEAN = {
    "normal": lambda numbers: numbers.normal(size=(400, 5)),
    "uniform": lambda numbers: numbers.random((400, 2)),
    "heavy": lambda numbers: np.clip(numbers.standard_t(2, size=(400, 4)), -10, 10),
    "groups": lambda numbers: numbers.normal(size=(400, 4)) + 20 * numbers.integers(0, 8, (400, 1)),
    "curve": lambda numbers: np.stack([np.cos(t := 6 * numbers.random(400)), np.sin(t), t], axis=1),
    "uneven": lambda numbers: numbers.normal(size=(400, 3)) * np.exp(2 * numbers.normal(size=(400, 1))),
}


@pytest.mark.parametrize("data", CLEAN)
def test_data_without_copies_have_none(data: str) -> None:
    numbers = np.random.default_rng(2)
    alarms = 0
    for _ in range(40):
        found = near_pairs(nearest_rows(CLEAN[data](numbers).astype(np.float32), 8), chance=0.01)
        alarms += found is not None and len(found.pairs) > 0
    # 40 sets at 1 %: more than 3 of them are beyond chance (p = .001).
    assert alarms <= 3


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_copies_of_a_row_are_found_together(copies: int) -> None:
    numbers = np.random.default_rng(3)
    rows = numbers.normal(size=(500, 6))
    rows[1 : copies + 1] = rows[0] + 0.001 * numbers.normal(size=(copies, 6))
    found = near_pairs(nearest_rows(rows.astype(np.float32), 8))
    assert found is not None
    assert set(found.pairs.ravel().tolist()) == set(range(copies + 1))
    assert (np.diff(found.ratios) <= 0).all()


def test_where_nothing_can_be_told() -> None:
    grid = np.random.default_rng(0).integers(0, 4, (400, 3)).astype(np.float32)
    assert near_pairs(nearest_rows(np.unique(grid, axis=0), 8)) is None
    assert near_pairs(nearest_rows(np.random.default_rng(0).random((30, 3)).astype(np.float32), 8)) is None
