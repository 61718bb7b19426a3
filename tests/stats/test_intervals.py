"""Intervals hold the truth as often as they say, and agree with the papers they are from."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.stats.intervals import (
    binomial_cdf,
    mann_whitney,
    mean_interval,
    mean_share,
    newcombe,
    order_statistics,
    smoothed_shares,
    student,
    wilson,
    wilson_ends,
    z_of,
)

counts = st.integers(1, 400).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def binomial(trials: int, share: float) -> list[float]:
    """The slow twin: the chance of each number of successes."""
    return [math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)]


# ---------------------------------------------------------------------- one share, and two


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_in_newcombes_table(successes: int, trials: int, low: float, high: float) -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    found = wilson(successes, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_newcombe_is_as_in_his_paper(first: tuple[int, int], other: tuple[int, int], low: float, high: float) -> None:
    # "Interval estimation for the difference between independent proportions", 1998, table II, method 10.
    found = newcombe(*first, *other)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_wilson_holds_the_truth_on_average(share: float) -> None:
    # The chance swings with the number of trials; on average over these it is what was promised.
    chances = []
    for trials in range(40, 80):
        held = [share in wilson(k, trials) for k in range(trials + 1)]
        chances.append(sum(p for p, inside in zip(binomial(trials, share), held, strict=True) if inside))
    assert 0.94 < np.mean(chances) < 0.97
    assert min(chances) > 0.85


@pytest.mark.parametrize(("share", "other"), [(0.5, 0.4), (0.95, 0.9), (0.99, 0.99)])
def test_newcombe_holds_the_truth(share: float, other: float) -> None:
    first, second = binomial(60, share), binomial(90, other)
    held = sum(
        first[a] * second[b]
        for a, b in itertools.product(range(61), range(91))
        if first[a] * second[b] > 1e-7 and share - other in newcombe(a, 60, b, 90)
    )
    assert held > 0.94
    assert held < (0.98 if share < 0.99 else 1)  # where hardly anything varies, it is too long


@given(counts)
def test_an_interval_of_a_share_is_one(pair: tuple[int, int]) -> None:
    found = wilson(*pair)
    assert 0 <= found.low <= found.value <= found.high <= 1
    mirrored = wilson(pair[1] - pair[0], pair[1])
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))
    assert wilson(*pair, confidence=0.99).low <= found.low
    low, high = wilson_ends(np.array([float(pair[0])]), np.array([float(pair[1])]))
    assert (float(low[0]), float(high[0])) == (found.low, found.high)


@given(counts, counts)
def test_differences_change_their_sign_when_turned_round(first: tuple[int, int], other: tuple[int, int]) -> None:
    found, turned = newcombe(*first, *other), newcombe(*other, *first)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
    assert -1 - 1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9


@given(counts)
def test_ten_times_the_examples_narrow_an_interval(pair: tuple[int, int]) -> None:
    one, ten = wilson(*pair), wilson(10 * pair[0], 10 * pair[1])
    assert ten.high - ten.low < one.high - one.low


@pytest.mark.parametrize("pair", [(0, 0), (-1, 3), (4, 3), (math.nan, 3), (1, math.nan)])
def test_what_is_no_share_is_told(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson(*pair)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_what_is_no_confidence_is_told(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        z_of(confidence)


# ---------------------------------------------------------------------- means


@pytest.mark.parametrize("shares", [(0.99, 0.95, 0.8, 1.0), (0.995,) * 4, (0.5, 0.9, 0.9, 0.1)])
def test_a_mean_of_shares_holds_the_truth(shares: tuple[float, ...]) -> None:
    draw = np.random.default_rng(0)
    trials = np.array([60.0, 40.0, 100.0, 20.0])
    held = 0
    for _ in range(1000):
        seen = draw.binomial(trials.astype(int), shares) / trials
        smooth = smoothed_shares(seen, trials)
        variance = float((smooth * (1 - smooth) / trials).sum()) / 16
        held += np.mean(shares) in mean_share(float(seen.mean()), float(smooth.mean()), variance)
    assert held >= 915


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_mean_of_shares_of_one_has_an_interval(first: int, other: int) -> None:
    trials = np.array([float(first), float(other)])
    smooth = smoothed_shares(np.ones(2), trials)
    variance = float((smooth * (1 - smooth) / trials).sum()) / 4
    found = mean_share(1.0, float(smooth.mean()), variance)
    assert found.high == 1.0
    assert wilson(2 * min(first, other), 2 * min(first, other)).low * 0.9 < found.low
    assert found.low <= wilson(first + other, first + other).low + 0.02


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)],
)
def test_quantiles_of_students_t(freedom: int, quantile: float) -> None:
    assert student(0.95, freedom) == pytest.approx(quantile, rel=2e-3)


def test_a_mean_of_numbers_holds_the_truth() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        values = draw.normal(3, 2, 5)
        held += 3 in mean_interval(5, float(values.mean()), float(values.std(ddof=1)))
    assert 1880 <= held <= 1920
    assert mean_interval(1, 2.0, 0.0).high == math.inf
    with pytest.raises(ValueError, match="no numbers"):
        mean_interval(0, 0.0, 0.0)


# ---------------------------------------------------------------------- quantiles and areas


@given(st.integers(1, 60), st.floats(0, 1))
def test_chances_of_at_most_so_many(trials: int, share: float) -> None:
    twin = np.cumsum(binomial(trials, share))
    np.testing.assert_allclose(binomial_cdf(trials, share), np.minimum(twin, 1), atol=1e-9)
    np.testing.assert_allclose(binomial_cdf(trials, share, trials // 2), twin[: trials // 2 + 1], atol=1e-9)


@pytest.mark.parametrize(("count", "share"), [(100, 0.5), (400, 0.9), (30, 0.5)])
def test_a_quantile_lies_between_its_order_statistics(count: int, share: float) -> None:
    draw = np.random.default_rng(0)
    low, high = order_statistics(count, share)
    held = 0
    for _ in range(2000):
        values = np.sort(draw.exponential(size=count))
        held += values[low] <= -math.log(1 - share) <= values[high]
    assert 1880 <= held <= 1990
    assert order_statistics(5, 0.99)[1] == 5
    assert order_statistics(5, 0.01)[0] == -1


def test_a_median_of_a_hundred_has_the_ranks_of_the_textbook() -> None:
    # David & Nagaraja: the 40th and the 61st of 100; here they are counted from 0.
    assert order_statistics(100, 0.5) == (39, 60)


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (1.0, 1.0), (2.5, 1.0), (1.0, 2.0)])
@pytest.mark.parametrize(("positives", "negatives"), [(10, 90), (100, 100)])
def test_an_area_holds_the_truth(shift: float, spread: float, positives: int, negatives: int) -> None:
    draw = np.random.default_rng(0)
    truth = 0.5 * math.erfc(-shift / math.hypot(1, spread) / math.sqrt(2))
    held = sum(
        truth in mann_whitney(draw.normal(shift, spread, positives), draw.normal(0, 1, negatives)) for _ in range(400)
    )
    assert held >= 0.92 * 400


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=15),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=15),
)
def test_an_area_is_that_of_all_pairs(positive: list[float], negative: list[float]) -> None:
    found = mann_whitney(np.array(positive), np.array(negative))
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    assert found.value == pytest.approx(np.mean(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1
    turned = mann_whitney(np.array(negative), np.array(positive))
    assert (1 - turned.high, 1 - turned.low) == pytest.approx((found.low, found.high), abs=1e-6)
