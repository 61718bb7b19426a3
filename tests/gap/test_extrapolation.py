"""Extrapolated learning curves: power laws are continued, units do not matter, and uncertainty grows with distance."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.errors import GapError
from diagnose.gap._extrapolation import Outlook

SIZES = (50, 100, 200, 400, 800, 1600)


def law(a: float = 0.0, b: float = 1.0, c: float = 0.4, noise: float = 0.02, seed: int = 0, **more: Any) -> Outlook:
    """Of a curve a + b n^-c with relative noise."""
    n = np.array(SIZES, dtype=float)
    y = a + b * n**-c
    errors = y * (1 + noise * np.random.default_rng(seed).normal(size=len(n)))
    return Outlook.of(SIZES, errors.tolist(), (noise * y).tolist(), **more)


@pytest.mark.parametrize("c", [0.2, 0.4, 0.7])
def test_a_power_law_is_continued(c: float) -> None:
    told = [law(c=c, noise=0.01, seed=seed).predict(3200) for seed in range(10)]
    truth = 3200**-c
    assert np.mean([t.value for t in told]) == pytest.approx(truth, rel=0.06)
    assert sum(t.low <= truth <= t.high for t in told) >= 9


def test_a_flat_curve_stays_where_it_is() -> None:
    told = law(a=0.2, b=0.0).predict(6400)
    assert told.value == pytest.approx(0.2, rel=0.1)


def test_an_asymptote_is_seen_where_the_curve_shows_it() -> None:
    outlook = law(a=0.2, b=3.0, c=0.8, noise=0.005)
    needed = outlook.data_needed(0.05)
    assert not needed.is_reachable and math.isinf(needed.high)
    assert "not reachable by data alone" in str(needed)


def test_the_range_of_n_holds_the_truth() -> None:
    holds = 0
    for seed in range(20):
        needed = law(c=0.4, noise=0.02, seed=seed).data_needed(3200**-0.4)
        holds += needed.low <= 3200 <= needed.high
    assert holds >= 17


def test_what_is_far_is_called_a_guess_and_rounds_are_advised() -> None:
    outlook = law(c=0.4)
    far = outlook.data_needed(0.5 * 6400**-0.4)
    assert far.is_guess and "guess" in str(far) and "measure again" in str(far)
    near = outlook.data_needed(1.2 * 1600**-0.4)
    assert near.is_reached and not near.is_guess and "is reached" in str(near)
    json.dumps(far.to_json(), allow_nan=False)


errors_of = st.lists(st.floats(0.02, 0.9), min_size=1, max_size=7)


@given(errors=errors_of, factor=st.floats(-4, 4).map(lambda power: 10**power))
@settings(max_examples=40, deadline=None)
def test_other_units_of_error_change_nothing(errors: list[float], factor: float) -> None:
    sizes = [20 * 2**place for place in range(len(errors))]
    noise = [0.05 * error for error in errors]
    one = Outlook.of(sizes, errors, noise)
    other = Outlook.of(sizes, [e * factor for e in errors], [n * factor for n in noise])
    a, b = one.predict(4 * sizes[-1]), other.predict(4 * sizes[-1])
    assert (b.low, b.value, b.high) == pytest.approx((a.low * factor, a.value * factor, a.high * factor), rel=1e-5)
    target = 0.7 * errors[-1]
    assert one.data_needed(target).low == pytest.approx(other.data_needed(target * factor).low, rel=0.07)


@given(errors=errors_of, factor=st.integers(2, 50))
@settings(max_examples=30, deadline=None)
def test_other_units_of_data_change_nothing(errors: list[float], factor: int) -> None:
    sizes = [20 * 2**place for place in range(len(errors))]
    one = Outlook.of(sizes, errors, [0.01] * len(errors)).predict(3 * sizes[-1])
    other = Outlook.of([n * factor for n in sizes], errors, [0.01] * len(errors)).predict(3 * sizes[-1] * factor)
    assert (one.low, one.value, one.high) == pytest.approx((other.low, other.value, other.high), rel=1e-9)


@given(errors=errors_of, order=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_sizes_does_not_matter(errors: list[float], order: Any) -> None:
    rows = [(20 * 2**place, error, 0.02) for place, error in enumerate(errors)]
    shuffled = list(rows)
    order.shuffle(shuffled)
    one, other = (Outlook.of(*zip(*part, strict=True)) for part in (rows, shuffled))
    assert one.predict(one.size * 2) == other.predict(one.size * 2)


@given(errors=errors_of | errors_of.map(lambda errors: sorted(errors, reverse=True)))
@settings(max_examples=40, deadline=None)
def test_the_interval_grows_with_the_distance_and_the_expectation_falls(errors: list[float]) -> None:
    sizes = [20 * 2**place for place in range(len(errors))]
    outlook = Outlook.of(sizes, errors, [0.03 * error for error in errors])
    told = [outlook.predict(times * sizes[-1]) for times in (1, 2, 4, 16, 64)]
    widths = [(t.high - t.low) / t.value for t in told]
    assert all(later > earlier for earlier, later in itertools.pairwise(widths))
    if errors == sorted(errors, reverse=True):  # no power law follows errors that rise with the data
        assert all(later.value <= earlier.value * 1.02 for earlier, later in itertools.pairwise(told))
    assert all(0 <= t.low <= t.value <= t.high for t in told)


@given(errors=errors_of, targets=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_lower_target_never_takes_less_data(errors: list[float], targets: list[float]) -> None:
    sizes = [20 * 2**place for place in range(len(errors))]
    outlook = Outlook.of(sizes, errors, [math.nan] * len(errors))
    needed = [outlook.data_needed(target) for target in sorted(targets, reverse=True)]
    for easier, harder in itertools.pairwise(needed):
        assert harder.low >= easier.low and harder.high >= easier.high
    for one in needed:
        assert sizes[-1] <= one.low <= one.high
        assert one.is_guess or one.high <= 4 * sizes[-1]


def test_more_noise_makes_wider_intervals() -> None:
    errors = [n**-0.4 for n in SIZES]
    widths = []
    for noise in (0.005, 0.02, 0.1):
        told = Outlook.of(SIZES, errors, [noise * e for e in errors], test_error=noise * errors[-1]).predict(3200)
        widths.append(told.high - told.low)
    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Outlook.of([10, 20], [0.5, 0.0], [0.1, 0.1]), "0 with all data"),
        (lambda: Outlook.of([10, 20], [-0.5, 0.1], [0.1, 0.1]), "negative"),
        (lambda: law().data_needed(0.0), "target is 0"),
        (lambda: law().data_needed(math.nan), "target is nan"),
        (lambda: law().predict(100), "100 examples are less"),
    ],
)
def test_wrong_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(GapError, match=words):
        call()
