"""Resampled sums vary as the statistic does from sample to sample."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnose.stats.bootstrap import LARGEST_SAMPLE, Bootstrap, bootstrap


def ratio(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def test_percentiles_hold_the_truth() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        size = draw.exponential(size=80)
        features = np.stack([size * draw.uniform(0, 1, 80), size], 1)
        low, high = bootstrap(features, ratio, resamples=400, seed=seed).percentiles()
        held += low <= 0.5 <= high
    assert held >= 0.92 * 300


@pytest.mark.parametrize("count", [500, 5 * LARGEST_SAMPLE + 7])
def test_the_spread_is_that_of_the_mean(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    found = bootstrap(values[:, None], lambda sums: sums[:, 0] / count)
    assert found.value == pytest.approx(values.mean())
    assert found.replicates.std() == pytest.approx(values.std() / math.sqrt(count), rel=0.06)


def test_strata_keep_their_sizes() -> None:
    group = np.repeat([0, 1], [10, 90])
    features = np.stack([group == 0, group == 1], 1).astype(float)
    found = bootstrap(features, lambda sums: sums[:, 0], strata=group)
    assert set(found.replicates) == {10.0}
    assert found.is_blind
    assert not bootstrap(features, lambda sums: sums[:, 0]).is_blind


def test_a_bias_is_taken_away_by_reflection() -> None:
    # Of means that are near 0, |mean| is too large in a sample, and again in resamples of it.
    truth = np.array([0.4, 0.3, 0.2, 0.1, 0.1, 0.1])
    draw = np.random.default_rng(0)
    plain, reflected = [], []
    for seed in range(200):
        sample = truth + draw.normal(size=(50, 6))
        found = bootstrap(sample, lambda s: np.abs(s).mean(1) / 50, resamples=300, seed=seed)
        plain.append(found.percentiles()[0])
        reflected.append(found.reflected()[0])
    above = [sum(low > truth.mean() for low in lows) for lows in (plain, reflected)]
    assert above[1] < above[0] / 2


def test_it_is_the_same_each_time_and_leaves_random_states_alone() -> None:
    state = np.random.get_state()[1].copy()
    features = np.random.default_rng(1).normal(size=(30, 2))
    first, second = (bootstrap(features, ratio, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.replicates, second.replicates)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_undefined_resamples_are_left_out() -> None:
    found = bootstrap(np.array([[1.0, 0.0], [1.0, 1.0]]), lambda s: np.where(s[:, 1] > 0, s[:, 0], np.nan))
    assert np.isfinite(found.replicates).all()
    assert math.isnan(Bootstrap(1.0, np.zeros(0)).percentiles()[0])
    with pytest.raises(ValueError, match="no examples"):
        bootstrap(np.zeros((0, 2)), ratio)
