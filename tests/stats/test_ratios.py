"""Ratios over many parameters and steps, against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diagnose.stats import ratios

POSITIVE = st.floats(1e-9, 1e9)


# -- bulk -------------------------------------------------------------------------------------------


def slow_bulk(row: np.ndarray, sizes: np.ndarray) -> float:
    """The largest value that parameters with half of all elements have or exceed."""
    reached = [value for value in row if not math.isnan(value) and sizes[row >= value].sum() >= sizes.sum() / 2]
    return max(reached, default=math.nan)


@given(st.data(), st.integers(1, 8))
def test_bulk_against_its_slow_twin(data: st.DataObject, count: int) -> None:
    elements = st.one_of(st.just(math.nan), st.integers(0, 5).map(float))
    table = data.draw(hnp.arrays(np.float64, (4, count), elements=elements))
    sizes = data.draw(hnp.arrays(np.float64, count, elements=st.integers(1, 100).map(float)))
    expected = [slow_bulk(row, sizes) for row in table]
    np.testing.assert_array_equal(ratios.bulk(table, sizes), expected)


def test_many_small_biases_do_not_outvote_the_matrix() -> None:
    table = np.array([[0.5] * 9 + [0.001]])
    assert ratios.bulk(table, np.array([1.0] * 9 + [100.0])).tolist() == [0.001]


def test_bulk_of_nothing() -> None:
    assert np.isnan(ratios.bulk(np.zeros((3, 0)), np.zeros(0))).all()
    assert ratios.bulk(np.zeros((0, 2)), np.ones(2)).shape == (0,)


# -- path_length ------------------------------------------------------------------------------------


def test_a_constant_ratio_adds_up() -> None:
    assert ratios.path_length(np.array([1, 10, 50]), np.full(3, 0.01), 1, 100) == pytest.approx(1.0)


def test_between_samples_it_is_interpolated() -> None:
    # 1, 2, 3, 4 at the steps 1 to 4, then 4 for ever.
    assert ratios.path_length(np.array([1, 4]), np.array([1.0, 4.0]), 1, 6) == pytest.approx(18)


def test_path_of_nothing() -> None:
    assert math.isnan(ratios.path_length(np.zeros(0, dtype=np.int64), np.zeros(0), 1, 10))
    assert ratios.path_length(np.array([3]), np.array([2.0]), 5, 4) == 0


# -- elasticity -------------------------------------------------------------------------------------


@given(POSITIVE, POSITIVE, POSITIVE, st.sampled_from([2.0, 0.25, 1024.0]))
def test_elasticity_is_the_same_for_a_summed_loss(gradient: float, size: float, loss: float, batch: float) -> None:
    mean = ratios.elasticity(np.array([gradient]), np.array([size]), loss)
    summed = ratios.elasticity(np.array([batch * gradient]), np.array([size]), -batch * loss)
    np.testing.assert_allclose(mean, summed)


def test_elasticity_of_a_quadratic_is_two() -> None:
    weight = np.array([3.0])
    assert ratios.elasticity(2 * weight, weight, 9.0).tolist() == [2.0]


def test_elasticity_of_a_loss_of_zero_is_infinite() -> None:
    assert np.isinf(ratios.elasticity(np.ones(2), np.ones(2), 0.0)).all()


# -- decades_lost -----------------------------------------------------------------------------------


@given(st.integers(3, 200), st.floats(-1, 1), POSITIVE)
def test_a_geometric_decline(layers: int, per_layer: float, last: float) -> None:
    values = last * 10.0 ** (-per_layer * np.arange(layers)[::-1])
    assert ratios.decades_lost(values) == pytest.approx(per_layer * (layers - 1), abs=1e-6)


def test_one_odd_layer_does_not_matter() -> None:
    values = 10.0 ** np.arange(-8.0, 0)
    values[4] = 1e6
    assert ratios.decades_lost(values) == pytest.approx(7, abs=0.5)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [0.0, 0.0, 1.0, 2.0], [math.nan, math.inf, 1.0, 1.0]])
def test_fewer_than_three_layers_lose_nothing_that_is_known(values: list[float]) -> None:
    assert math.isnan(ratios.decades_lost(np.array(values)))
