"""p-values beside SciPy's, and beside a slow count of all tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.stats.tails import fisher_exact, rank_sum

COUNTS = st.integers(0, 30)


def slow_fisher(a: int, n: int, c: int, m: int) -> float:
    def table(k: int) -> int:
        return math.comb(n, k) * math.comb(m, a + c - k)

    tables = [table(k) for k in range(max(0, a + c - m), min(n, a + c) + 1)]
    return sum(t for t in tables if t <= table(a)) / sum(tables)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_fisher_is_the_count_of_all_tables(a: int, b: int, c: int, d: int) -> None:
    assert fisher_exact(a, a + b, c, c + d) == pytest.approx(slow_fisher(a, a + b, c, c + d), rel=1e-6, abs=1e-12)


@given(st.integers(0, 40), st.integers(1, 400), st.integers(0, 400), st.integers(1, 4000))
def test_fisher_of_large_tables_as_scipy_has_it(a: int, b: int, c: int, d: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.fisher_exact([[a, b], [c, d]]).pvalue
    assert fisher_exact(a, a + b, c, c + d) == pytest.approx(wanted, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("counts", [(-1, 3, 0, 2), (4, 3, 0, 2), (0, 3, 3, 2)])
def test_shares_that_are_none(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="are no shares"):
        fisher_exact(*counts)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_rank_sum_as_scipy_has_it(sample: list[int], other: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    if len({*sample, *other}) == 1:
        assert rank_sum(np.array(sample, dtype=float), np.array(other, dtype=float)) == 1.0
        return
    wanted = stats.mannwhitneyu(sample, other, method="asymptotic", use_continuity=True).pvalue
    found = rank_sum(np.array(sample, dtype=float), np.array(other, dtype=float))
    assert found == pytest.approx(min(wanted, 1.0), rel=1e-6)


def test_rank_sum_of_nothing() -> None:
    assert rank_sum(np.array([]), np.array([1.0, 2.0])) == 1.0
