"""Outliers beyond a gap: how often there are some by chance, and which are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.stats.spacings import far_from_rest

TAILS = {
    "normal": lambda numbers: numbers.normal(size=500),
    "cauchy": lambda numbers: numbers.standard_t(1, size=500),
    "pareto": lambda numbers: numbers.pareto(1.5, size=500),
    "log-normal": lambda numbers: np.exp(2 * numbers.normal(size=500)),
    "uniform": lambda numbers: numbers.random(500),
    "counts": lambda numbers: numbers.geometric(0.2, size=500).astype(float),
    "two humps": lambda numbers: numbers.normal(size=500) + 6 * (numbers.random(500) < 0.3),
}


@pytest.mark.parametrize("tail", TAILS)
def test_tails_are_no_outliers(tail: str) -> None:
    numbers = np.random.default_rng(0)
    alarms = sum(
        far_from_rest(values, side, chance=0.01) is not None
        for _ in range(150)
        for values in [TAILS[tail](numbers)]
        for side in ("low", "high")
    )
    # 300 tails at 1 %: more than 9 of them are beyond chance (p = .001).
    assert alarms <= 9


@pytest.mark.parametrize("count", [1, 5, 25])
@pytest.mark.parametrize("side", ["low", "high"])
def test_what_lies_far_outside_is_found(count: int, side: str) -> None:
    numbers = np.random.default_rng(count)
    values = numbers.normal(size=600)
    values[:count] += (80 + np.arange(count)) * (1 if side == "high" else -1)
    gap = far_from_rest(values, side)  # type: ignore[arg-type]
    assert gap is not None and set(gap.rows.tolist()) == set(range(count))
    assert gap.rows[0] == count - 1 and gap.ratio > 15
    assert far_from_rest(values, "low" if side == "high" else "high") is None


def test_heavier_tails_need_wider_gaps() -> None:
    def found(values: np.ndarray, factor: float) -> bool:
        tail = np.append(values, factor * np.abs(values).max())
        return far_from_rest(tail, "high") is not None

    numbers = np.random.default_rng(3)
    light, heavy = numbers.normal(size=1000), np.abs(numbers.standard_t(1, size=1000))
    assert found(light, 20.0) and not found(heavy, 20.0)


def test_categories_flags_and_few_values_have_no_tail() -> None:
    flags = np.zeros(1000)
    flags[:3] = 1
    assert far_from_rest(flags, "high") is None
    categories = np.random.default_rng(0).integers(0, 5, 1000).astype(float)
    categories[0] = 99
    assert far_from_rest(categories, "high") is None
    assert far_from_rest(np.array([0.0, 1.0, 1e9]), "high") is None
    assert far_from_rest(np.array([]), "high") is None
    assert far_from_rest(np.full(100, np.nan), "high") is None


@given(st.floats(0.01, 1e6), st.floats(-1e3, 1e3))
def test_units_do_not_matter(scale: float, shift: float) -> None:
    values = np.random.default_rng(5).normal(size=300)
    values[7] = 500.0
    gap = far_from_rest(values * scale + shift, "high")
    assert gap is not None and gap.rows.tolist() == [7]
    mirrored = far_from_rest(-values * scale + shift, "low")
    assert mirrored is not None and mirrored.ratio == pytest.approx(gap.ratio, rel=1e-3)


def test_what_is_not_finite_does_not_count() -> None:
    values = np.random.default_rng(5).normal(size=300)
    values[3], values[4], values[9] = np.nan, np.inf, 1e4
    gap = far_from_rest(values, "high")
    assert gap is not None and gap.rows.tolist() == [9]
