"""update-too-small: all steps together hardly move the weights, and the loss does not fall."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diagnose.findings import Severity
from diagnose.history import FitFacts, History
from diagnose.testing import Parameter, history_of
from tests.rules.looking import chain, falling, flat, said, the_only
from tests.rules.objective.runs import with_objective

CODE = "update-too-small"
GUESSING = {"grad_fn": "NllLossBackward0"}  # 64 outputs: ln 64 = 4.16


def run(ratio: Any, loss: Any = None, steps: int = 300, **more: Any) -> History:
    more.setdefault("parameters", chain(3, ratio=ratio))
    return history_of(steps=steps, loss=flat(steps, 4.2, 0.005) if loss is None else loss, **more)


def test_a_learning_rate_that_is_far_too_low() -> None:
    finding = the_only(run(1e-7), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["moved"] == pytest.approx(3e-5)
    assert finding.evidence["learning_rate"] == 0.01
    assert (finding.first_step, finding.last_step) == (1, 300)


@pytest.mark.parametrize(("moved", "fires"), [(0.0099, True), (0.0101, False)])
def test_the_limit_where_the_loss_is_that_of_guessing(moved: float, fires: bool) -> None:
    assert bool(said(run(moved / 300, **GUESSING), CODE)) is fires


@pytest.mark.parametrize(("moved", "fires"), [(0.0029, True), (0.0031, False)])
def test_the_limit_in_doubt(moved: float, fires: bool) -> None:
    assert bool(said(run(moved / 300), CODE)) is fires


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_what_the_loss_function_is_given_says_that_it_guesses(scale: float) -> None:
    """However the loss is scaled before backward: here it is divided by the size of the data."""
    history = run(0.005 / 300, loss=flat(300, 4.2 * scale, 0.005 * scale))
    assert not said(history, CODE)
    with_objective(history, classes=64, uninformed=math.log(64), alone=20, optimizer="SGD")
    (scope,) = history.objectives
    for step in range(1, 301, 20):
        history.record("objective", step, {scope: 4.2}, clock="SGD")
    assert said(history, CODE)


def test_it_takes_a_hundred_steps() -> None:
    assert not said(run(1e-7, steps=99), CODE)
    assert said(run(1e-7, steps=100), CODE)


def test_the_bulk_counts() -> None:
    head = Parameter((10, 64), ratio=0.01)
    assert said(run(0, parameters={**chain(3, ratio=1e-7), "head.weight": head}), CODE)
    assert not said(run(0, parameters={"0.weight": Parameter((10, 64), ratio=1e-7), "1.weight": Parameter()}), CODE)


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_a_wide_network_that_learns_by_moving_little() -> None:
    assert not said(run(1e-6, loss=falling(300)), CODE)


def test_a_warm_up_that_has_not_ended() -> None:
    assert not said(run(lambda step: 1e-8 * step, lr=lambda step: 1e-6 * step), CODE)


def test_the_end_of_a_decay() -> None:
    assert not said(run(1e-7, lr=lambda step: 1e-3 / step), CODE)


def test_a_resumed_classifier() -> None:
    assert not said(run(1e-7, loss=flat(300, 0.2, 0.3), **GUESSING), CODE)


def test_a_fine_tune_in_the_same_run() -> None:
    history = history_of(steps=300, loss=falling(300), parameters=chain(3), optimizer="first")
    history_of(steps=300, loss=flat(300, 0.1), parameters=chain(3, ratio=1e-7), optimizer="second", into=history)
    assert not said(history, CODE)


def test_a_gan() -> None:
    history = run(1e-7, optimizer="generator")
    history_of(steps=300, loss=flat(300), parameters={"critic.weight": Parameter()}, optimizer="critic", into=history)
    assert not said(history, CODE)


def test_a_policy_gradient() -> None:
    assert not said(run(1e-7, loss=0.05 * (flat(300, 1.0, 1.0) - 1)), CODE)


def test_without_a_loss_it_says_nothing() -> None:
    assert not said(history_of(steps=300, parameters=chain(3, ratio=1e-7)), CODE)


@pytest.mark.parametrize(
    ("moved", "after", "fires"), [(0.02, 0.1, True), (0.02, 4.1, False), (0.06, 0.1, False), (0.02, None, False)]
)
def test_a_fit_of_a_few_examples_shows_that_larger_steps_do_more(
    moved: float, after: float | None, fires: bool
) -> None:
    history = run(moved / 300, **GUESSING)
    if after is not None:
        history.fits["Net"] = FitFacts("Net", "SGD", examples=32, steps=40, before=4.2, constant=3.4, after=after)
    assert bool(said(history, CODE)) is fires
