"""update-too-large: the weights change by a large share of their size, and training suffers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of, sampled_steps
from tests.rules.looking import chain, falling, flat, loud, noisy, said, the_only
from tests.rules.objective.runs import with_objective

CODE = "update-too-large"
AT = sampled_steps(300)


GUESSING = flat(300, 4.2)  # 64 classes: ln 64 = 4.16


def run(ratio: Any, loss: Any = None, **more: Any) -> History:
    more.setdefault("parameters", chain(3, ratio=ratio))
    more.setdefault("grad_fn", "NllLossBackward0" if loss is None else "MseLossBackward0")
    return history_of(steps=300, loss=GUESSING if loss is None else loss, **more)


def own_growth(step: int) -> float:
    """An Adam whose learning rate is far above the weights: 14 times their size, then 1/2, 1/3, 1/4 ..."""
    return 14.0 if step == 1 else 0.5 / step


def test_a_first_step_that_overwrites_the_weights() -> None:
    finding = the_only(run(own_growth), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["update_ratio"] == 14
    assert finding.evidence["limit"] == 1
    assert finding.first_step == finding.last_step == 1


def test_it_overwrote_them_and_jumped_and_half_recovered() -> None:
    loss = np.concatenate([[2.3, 60.0, 9.0], falling(297, 2.3, 0.6)])
    assert the_only(run(own_growth, loss=loss), CODE).severity is Severity.ERROR


def test_it_overwrote_them_and_all_went_well() -> None:
    """A learning rate of 4 that trains well."""
    assert the_only(run(own_growth, loss=falling(300)), CODE).severity is Severity.INFO


def test_step_after_step() -> None:
    finding = the_only(run(0.3), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["update_ratio"] == pytest.approx(0.3)
    assert (finding.first_step, finding.last_step) == (1, AT[-1])


@pytest.mark.parametrize(("ratio", "fires"), [(0.1, False), (0.1001, True)])
def test_the_limit_is_a_tenth(ratio: float, fires: bool) -> None:
    # The loss rose and came down to 88 % of its start: too much for ten steps in a row, not for their sum.
    loss = np.concatenate([flat(10), flat(40, 4.0), falling(250, 2.3, 2.0)])
    assert bool(loud(said(run(ratio, loss=loss), CODE))) is fires


def test_ten_steps_together() -> None:
    """Adam at 0.1: 0.97, 0.48, 0.3 ... of the weights; the loss never leaves that of guessing."""
    finding = the_only(run(lambda step: 0.97 / step), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["update_ratio"] == pytest.approx(0.97 * sum(1 / s for s in range(1, 11)))
    assert not said(run(lambda step: 0.97 / step, loss=falling(300, 2.3, 1.5)), CODE)


def test_ten_steps_together_that_a_trained_model_never_recovers_from() -> None:
    """A fine-tune at a hundred times the learning rate: the first loss, which no step has touched, stays the lowest."""
    broken, recovered = (np.concatenate([[0.35, 277.0], falling(298, 4.0, end)]) for end in (1.5, 0.2))
    assert the_only(run(lambda step: 0.97 / step, loss=broken), CODE).severity is Severity.ERROR
    assert not loud(said(run(lambda step: 0.97 / step, loss=recovered), CODE))


def test_two_samples_are_enough_before_a_break() -> None:
    def breaking(ratios: list[float]) -> History:
        loss = [2.3, 20.0, 1e9, math.inf]
        return history_of(steps=4, loss=loss, parameters=chain(3, ratio=[*ratios, math.inf]))

    assert said(breaking([0.01, 0.5, 0.9]), CODE)
    assert not said(breaking([0.01, 0.01, 0.9]), CODE)
    assert not said(breaking([0.01, 0.01, 0.01]), CODE)


def test_it_lasts_to_the_end_and_the_loss_hovers() -> None:
    wandering = 1.2 + 0.4 * np.sin(np.arange(200) / 8)
    hovering = noisy(np.concatenate([falling(100, 15, 1), wandering]), 0.1)
    assert the_only(run(0.3, loss=hovering), CODE).severity is Severity.WARNING
    still_falling = noisy(15 * np.exp(-0.01 * np.arange(300)), 0.05)
    assert not loud(said(run(0.3, loss=still_falling), CODE))


@pytest.mark.parametrize(("late", "fires"), [(3.9, True), (2.0, False)])
def test_it_lasts_to_the_end_and_the_loss_stays_near_guessing(late: float, fires: bool) -> None:
    """However high the loss began: distances as logits begin far above ln 64."""
    loss = noisy(late + 8 * np.exp(-0.1 * np.arange(300)), 0.05)
    history = with_objective(run(0.3, loss=loss), classes=64, uninformed=math.log(64), alone=20, optimizer="SGD")
    (scope,) = history.objectives
    for step in AT:
        history.record("objective", step, {scope: loss[step - 1]}, clock="SGD")
    assert bool(loud(said(history, CODE))) is fires


@pytest.mark.parametrize(("late", "fires"), [(3.0, True), (1.5, False)])
def test_ten_steps_replaced_the_weights_and_the_loss_wanders(late: float, fires: bool) -> None:
    wandering = late + 0.4 * np.sin(np.arange(300) / 15)
    loss = noisy(np.concatenate([[4.16, 6.0, 6.5, 6.2, 6.0], wandering[5:]]), 0.1)
    history = run([0.3 if step <= 10 else 0.01 for step in AT], loss=loss, grad_fn="NllLossBackward0")
    assert bool(loud(said(history, CODE))) is fires


def test_the_worst_weight_is_named() -> None:
    parameters = {**chain(2, ratio=2.0), "head.weight": Parameter((10, 64), ratio=40.0)}
    assert the_only(run(0, parameters=parameters), CODE).where.parameter == "head.weight"


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_biases_and_embeddings() -> None:
    parameters = {
        **chain(2),
        "0.bias": Parameter((64,), ratio=50.0),
        "embed.weight": Parameter((10_000, 64), ratio=50.0, module_type="Embedding"),
    }
    assert not said(run(0, parameters=parameters), CODE)


def test_a_small_head_does_not_speak_for_the_model() -> None:
    assert not said(run(0, parameters={**chain(3), "head.weight": Parameter((2, 64), ratio=50.0)}), CODE)


def test_weights_that_grow_from_zero() -> None:
    """LoRA: 1, 1/2, 1/3 ... until it has a size."""
    growing = Parameter((64, 4), rms=lambda step: 1e-3 * step, ratio=lambda step: 1 / step)
    assert not said(run(0, parameters={"b": growing}), CODE)
    assert said(run(0, parameters={"b": Parameter((64, 4), rms=0.5, ratio=lambda step: 1 / step)}), CODE)


def test_large_updates_while_the_loss_falls() -> None:
    assert not loud(said(run(lambda step: 0.3 if step < 30 else 0.01, loss=falling(300)), CODE))


def test_one_spike() -> None:
    assert not said(run([0.9 if step == AT[12] else 1e-3 for step in AT]), CODE)


@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_a_weak_signal_under_strong_noise(noise: float) -> None:
    """Its weights are small, and shaken by more than a tenth in every step, without harm."""
    for end in (4.0, 4.65):
        assert not loud(said(run(0.3, loss=noisy(falling(300, 4.7, end, 0.0), noise)), CODE))


def test_a_gan() -> None:
    history = run(0.3, optimizer="generator")
    history_of(steps=300, loss=flat(300), parameters={"critic.weight": Parameter()}, optimizer="critic", into=history)
    assert not loud(said(history, CODE))


def test_without_a_loss_it_says_nothing() -> None:
    assert not said(history_of(steps=300, parameters=chain(3, ratio=14.0)), CODE)


def test_a_run_made_so_wild_that_no_level_stands_out() -> None:
    """The first loss is ln 10; one step as large as the weights, and it is never as low again."""
    wild = np.random.default_rng(0).lognormal(2.5, 1.5, 300) + 2.4
    wild[0] = 2.303
    history = history_of(
        loss=wild, parameters={"fc.weight": Parameter((64, 64), ratio=lambda s: 1.3 if s == 2 else 0.05)}
    )
    assert said(history, CODE)
    wild[-5] = 2.2
    history = history_of(
        loss=wild, parameters={"fc.weight": Parameter((64, 64), ratio=lambda s: 1.3 if s == 2 else 0.05)}
    )
    assert not [finding for finding in said(history, CODE) if finding.severity is Severity.ERROR]
