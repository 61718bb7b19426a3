"""Errors of numbers agree with scikit-learn, and their intervals hold the truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose import metrics

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))


@settings(max_examples=40)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=40))
def test_values_are_those_of_scikit_learn(rows: list[tuple[float, float]]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    given_, right = np.array(rows).T
    found = metrics.regression_errors(given_, right)
    assert found.mae.value == pytest.approx(sklearn_metrics.mean_absolute_error(right, given_))
    assert found.rmse.value == pytest.approx(sklearn_metrics.root_mean_squared_error(right, given_))
    assert found.bias.value == pytest.approx((given_ - right).mean())
    assert found.quantiles[0.5].value == pytest.approx(sklearn_metrics.median_absolute_error(right, given_))
    if found.r2.reason is None:
        assert found.r2.value == pytest.approx(sklearn_metrics.r2_score(right, given_), rel=1e-6)
    if found.of_constant.reason is None:
        constant = np.abs(right - np.median(right)).mean()
        assert found.of_constant.value == pytest.approx(found.mae.value / constant)
    assert found.largest[0] == np.abs(given_ - right).argmax()
    for metric in found.metrics:
        assert metric.reason or metric.low - 1e-9 <= metric.value or metric.method == "bootstrap"
    json.dumps(found.to_json(), allow_nan=False)


def test_intervals_hold_the_truth() -> None:
    draw = np.random.default_rng(0)
    held = dict.fromkeys(("mae", "rmse", "bias", "r2", "median"), 0)
    truths = {"mae": math.sqrt(2 / math.pi), "rmse": 1.0, "bias": 0.0, "r2": 0.8, "median": 0.67449}
    for seed in range(150):
        right = draw.normal(0, math.sqrt(5), 150)
        found = metrics.regression_errors(right + draw.normal(size=150), right, seed=seed)
        for name in held:
            metric = found.quantiles[0.5] if name == "median" else getattr(found, name)
            held[name] += truths[name] in metric.interval
    assert min(held.values()) >= 0.9 * 150


def test_what_is_not_defined_is_told() -> None:
    found = metrics.regression_errors([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert found.r2.reason == "all targets are alike, so there is no variance to explain"
    assert found.relative.reason == "all targets are 0"
    assert math.isnan(found.of_constant.value)
    assert "not defined" in str(found)
    assert found.quantiles[0.99].high == math.inf
    assert "too few examples" in found.quantiles[0.99].note


def test_several_numbers_are_averaged_over_an_example() -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    right = draw.normal(size=(50, 3))
    said = right + draw.normal(size=(50, 3))
    found = metrics.regression_errors(said, right)
    assert found.n == found.mae.n == 50
    assert found.mae.value == pytest.approx(np.abs(said - right).mean())
    twin = sklearn_metrics.r2_score(right, said, multioutput="variance_weighted")
    assert found.r2.value == pytest.approx(twin)


def test_an_outlier_moves_the_mean_and_not_the_median() -> None:
    right = np.linspace(0, 1, 99)
    plain, broken = (metrics.regression_errors(right + 0.1, right), right + 0.1)
    broken[0] = 1e4
    with_one = metrics.regression_errors(broken, right)
    assert with_one.quantiles[0.5].value == pytest.approx(plain.quantiles[0.5].value)
    assert with_one.rmse.value > 1000 * plain.rmse.value
    assert with_one.largest[0] == 0
