"""exploding-gradient: it grew by orders of magnitude, or is too large from the start, and training suffers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Layer, Parameter, history_of, sampled_steps
from tests.rules.looking import chain, falling, flat, noisy, said, the_only

CODE = "exploding-gradient"
AT = sampled_steps(300)


def run(norm: Any, loss: Any = None, ratio: Any = 0.2, **more: Any) -> History:
    more.setdefault("parameters", chain(3, ratio=ratio))
    return history_of(steps=300, loss=flat(300) if loss is None else loss, grad_norm=norm, **more)


def jump(times: float, since: int = 100) -> list[float]:
    return [1.0 if step < since else times for step in AT]


def test_a_norm_that_grew() -> None:
    finding = the_only(run(jump(1000.0)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["times_its_median"] == pytest.approx(1000)
    assert finding.evidence["limit"] == 100
    assert finding.first_step == next(step for step in AT if step >= 100)


@pytest.mark.parametrize(("times", "fires"), [(99.0, False), (100.0, True)])
def test_the_limit_is_a_hundred_times_the_median(times: float, fires: bool) -> None:
    assert bool(said(run(jump(times)), CODE)) is fires


def test_an_adaptive_optimizer_takes_ordinary_steps_on_it() -> None:
    assert not said(run(jump(1000.0), ratio=1e-3), CODE)
    assert said(run(jump(1e5), ratio=1e-3), CODE)


def test_two_spikes_are_not_three() -> None:
    two = [1000.0 if step in AT[15:17] else 1.0 for step in AT]
    three = [1000.0 if step in AT[15:18] else 1.0 for step in AT]
    assert not said(run(two), CODE)
    assert said(run(three), CODE)


def test_one_is_enough_right_before_a_break() -> None:
    norms = [1.0, 1.0, 500.0, math.inf]
    history = history_of(steps=4, loss=[2.3, 2.4, 90.0, math.inf], grad_norm=norms, parameters=chain(3, ratio=0.01))
    finding = the_only(history, CODE)
    assert finding.first_step == finding.last_step == 3


def test_chaos_at_initialisation() -> None:
    """By the slope, a change of 0.1 % would change the loss many times; the first step throws the weights far away."""
    norms = [1e6 if step == 1 else 5.0 for step in AT]
    ratios = [50.0 if step == 1 else 1e-3 for step in AT]
    finding = the_only(run(norms, ratio=ratios), CODE)
    assert finding.evidence["elasticity"] > 1e4
    assert finding.first_step == finding.last_step == 1


def test_it_is_not_blamed_for_what_a_too_large_step_did() -> None:
    norms = [1.0 if step == 1 else 1e6 if step == 2 else 1.0 for step in AT]
    ratios = [50.0 if step == 1 else 1e-3 for step in AT]
    assert not said(run(norms, ratio=ratios), CODE)


def test_a_gradient_that_grows_from_layer_to_layer() -> None:
    layers = {f"{i}.act": Layer(order=i, output_gradient=10.0 ** (-0.6 * i)) for i in range(8)}
    ratios = [50.0 if step == 1 else 1e-3 for step in AT]
    finding = the_only(run(1.0, ratio=ratios, layers=layers), CODE)
    assert finding.evidence["decades_gained"] == pytest.approx(4.2)
    assert not said(run(1.0, ratio=1e-3, layers=layers), CODE)


def test_clipping_that_has_to_save_every_step() -> None:
    clipped = {"grad_norm_before_clip": 1e6}
    assert said(run(1.0, ratio=1e-3, **clipped), CODE)
    assert not said(run(1.0, ratio=1e-3, loss=falling(300), **clipped), CODE)
    spikes = {"grad_norm_before_clip": [3e3 if step % 10 == 0 else 3.0 for step in range(1, 301)]}
    assert not said(run(1.0, ratio=1e-3, **spikes), CODE)


# -- healthy look-alikes --------------------------------------------------------------------------------


def test_a_norm_that_grows_as_the_network_leaves_a_plateau() -> None:
    assert not said(run(jump(1000.0), loss=falling(300)), CODE)


def test_the_first_steps() -> None:
    assert not said(run([1e3 if step < 4 else 1.0 for step in AT]), CODE)
    assert not said(run([1.0 if step < 4 else 1e3 for step in AT]), CODE)


def test_a_summed_loss() -> None:
    assert not said(run(5e4, loss=flat(300, 2e3)), CODE)


def test_lbfgs() -> None:
    assert not said(run(jump(1e6), closures=300), CODE)


def test_a_gan() -> None:
    history = run(jump(1000.0), optimizer="generator")
    other = {"critic.weight": Parameter()}
    history_of(steps=300, loss=flat(300, 0.7), parameters=other, optimizer="critic", into=history)
    assert not said(history, CODE)


@pytest.mark.parametrize(("gradient", "loss", "fires"), [(1e4, 1e3, True), (1e4, 3.0, False), (100.0, 1e3, False)])
def test_players_that_run_away_from_each_other(gradient: float, loss: float, fires: bool) -> None:
    growing = np.geomspace(1.0, gradient, len(AT))
    history = run(growing, loss=-np.geomspace(1.0, loss, 300), ratio=1e-2, optimizer="critic")
    history_of(steps=300, loss=flat(300, 0.7), parameters={"g.weight": Parameter()}, optimizer="g", into=history)
    assert bool(said(history, CODE)) is fires


@pytest.mark.parametrize("scaled", [False, True])
def test_a_loss_scale_is_not_taken_for_an_explosion(scaled: bool) -> None:
    """Clipping before `unscale_` finds the gradients times 65,536."""
    norms = {"grad_norm_before_clip": 65536.0 * 3, "grad_norm": 1e-5} if scaled else {"grad_norm": 65536.0 * 3}
    events = [("clipped-while-scaled", step, {"scale": 65536.0}) for step in AT] if scaled else []
    history = history_of(steps=300, loss=flat(300), parameters=chain(3, ratio=2.0), events=events, **norms)
    assert bool(said(history, CODE)) is not scaled


def test_a_policy_gradient_whose_returns_grow() -> None:
    """The norm grows a hundredfold, the loss too, and Adam takes ordinary steps."""
    growth = [1 + step**2 / 500 for step in range(1, 301)]
    history = run([growth[step - 1] for step in AT], loss=noisy(30 * falling(300, 1, 1) * growth, 0.3), ratio=1e-2)
    assert not said(history, CODE)


def test_without_a_loss_it_says_nothing() -> None:
    assert not said(history_of(steps=300, grad_norm=jump(1e6), parameters=chain(3, ratio=0.2)), CODE)
