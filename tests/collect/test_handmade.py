"""Steps that no optimizer of torch's makes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

import diagnose
from diagnose.history import History

Make = Callable[[nn.Module, int], None]


@torch.no_grad()
def step(model: nn.Module) -> None:
    for p in model.parameters():
        p -= 0.01 * p.grad


def without_clearing(model: nn.Module, number: int) -> None:
    step(model)


def by_data(model: nn.Module, number: int) -> None:
    for p in model.parameters():
        p.data = p.data - 0.01 * p.grad


def cleared_rarely(model: nn.Module, number: int) -> None:
    step(model)
    if number % 4 == 3:
        model.zero_grad()


def by_model(model: nn.Module, number: int) -> None:
    step(model)
    model.zero_grad()


def to_zero(model: nn.Module, number: int) -> None:
    step(model)
    for p in model.parameters():
        p.grad.zero_()


def to_zero_by_data(model: nn.Module, number: int) -> None:
    step(model)
    for p in model.parameters():
        p.grad.data.zero_()


def friction(model: nn.Module, number: int) -> None:
    """Heavy ball: gradients are meant to add up, and fade."""
    step(model)
    for p in model.parameters():
        p.grad.data.mul_(0.9)


def accumulation(model: nn.Module, number: int) -> None:
    if number % 4 == 3:
        step(model)
        model.zero_grad()


def nothing(model: nn.Module, number: int) -> None:
    pass


def watched(make: Make, steps: int = 12, model: nn.Module | None = None) -> tuple[History, list[str]]:
    torch.manual_seed(0)
    model = model if model is not None else nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    with diagnose.watch(schedule="every", summary=False) as watch:
        for number in range(steps):
            model(torch.randn(16, 4)).square().mean().backward()
            make(model, number)
    assert watch.history.count("collector-failed") == 0
    return watch.history, [finding.code for finding in watch.findings]


@pytest.mark.parametrize(
    ("make", "steps", "stale"), [(without_clearing, 11, 10), (by_data, 11, 10), (cleared_rarely, 11, 6)]
)
def test_gradients_that_are_left(make: Make, steps: int, stale: int) -> None:
    history, codes = watched(make)
    (facts,) = history.handmade
    assert (facts.steps, facts.stale, facts.file) == (steps, stale, __file__)
    assert codes == ["gradients-not-cleared"]


@pytest.mark.parametrize(
    ("make", "steps"),
    [(by_model, 11), (to_zero, 11), (to_zero_by_data, 11), (friction, 11), (accumulation, 2), (nothing, 0)],
)
def test_healthy(make: Make, steps: int) -> None:
    history, codes = watched(make)
    assert sum(facts.steps for facts in history.handmade) == steps
    assert not any(facts.stale for facts in history.handmade)
    assert codes == []


def test_of_two_models_the_other_may_be_cleared_later() -> None:
    torch.manual_seed(0)
    models = nn.Linear(4, 1), nn.Linear(4, 1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(8):
            for model in models:
                model.zero_grad()
                model(torch.randn(16, 4)).square().mean().backward()
                step(model)
    assert not any(facts.stale for facts in watch.history.handmade)
    assert not watch.findings


def test_a_critic_through_which_the_loss_of_another_goes() -> None:
    torch.manual_seed(0)
    maker, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(8):
            made = maker(torch.randn(16, 2))
            critic.zero_grad()
            (critic(made.detach()).square().mean() - critic(torch.randn(16, 4)).mean()).backward()
            step(critic)
            maker.zero_grad()
            critic(made).mean().backward()
            step(maker)
    assert not any(facts.stale for facts in watch.history.handmade)
    assert "gradients-not-cleared" not in [finding.code for finding in watch.findings]


def test_an_optimizer_of_torchs_is_not_handmade() -> None:
    optimizers: list[torch.optim.Optimizer] = []

    def make(model: nn.Module, number: int) -> None:
        optimizers.append(optimizers[0] if optimizers else torch.optim.SGD(model.parameters(), lr=0.01))
        optimizers[0].step()

    history, _ = watched(make)
    assert not history.handmade


def test_nothing_is_kept_alive_and_only_the_first_passes_are_looked_at() -> None:
    kept: list[weakref.ref[nn.Module]] = []

    def run() -> None:
        model = nn.Linear(4, 1)
        kept.append(weakref.ref(model))
        history, _ = watched(by_model, steps=60, model=model)
        assert history.handmade[0].steps == 31

    run()
    gc.collect()
    assert kept[0]() is None
