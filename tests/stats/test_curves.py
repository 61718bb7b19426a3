"""Levels, noise, falls and trends of noisy curves, against slow twins and by their properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diagnose.stats import curves

FINITE = st.floats(-1e6, 1e6, width=32)


def values(least: int = 0, most: int = 40) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, st.integers(least, most), elements=FINITE)


NOISE = np.random.default_rng(0).normal(size=2000)


# -- finite_prefix --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_values", "length"),
    [([], 0), ([1.0, 2.0], 2), ([1.0, math.inf, 2.0], 1), ([math.nan], 0), ([1.0, -math.inf], 1)],
)
def test_finite_prefix(given_values: list[float], length: int) -> None:
    assert curves.finite_prefix(np.array(given_values)) == length


# -- noise ----------------------------------------------------------------------------------------


def test_noise_is_the_standard_deviation_of_white_noise() -> None:
    # 2,000 values: the estimate scatters by about 1.7 / sqrt(2000) = 4 %.
    assert curves.noise(3 * NOISE) == pytest.approx(3, rel=0.12)


def test_noise_sees_neither_a_trend_nor_an_outlier() -> None:
    trend = np.arange(2000) * 10.0
    assert curves.noise(NOISE + trend) == pytest.approx(curves.noise(NOISE), rel=1e-6)
    spiked = NOISE.copy()
    spiked[::100] += 1e9
    assert curves.noise(spiked) == pytest.approx(curves.noise(NOISE), rel=0.1)


@pytest.mark.parametrize("few", [[], [1.0], [1.0, 2.0]])
def test_noise_of_too_few_is_unknown(few: list[float]) -> None:
    assert math.isnan(curves.noise(np.array(few)))


# -- mean_and_error ---------------------------------------------------------------------------------


def test_the_error_of_independent_values_is_the_usual_one() -> None:
    errors = [curves.mean_and_error(block)[1] for block in NOISE.reshape(20, 100)]
    # Ten batches each: a single estimate scatters by 1 / sqrt(2 * 9) = 24 %, the mean of 20 by 5 %.
    assert np.mean(errors) == pytest.approx(0.1, rel=0.15)


def test_the_error_of_correlated_values_is_larger() -> None:
    correlated = np.repeat(NOISE[:20], 5)  # 20 independent values, not 100
    _, naive = curves.mean_and_error(NOISE[:100])
    _, error = curves.mean_and_error(correlated)
    assert error > 1.4 * naive * correlated.std() / NOISE[:100].std()


def test_mean_and_error_of_few() -> None:
    assert all(map(math.isnan, curves.mean_and_error(np.zeros(0))))
    assert curves.mean_and_error(np.array([1.0, 2.0, 3.0])) == (2.0, math.inf)


@given(values(4))
def test_the_mean_is_the_mean(given_values: np.ndarray) -> None:
    mean, error = curves.mean_and_error(given_values)
    assert mean == pytest.approx(given_values.mean())
    assert error >= 0


# -- fall -------------------------------------------------------------------------------------------


def test_a_fall_between_two_stretches() -> None:
    change = curves.fall(NOISE[:100] + 5, NOISE[100:200] + 3)
    assert change.size == pytest.approx(2, abs=0.5)
    assert change.at_most() > change.size
    assert change.at_most(0) == change.size


def test_a_fall_from_nothing_is_unknown() -> None:
    assert math.isnan(curves.fall(np.zeros(0), np.ones(5)).size)
    assert curves.fall(np.ones(2), np.ones(5)).error == math.inf


# -- block_levels -----------------------------------------------------------------------------------


def test_block_levels_are_medians_in_order() -> None:
    assert curves.block_levels(np.array([1.0, 1, 9, 2, 2, 2, 3, 3, -9]), 3).tolist() == [1.0, 2.0, 3.0]


@given(values(), st.integers(1, 30))
def test_there_are_as_many_blocks_as_there_is_room_for(given_values: np.ndarray, blocks: int) -> None:
    levels = curves.block_levels(given_values, blocks)
    assert len(levels) == min(blocks, len(given_values) // 3)
    if len(levels):
        assert levels.min() >= given_values.min()
        assert levels.max() <= given_values.max()


# -- running_median -----------------------------------------------------------------------------------


@given(values(1), st.sampled_from([1, 3, 5]))
def test_running_median_against_its_slow_twin(given_values: np.ndarray, width: int) -> None:
    reach = width // 2
    padded = [given_values[0]] * reach + given_values.tolist() + [given_values[-1]] * reach
    expected = [np.median(padded[index : index + width]) for index in range(len(given_values))]
    np.testing.assert_array_equal(curves.running_median(given_values, width), expected)


def test_running_median_keeps_a_step_and_removes_outliers() -> None:
    step = np.array([1.0] * 10 + [5.0] * 10)
    spiked = step.copy()
    spiked[[3, 4, 15]] = 99
    np.testing.assert_array_equal(curves.running_median(spiked), step)
    assert len(curves.running_median(np.zeros(0))) == 0


# -- trend ------------------------------------------------------------------------------------------


def slow_trend(given_values: np.ndarray) -> float:
    """Mann's statistic, written out."""
    score = 0
    for earlier, later in itertools.combinations(given_values.tolist(), 2):
        score += (later > earlier) - (later < earlier)
    n = len(given_values)
    groups = [int((given_values == value).sum()) for value in set(given_values.tolist())]
    variance = (n * (n - 1) * (2 * n + 5) - sum(g * (g - 1) * (2 * g + 5) for g in groups)) / 18
    return 0.0 if score == 0 or variance <= 0 else (score - math.copysign(1, score)) / math.sqrt(variance)


