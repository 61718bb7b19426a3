"""Healthy runs that look ill: no rule may raise an alarm."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from diagnose.history import History
from diagnose.rules import all_rules, diagnose_history
from diagnose.testing import Layer, Parameter, history_of, sampled_steps
from tests.rules.looking import chain, falling, flat, loud, noisy

LOOK_ALIKES: dict[str, Callable[[], History]] = {}


def look_alike(build: Callable[[], History]) -> Callable[[], History]:
    LOOK_ALIKES[build.__name__] = build
    return build


@look_alike
def a_plain_classifier() -> History:
    return history_of(
        loss=falling(300),
        grad_fn="NllLossBackward0",
        grad_norm=1.0,
        parameters={
            **chain(6),
            "head.weight": Parameter((10, 64)),
            "head.bias": Parameter((10,), rms=0.0, ratio=math.nan),
        },
        layers={"relu": Layer(dead=0.3), "tanh": Layer("tanh", saturated=0.2)},
    )


@look_alike
def a_run_of_twenty_steps() -> History:
    return history_of(steps=20, loss=flat(20), grad_norm=1.0, parameters=chain(6), layers={"relu": Layer(dead=0.4)})


@look_alike
def a_converged_classifier_that_goes_on() -> History:
    return history_of(
        loss=flat(300, 0.05, 0.5), grad_fn="NllLossBackward0", grad_norm=0.1, parameters=chain(6, ratio=1e-5)
    )


@look_alike
def a_fine_tune_with_a_small_learning_rate() -> History:
    return history_of(loss=falling(300, 0.9, 0.5), parameters=chain(6, ratio=1e-5))


@look_alike
def a_frozen_body_and_a_trained_head() -> History:
    frozen = Parameter(gradient=None, ratio=None, changed=False, requires_grad=False, held=False)
    return history_of(
        loss=falling(300), parameters={"body.0.weight": frozen, "body.1.weight": frozen, "head.weight": Parameter()}
    )


@look_alike
def a_teacher_and_a_student() -> History:
    teacher = Parameter(gradient=None, ratio=None, changed=False, held=False, forwards=0, order=None)
    return history_of(
        loss=falling(300), parameters={"teacher.0.weight": teacher, **{f"student.{n}": p for n, p in chain(3).items()}}
    )


@look_alike
def warm_up_and_cosine_to_zero() -> History:
    def rate(step: int) -> float:
        return step / 50 if step < 50 else 0.5 * (1 + math.cos(math.pi * (step - 50) / 250))

    return history_of(
        loss=falling(300), lr=lambda step: 1e-3 * rate(step), parameters=chain(4, ratio=lambda step: 1e-2 * rate(step))
    )


@look_alike
def a_warm_up_that_has_hardly_begun() -> History:
    return history_of(loss=flat(300), lr=lambda step: 1e-9 * step, parameters=chain(6, ratio=lambda step: 1e-9 * step))


@look_alike
def warm_restarts() -> History:
    loss = np.concatenate([falling(100, 2.3, 0.5), falling(100, 0.9, 0.3), falling(100, 0.7, 0.2)])
    return history_of(loss=loss, parameters=chain(4))


@look_alike
def a_lora_pair() -> History:
    growing = Parameter((64, 4), rms=lambda step: 1e-4 * step, ratio=lambda step: 1 / step)
    return history_of(loss=falling(300, 1.0, 0.5), parameters={"a": Parameter((4, 64)), "b": growing})


@look_alike
def a_zero_initialised_residual_branch() -> History:
    at = sampled_steps(300)
    late = {n: Parameter(gradient=[0.0 if step < 3 else 1e-3 for step in at]) for n in chain(5)}
    return history_of(loss=falling(300), parameters={**late, "head.weight": Parameter((10, 64))})


@look_alike
def a_gan() -> History:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=300)) * 0.02
    history = history_of(loss=0.7 * np.exp(walk), parameters={f"g.{n}": p for n, p in chain(5).items()}, optimizer="g")
    return history_of(
        loss=1.4 * np.exp(-walk), parameters={f"d.{n}": p for n, p in chain(5).items()}, optimizer="d", into=history
    )


@look_alike
def a_wasserstein_critic_with_five_steps() -> History:
    critic = history_of(
        steps=500, loss=noisy(-np.linspace(0.1, 20, 500), 0.1), parameters={"c.weight": Parameter()}, optimizer="c"
    )
    return history_of(
        steps=100,
        loss=noisy(np.linspace(0.1, 20, 100), 0.1),
        parameters={"g.weight": Parameter()},
        optimizer="g",
        into=critic,
    )


@look_alike
def a_policy_gradient_with_baseline() -> History:
    rng = np.random.default_rng(0)
    return history_of(loss=rng.normal(size=300) * 0.1, grad_norm=1.0, parameters=chain(4))


@look_alike
def a_policy_gradient_whose_returns_grow() -> History:
    returns = 30 * (1 + np.arange(300) / 5)
    return history_of(loss=noisy(returns, 0.4), grad_norm=lambda step: 1.0 + step, parameters=chain(4, ratio=1e-2))


@look_alike
def a_deep_q_network() -> History:
    rng = np.random.default_rng(1)
    return history_of(loss=(0.3 + np.arange(300) / 60) * rng.exponential(size=300), parameters=chain(4, ratio=1e-2))


@look_alike
def a_vae_with_a_kl_term_that_is_phased_in() -> History:
    reconstruction = falling(300, 500, 150, 0.02)
    return history_of(loss=reconstruction + np.minimum(np.arange(300), 100), parameters=chain(4))


@look_alike
def a_density_model_below_zero() -> History:
    return history_of(loss=noisy(3 - 8 * (1 - np.exp(-np.arange(300) / 80)), 0.02), parameters=chain(4))


@look_alike
def a_cosine_loss_between_minus_one_and_zero() -> History:
    return history_of(loss=falling(300, 0.9, 0.05) - 0.95, parameters=chain(4))


@look_alike
def tasks_one_after_the_other() -> History:
    return history_of(loss=np.concatenate([falling(100), falling(100), falling(100)]), parameters=chain(4))


@look_alike
def one_loss_spike() -> History:
    loss = falling(300)
    loss[150:153] = 50
    return history_of(
        loss=loss, grad_norm=[80.0 if 148 <= s <= 160 else 1.0 for s in sampled_steps(300)], parameters=chain(4)
    )


@look_alike
def a_recurrent_language_model_that_is_clipped_at_every_step() -> History:
    norms = 10 * np.exp(np.random.default_rng(0).normal(size=300))
    return history_of(loss=falling(300, 5.0, 2.0), grad_norm=0.25, grad_norm_before_clip=norms, parameters=chain(3))


@look_alike
def a_norm_that_grows_when_the_plateau_is_left() -> History:
    loss = np.concatenate([flat(60), falling(240)])
    return history_of(loss=loss, grad_norm=lambda step: 0.01 if step < 60 else 3.0, parameters=chain(5))


@look_alike
def a_summed_loss() -> History:
    return history_of(loss=300 * falling(300), grad_norm=1e3, parameters=chain(4, gradient=1.0))


@look_alike
def lbfgs() -> History:
    return history_of(
        steps=30,
        loss=falling(30, 1.0, 1e-6, 0.0),
        grad_norm=lambda step: 10.0 ** (-step / 5),
        parameters=chain(2, ratio=lambda step: 2.0 if step == 1 else 0.1),
        closures=30,
        optimizer_type="LBFGS",
    )


@look_alike
def a_tiny_network_with_a_large_learning_rate() -> History:
    tiny = {
        "0.weight": Parameter((8, 2), rms=0.5, ratio=lambda step: 0.4 / step),
        "2.weight": Parameter((1, 8), rms=0.5, ratio=0.05),
    }
    return history_of(loss=falling(300, 0.7, 0.001), parameters=tiny)


@look_alike
def a_weak_signal_in_strong_noise() -> History:
    small = {"weight": Parameter((1, 20), rms=0.05, ratio=0.3)}
    return history_of(loss=noisy(np.full(300, 1.0), 0.2), parameters=small)


@look_alike
def gradscaler_searches_its_scale() -> History:
    return history_of(
        loss=falling(300),
        parameters=chain(4),
        events=[
            ("step-skipped", 0, {}),
            ("step-skipped", 0, {}),
            ("non-finite", 1, {"what": "gradient", "value": "inf"}),
        ],
    )


@look_alike
def masks_of_minus_infinity() -> History:
    return history_of(
        loss=falling(300), parameters=chain(4), events=[("non-finite", 1, {"what": "activation", "value": "inf"})]
    )


@look_alike
def a_deep_plain_network_with_half_of_its_units_dead() -> History:
    return history_of(loss=falling(300), parameters=chain(12), layers={f"{i}.relu": Layer(dead=0.5) for i in range(12)})


@look_alike
def gates_and_outputs_that_close() -> History:
    layers = {
        "gate": Layer("sigmoid", saturated=0.95, role="gate"),
        "output": Layer("sigmoid", saturated=0.95, role="output"),
        "relu-gate": Layer(dead=0.95, role="gate"),
    }
    return history_of(loss=falling(300), parameters=chain(4), layers=layers)


@look_alike
def a_head_that_the_loss_does_not_use() -> History:
    unused = Parameter(gradient=None, ratio=None, changed=False)
    never = Parameter(gradient=None, ratio=None, changed=False, forwards=0, order=None)
    return history_of(
        loss=falling(300), parameters={"body.weight": Parameter(), "aux.weight": unused, "old.weight": never}
    )


@look_alike
def a_functional_model() -> History:
    bare = Parameter(module="", module_type="", order=None)
    return history_of(loss=falling(300), grad_norm=1.0, parameters={"w1": bare, "w2": bare})


@look_alike
def two_losses_of_which_one_stays() -> History:
    return history_of(loss={"task": falling(300), "penalty": flat(300, 0.5, 0.001)}, parameters=chain(4))


@pytest.mark.parametrize("build", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_no_alarm(build: Callable[[], History]) -> None:
    diagnosis = diagnose_history(build(), all_rules(), strict=True)
    assert [(finding.code, finding.message) for finding in loud(diagnosis.findings)] == []
