"""What holds for any numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.gap import Recommendation, diagnose_gap
from diagnose.gap._error import Measured

SHARES = st.floats(0, 1)
COUNTS = st.integers(5, 100_000)
CURVE = st.lists(st.one_of(st.floats(0, 10), st.sampled_from([float("nan"), float("inf")])), max_size=30)
VALUES = {
    "hidden_units": st.integers(1, 4096),
    "lr": st.floats(1e-8, 10),
    "weight_decay": st.floats(0, 1),
    "dropout": st.floats(0, 0.99),
    "kernel_size": st.integers(1, 11),
    "padding": st.integers(0, 5),
    "epochs": st.integers(1, 1000),
    "depth": st.integers(0, 50),
}
NAMES = {
    "hidden_units": "width",
    "lr": "eta",
    "weight_decay": "wd",
    "dropout": "p_drop",
    "kernel_size": "ksize",
    "padding": "pad",
    "epochs": "max_epochs",
    "depth": "n_layers",
}
HYPERPARAMETERS = st.fixed_dictionaries({}, optional=VALUES)


@st.composite
def told(draw: st.DrawFn) -> dict[str, Any]:
    names = ("train_error", "test_error", "target_error", "train_dev_error", "human_error", "suspects")
    found: dict[str, Any] = {name: draw(SHARES) for name in names if draw(st.booleans())}
    found |= {name: draw(COUNTS) for name in ("n_train", "n_test", "n_train_dev", "n_human") if draw(st.booleans())}
    found["hyperparameters"] = draw(HYPERPARAMETERS)
    if draw(st.booleans()):
        found["curves"] = {"train_loss": draw(CURVE), "val_loss": draw(CURVE)}
    if draw(st.booleans()):
        found["learning_curve"] = {size: draw(SHARES) for size in (100, 200, 400)}
    return found


@given(told())
@settings(max_examples=200, deadline=None)
def test_forbidden_advice_is_never_given(given_: dict[str, Any]) -> None:
    found = diagnose_gap(**given_)
    codes = {one.code for one in found.recommendations}
    train, target = given_.get("train_error"), given_.get("target_error")
    if found.train_error is not None and target is not None and _may_be_too_high(found, target):
        assert not codes & {"more-data", "more-regularization", "less-capacity"}
    if train is not None and target is not None and train <= target and found.verdict != "optimization-failure":
        assert "more-capacity" not in codes
    if found.verdict in ("evaluation-bug", "save-load-bug", "leak", "distribution-mismatch"):
        assert codes <= {"check-test-pipeline", "check-save-load", "check-leak"}
        assert codes
    if "target-met" in codes:
        assert found.test_error is not None
        assert target is not None
        assert found.test_error.interval().high <= target
    if found.verdict in ("overfitting", "underfitting", "optimization-failure"):
        assert codes
    if found.verdict == "overfitting":
        assert _gap(found) > 0
    found.to_json(), str(found), found._repr_html_()


def _may_be_too_high(found: Any, target: float) -> bool:
    """Beyond its noise, or within it by as much as the gap may be."""
    sure = found.train_error.interval(0.99)
    gap = found.test_error.minus(found.train_error).low if found.test_error else 0.0
    return bool(sure.low > target or (found.train_error.value > target + 1e-6 and gap <= sure.high - target))


def _gap(found: Any) -> float:
    gap: float = found.test_error.minus(found.train_error).low
    return gap


@given(told())
@settings(max_examples=60, deadline=None)
def test_neither_order_nor_names_of_hyperparameters_matter(given_: dict[str, Any]) -> None:
    values = given_.pop("hyperparameters")
    found = diagnose_gap(**given_, hyperparameters=values)
    turned = diagnose_gap(**given_, hyperparameters=dict(reversed(values.items())))
    assert turned.to_json() == found.to_json()
    renamed = diagnose_gap(**given_, hyperparameters={NAMES[name]: value for name, value in values.items()})
    assert renamed.verdict == found.verdict
    assert [_of(one, NAMES) for one in found.recommendations] == [_of(one, {}) for one in renamed.recommendations]


def _of(one: Recommendation, names: dict[str, str]) -> tuple[Any, ...]:
    return one.code, one.hyperparameter and names.get(one.hyperparameter, one.hyperparameter), one.suggested


@given(SHARES, st.integers(5, 10_000), st.integers(2, 50), st.sampled_from([0.8, 0.95, 0.99]))
def test_more_examples_never_widen_an_interval(share: float, n: int, times: int, confidence: float) -> None:
    few, many = (Measured("test error", share, count).interval(confidence) for count in (n, n * times))
    assert many.high - many.low <= few.high - few.low + 1e-12


@given(SHARES, SHARES, st.integers(20, 5_000), st.integers(20, 5_000))
def test_the_number_that_settles_a_gap_does(train: float, test: float, n_train: int, n_test: int) -> None:
    found = diagnose_gap(
        train_error=train, test_error=test, n_train=n_train, n_test=n_test, target_error=max(train, 0.5)
    )
    evidence = found.evidence.get("gap-within-noise")
    needed = None if evidence is None else evidence.numbers["test_examples_needed"]
    if needed is None:
        return
    again = diagnose_gap(
        train_error=train, test_error=test, n_train=n_train, n_test=needed, target_error=max(train, 0.5)
    )
    fewer = Measured("test", test, needed - 1).minus(Measured("train", train, n_train))
    assert again.verdict == "overfitting"
    assert fewer.low <= 0 or needed <= n_test + 1


@pytest.mark.parametrize("n_test", [100, 1_000, 10_000])
def test_the_interval_is_that_of_wilson(n_test: int) -> None:
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    found = diagnose_gap(test_error=0.1, n_test=n_test)
    assert found.test_error is not None
    theirs = binomtest(n_test // 10, n_test).proportion_ci(method="wilson")
    ours = found.test_error.interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
