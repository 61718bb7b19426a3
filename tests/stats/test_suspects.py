"""How many labels are wrong, told from margins alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.stats.suspects import assess


def margins(right: int, wrong: int, *, slope: float = 5.0, at: float = -0.6, seed: int = 0) -> np.ndarray:
    """Right labels with an exponential tail from 1 downwards; wrong ones in a hill around `at`."""
    rng = np.random.default_rng(seed)
    tail = 1 - rng.exponential(1 / slope, size=4 * right)
    tail = tail[tail > -1][:right]
    hill = np.clip(rng.normal(at, 0.15, size=wrong), -1, 1)
    return np.concatenate([tail, hill])


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2, 0.3])
def test_a_second_hill_is_counted(share: float) -> None:
    wrong = round(5000 * share)
    values = margins(5000 - wrong, wrong)
    found = assess(values)
    assert found.limit is not None and found.precision is not None and found.recall is not None
    assert found.wrong == pytest.approx(wrong, rel=0.15)
    below = values < found.limit
    is_wrong = np.arange(len(values)) >= 5000 - wrong
    assert found.suspects == below.sum()
    assert found.precision.value == pytest.approx(is_wrong[below].mean(), abs=0.06)
    assert is_wrong[below].mean() >= 0.78
    assert found.holds()


@pytest.mark.parametrize("slope", [1.5, 3.0, 5.0, 20.0])
@pytest.mark.parametrize("number", [200, 5000])
def test_one_hill_has_no_suspects(slope: float, number: int) -> None:
    found = assess(margins(number, 0, slope=slope))
    assert found.limit is None and found.suspects == 0 and not found.holds() and found.reason


def test_hills_that_run_into_each_other_are_not_claimed() -> None:
    values = margins(4000, 800, slope=2.0, at=-0.1)
    assert not assess(values).holds()


def test_few_suspects_are_not_claimed() -> None:
    found = assess(margins(400, 40))
    assert found.limit is not None and not found.holds() and found.holds(min_suspects=20)


@pytest.mark.parametrize("values", [[], [np.nan] * 5, [0.9] * 50, [-0.9] * 50, [0.0] * 50])
def test_where_there_is_nothing_to_tell(values: list[float]) -> None:
    found = assess(np.array(values))
    assert found.limit is None and found.reason and found.examples == np.isfinite(values).sum()


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1, width=32) | st.just(float("nan")), max_size=300),
    seed=st.integers(0, 1000),
)
def test_any_margins_in_any_order(values: list[float], seed: int) -> None:
    array = np.array(values, dtype=np.float32)
    before = array.copy()
    found = assess(array)
    assert np.array_equal(array, before, equal_nan=True)
    assert found == assess(np.random.default_rng(seed).permutation(array))
    if found.limit is not None:
        assert found.precision is not None and found.recall is not None
        assert -1 <= found.limit <= 0 and 0 <= found.recall <= 1 and found.precision.value >= 0.75
        assert found.very_likely is None or found.very_likely <= found.limit
        assert found.suspects == (np.float64(array) < found.limit).sum()
