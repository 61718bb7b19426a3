"""The fast histogram against its slow twin, `numpy.histogram`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diagnose.stats.histogram import Histogram, histogram

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
ANY_FLOAT = st.floats(width=64)
ARRAYS = hnp.arrays(np.float64, st.integers(0, 200), elements=FINITE)


def assert_close_to_numpy(values: np.ndarray, result: Histogram) -> None:
    """Each cumulative count may differ only by the values that lie within rounding of that edge."""
    scale = float(np.abs(values).max())
    tolerance = 8 * np.spacing(scale) + 4 * np.spacing(np.abs(result.edges))
    cumulative = np.concatenate([[0], np.cumsum(result.counts)])
    surely_below = (values[:, None] < (result.edges - tolerance)[None, :]).sum(axis=0)
    maybe_below = (values[:, None] <= (result.edges + tolerance)[None, :]).sum(axis=0)
    assert (surely_below[1:-1] <= cumulative[1:-1]).all()
    assert (cumulative[1:-1] <= maybe_below[1:-1]).all()
    assert cumulative[-1] == len(values)


@given(values=ARRAYS.filter(len), bins=st.integers(1, 100))
def test_counts_are_those_of_the_edges_within_rounding(values: np.ndarray, bins: int) -> None:
    result = histogram(values, bins)
    with np.errstate(over="ignore", invalid="ignore"):
        assert_close_to_numpy(values, result)
    assert len(result.counts) == bins
    assert len(result.edges) == bins + 1
    assert (result.edges[1:] > result.edges[:-1]).all()
    assert result.edges[0] <= result.minimum <= result.maximum <= result.edges[-1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("bins", [1, 10, 64])
def test_ordinary_values_agree_with_numpy(dtype: type, bins: int) -> None:
    values = (np.random.default_rng(0).normal(size=(64, 64)) * 50).astype(dtype)
    result = histogram(values, bins)
    counts, edges = np.histogram(values.astype(np.float64), bins)
    np.testing.assert_allclose(result.edges, edges, rtol=1e-12, atol=1e-12)
    # Integers and float16 sit on the edges by the hundred: there only the property above is promised.
    if dtype in (np.float32, np.float64):
        assert np.abs(result.counts - counts).max() <= 1
    assert result.counts.sum() == 4096


@given(values=ARRAYS)
def test_statistics(values: np.ndarray) -> None:
    result = histogram(values)
    assert result.number == len(values)
    assert result.nonfinite == 0
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_equal(result.total, float(values.sum()))
        np.testing.assert_allclose(result.total_of_squares, float((values**2).sum()), rtol=1e-9)
    if len(values):
        assert (result.minimum, result.maximum) == (values.min(), values.max())


@given(values=hnp.arrays(np.float64, st.integers(0, 50), elements=ANY_FLOAT))
def test_nonfinite_values_are_counted_apart(values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    result, expected = histogram(values), histogram(finite)
    assert result.nonfinite == len(values) - len(finite)
    assert result.number == len(finite)
    np.testing.assert_array_equal(result.counts, expected.counts)
    np.testing.assert_array_equal(result.edges, expected.edges)
    np.testing.assert_equal(result.total, expected.total)


def test_nothing_finite() -> None:
    result = histogram(np.array([np.nan, np.inf, -np.inf]))
    assert result.counts.sum() == result.number == 0
    assert result.nonfinite == 3
    assert math.isnan(result.minimum) and math.isnan(result.maximum)
    assert (result.edges[0], result.edges[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-300, 5e-324, 1e20, 1.7e308, float(np.finfo(np.float64).max)])
def test_equal_values_share_one_bin_between_distinct_edges(value: float) -> None:
    result = histogram(np.full(7, value))
    assert sorted(result.counts)[-2:] == [0, 7]
    assert (result.edges[1:] > result.edges[:-1]).all()
    assert result.edges[0] <= value <= result.edges[-1]


def test_the_whole_range_of_float64() -> None:
    limit = np.finfo(np.float64).max
    result = histogram(np.array([-limit, 0.0, limit]), bins=3)
    np.testing.assert_array_equal(result.counts, [1, 1, 1])


def test_values_are_not_changed() -> None:
    values = np.array([3.0, np.nan, 1.0])
    histogram(values)
    np.testing.assert_array_equal(values, [3.0, np.nan, 1.0])


def test_no_bins() -> None:
    with pytest.raises(ValueError, match="at least 1 bin, got 0"):
        histogram(np.zeros(3), bins=0)