@given(hnp.arrays(np.float64, st.integers(3, 25), elements=st.integers(-5, 5).map(float)))
def test_trend_against_its_slow_twin(given_values: np.ndarray) -> None:
    assert curves.trend(given_values) == pytest.approx(slow_trend(given_values))


@given(values(3), st.floats(0.01, 100))
def test_trend_sees_only_the_order(given_values: np.ndarray, scale: float) -> None:
    ranks = np.unique(given_values, return_inverse=True)[1].astype(float)
    assert curves.trend(ranks) == curves.trend(given_values)
    assert curves.trend(-ranks) == pytest.approx(-curves.trend(ranks))
    assert curves.trend(ranks * scale) == curves.trend(ranks)


def test_a_trend_beyond_doubt_and_none() -> None:
    assert curves.trend(np.arange(20.0)) > 5
    assert curves.trend(np.ones(20)) == 0
    assert curves.trend(np.array([1.0, 2.0])) == 0
    assert abs(curves.trend(NOISE[:50])) < 3


# -- theil_sen --------------------------------------------------------------------------------------


@given(st.integers(3, 20), FINITE, st.floats(-1e3, 1e3))
def test_the_slope_of_a_line(count: int, intercept: float, slope: float) -> None:
    x = np.arange(count)
    # Rounding: the differences of values up to 1e6 are good to 1e-10.
    assert curves.theil_sen(x, intercept + slope * x) == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_one_odd_point_in_five_does_not_move_the_slope() -> None:
    y = np.array([0.0, 1, 2, 3, 4])
    y[2] = 1e9
    assert curves.theil_sen(np.arange(5), y) == pytest.approx(1, abs=0.01)


def test_the_slope_of_nothing_is_unknown() -> None:
    assert math.isnan(curves.theil_sen(np.array([1.0]), np.array([1.0])))
    assert math.isnan(curves.theil_sen(np.array([2.0, 2.0]), np.array([1.0, 5.0])))


# -- runs -------------------------------------------------------------------------------------------


def slow_runs(flags: list[bool]) -> list[tuple[int, int]]:
    runs, start = [], 0
    for value, group in itertools.groupby(flags):
        length = len(list(group))
        if value:
            runs.append((start, start + length))
        start += length
    return runs


@given(st.lists(st.booleans(), max_size=30))
def test_runs_against_their_slow_twin(flags: list[bool]) -> None:
    array, runs = np.array(flags, dtype=bool), slow_runs(flags)
    longest = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    assert curves.longest_run(array) == longest
    lasting = runs[-1][0] if runs and runs[-1][1] == len(flags) else len(flags)
    assert curves.trailing_run(array) == lasting
