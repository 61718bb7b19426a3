"""loss-diverging: far above its start, or without bound below zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of, sampled_steps
from tests.rules.looking import chain, falling, flat, noisy, said, the_only
from tests.rules.objective.runs import with_objective

CODE = "loss-diverging"
STEPS = np.arange(1, 301)


def run(loss: Any, ratio: Any = 1e-3, **more: Any) -> History:
    loss = np.asarray(loss)
    return history_of(steps=len(loss), loss=loss, parameters=chain(3, ratio=ratio), **more)


def jolt(at: int = 50) -> Any:
    return lambda step: 0.5 if step >= at else 1e-3


def test_after_large_updates() -> None:
    finding = the_only(run(np.concatenate([flat(50), flat(250, 30.0, 0.3)]), ratio=jolt()), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["factor"] == pytest.approx(13, rel=0.2)
    assert finding.first_step == 51
    assert finding.where.line == 10
    assert "learning rate" in finding.remedy


@pytest.mark.parametrize(("level", "fires"), [(2.9, False), (3.1, True)])
def test_the_limit_is_three_times_the_start(level: float, fires: bool) -> None:
    loss = np.concatenate([flat(50, 1.0, 0.001), flat(250, level, 0.001)])
    assert bool(said(run(loss, ratio=jolt()), CODE)) is fires


def test_the_end_is_not_finite() -> None:
    loss = [*(2.0 * 1.3**step for step in range(30)), *[math.inf] * 30]
    finding = the_only(run(loss), CODE)
    assert "was not finite at step 31" in finding.message
    assert finding.last_step == 30


def test_maximised_with_ordinary_updates() -> None:
    loss = noisy(2.3 * np.exp(0.02 * STEPS), 0.03)
    finding = the_only(run(loss), CODE)
    assert "sign" in finding.remedy
    assert finding.first_step == 1


def test_the_wrong_sign() -> None:
    loss = noisy(-2.3 * (1 + (STEPS / 20) ** 2), 0.2)
    finding = the_only(run(loss), CODE)
    assert "no lower bound" in finding.cause


def test_a_sum_that_explodes_through_much_noise() -> None:
    assert said(run(noisy(2.3 * np.exp(0.04 * STEPS), 0.3)), CODE)
    assert not said(run(noisy(2.3 * np.exp(0.02 * STEPS), 0.3)), CODE)


def test_the_sum_of_several_losses_counts() -> None:
    losses = {"main": falling(300, 200, 1), "term": noisy(0.01 * np.exp(0.02 * STEPS), 0.01)}
    assert not said(history_of(steps=300, loss=losses, parameters=chain(3)), CODE)


# -- healthy look-alikes ----------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "fires"), [("sum", False), ("mean", True)])
def test_a_sum_over_more_and_more_terms(reduction: str, fires: bool) -> None:
    """As of sequences that grow: each term gets smaller, their sum larger."""
    history = run(np.linspace(10, 400, 300))
    with_objective(history, reduction=reduction, alone=20, optimizer="SGD")
    (scope,) = history.objectives
    for step in range(1, 301, 10):
        history.record("objective", step, {scope: 0.7 - step / 1000}, clock="SGD")
    assert bool(said(history, CODE)) is fires


def test_one_spike_that_recovers() -> None:
    loss = falling(300)
    loss[100:110] *= 1000
    assert not said(run(loss, ratio=jolt(100)), CODE)


def test_back_to_the_start_with_a_new_task() -> None:
    loss = np.concatenate([falling(150), falling(150)[:140], flat(10)])
    assert not said(run(loss), CODE)


def test_a_regularisation_that_is_phased_in() -> None:
    assert not said(run(flat(300, 100.0) + 1.5 * np.minimum(STEPS, 100)), CODE)


def test_a_policy_gradient_without_baseline() -> None:
    growing = 30 * (1 + STEPS / 10)
    assert not said(run(noisy(growing, 0.4), ratio=0.01), CODE)


def test_a_policy_gradient_that_has_come_to_its_limit() -> None:
    limited = 30 * np.minimum(1 + STEPS, 100)
    assert not said(run(noisy(limited, 0.05), ratio=0.01), CODE)


def test_temporal_differences() -> None:
    rng = np.random.default_rng(0)
    assert not said(run((0.5 + STEPS / 60) * rng.exponential(size=300), ratio=0.01), CODE)


def test_a_density_that_becomes_sharp() -> None:
    assert not said(run(noisy(-20 * (1 - np.exp(-STEPS / 60)), 0.02) - 0.1), CODE)


def test_a_gan() -> None:
    history = run(noisy(0.7 * np.exp(0.01 * STEPS), 0.02), optimizer="generator")
    other = {"critic.weight": Parameter()}
    history_of(steps=300, loss=flat(300), parameters=other, optimizer="critic", into=history)
    assert not said(history, CODE)


@pytest.mark.parametrize("loss", [falling(300), flat(300), flat(300, -1.0), 0.1 * flat(300, 1.0, 1.0) - 0.1])
@pytest.mark.parametrize("ratio", [1e-3, 0.5])
def test_ordinary_losses(loss: np.ndarray, ratio: float) -> None:
    assert not said(run(loss, ratio=ratio), CODE)


def test_few_steps() -> None:
    assert not said(run([1.0, 5.0, 25.0], ratio=0.5), CODE)
    assert sampled_steps(3) == [1, 2, 3]
