"""An optimizer that makes its first step between two samples: the step counts, and its loss is its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import diagnose
from diagnose.collect.session import Session


class Never:
    """Samples nothing, unless something new begins."""

    def next_after(self, step: int) -> int:
        return step + 1_000_000

    def spent(self, *, own_s: float, wall_s: float, step: int) -> None:
        pass

    def alarm(self, step: int) -> bool:
        return False

    def restart(self, step: int) -> bool:
        return False


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, closure: Callable[..., Any]) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = closure(model)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


def far_from(x: Tensor) -> Callable[[nn.Module], Tensor]:
    return lambda model: nn.functional.mse_loss(model(x), torch.zeros(len(x), 1))


class Twice(torch.optim.Optimizer):
    """Makes each step with an optimizer inside of it."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})
        self.base = torch.optim.SGD(self.param_groups, lr=0.01)

    def step(self, closure: Any = None) -> None:
        self.base.step()
        self.base.step()


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, lr=0.01), Twice])
def test_a_second_phase_of_training(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    model = nn.Linear(3, 1)
    session = Session(models={}, optimizers=(), schedule=Never())
    try:
        train(model, torch.optim.SGD(model.parameters(), lr=0.01), 5, far_from(torch.randn(8, 3)))
        second = make(model.parameters())
        losses = train(model, second, 3, far_from(100 * torch.randn(8, 3)))
    finally:
        session.close()
    names = list(session.shared.step_of)
    assert session.shared.step_of[names[0]] == 5
    history = session.history
    (series,) = [history.series("loss", n) for n, facts in history.losses.items() if facts.optimizer == names[1]]
    if isinstance(second, Twice):
        assert len(names) == 2  # not that inside of it
        return
    assert session.shared.step_of[names[1]] == 3
    assert series.steps.tolist() == [1, 2, 3]
    assert series.values.tolist() == pytest.approx(losses)


def test_steps_are_counted_from_the_first() -> None:
    model = nn.Linear(3, 1)
    with diagnose.watch(summary=False) as watch:
        for steps in (100, 50):
            train(model, torch.optim.SGD(model.parameters(), lr=0.01), steps, far_from(torch.randn(8, 3)))
    assert watch.report().run.steps == 150
