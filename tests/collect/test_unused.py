"""Forward passes with gradients that no backward goes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.history import History
from diagnose.schedule import BudgetSteps
from tests.rules.looking import said

CODE = "train-mode-in-eval"
STEPS = 6


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def data(rows: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    return TensorDataset(x, x[:, :3].argmax(1))


def history_of_run(after: Callable[[nn.Module, int], Any], epochs: int = 4, schedule: Any = "every") -> History:
    """Trains, and calls `after` after each epoch."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data(8 * STEPS, 0), batch_size=8, shuffle=True)
    with diagnose.watch(schedule=schedule, summary=False) as watch:
        for epoch in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            after(model, epoch)
    assert watch.history.count("collector-failed") == 0
    return watch.history


HELD_OUT = DataLoader(data(32, 1), batch_size=8)


def correct(model: nn.Module, epoch: int) -> int:
    return sum(int((model(x).argmax(1) == y).sum()) for x, y in HELD_OUT)


def mean_loss(model: nn.Module, epoch: int) -> float:
    return sum(F.cross_entropy(model(x), y).item() for x, y in HELD_OUT) / len(HELD_OUT)


def only_at_the_end(model: nn.Module, epoch: int) -> None:
    if epoch == 3:
        correct(model, epoch)


@pytest.mark.parametrize("evaluate", [correct, mean_loss, only_at_the_end])
def test_an_evaluation_with_gradients(evaluate: Callable[[nn.Module, int], Any]) -> None:
    (finding,) = said(history_of_run(evaluate), CODE)
    assert "with gradients" in finding.message
    assert (finding.where.file, finding.evidence["active"]) == (__file__, ["2"])


def test_a_loader_tells_where_no_step_is_sampled() -> None:
    history = history_of_run(correct, epochs=12, schedule=BudgetSteps(0.02))
    assert history.count("forward-unused") >= 8
    assert said(history, CODE)


def in_evaluation_mode(model: nn.Module, epoch: int) -> None:
    model.eval()
    correct(model, epoch)
    model.train()


def hard_ones(model: nn.Module, epoch: int) -> None:
    for x, y in DataLoader(data(8 * STEPS, 0), batch_size=8, shuffle=True):
        F.cross_entropy(model(x), y, reduction="none").detach().topk(3)


def a_bank(model: nn.Module, epoch: int) -> list[Tensor]:
    if epoch == 3:
        return []
    return [model(x).detach() for x, _ in DataLoader(data(8 * STEPS, 0), batch_size=8, shuffle=True)]


def a_sample(model: nn.Module, epoch: int) -> None:
    model(torch.randn(8, 4)).detach()


def monte_carlo(model: nn.Module, epoch: int) -> None:
    x = torch.ones(8, 4)
    torch.stack([model(x).softmax(1) for _ in range(8)]).mean(0)


def statistics_anew(model: nn.Module, epoch: int) -> None:
    for x, _ in HELD_OUT:
        model(x)


def a_penalty(model: nn.Module, epoch: int) -> None:
    for x, _ in HELD_OUT:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(model(leaf).sum(), leaf)


@pytest.mark.parametrize(
    "after", [in_evaluation_mode, hard_ones, a_bank, a_sample, monte_carlo, statistics_anew, a_penalty]
)
def test_healthy(after: Callable[[nn.Module, int], Any]) -> None:
    assert not said(history_of_run(after), CODE)


def test_losses_that_are_added_up_for_a_later_backward() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        kept: list[Tensor] = []
        for step in range(12):
            x, y = data(8, step).tensors
            kept.append(F.cross_entropy(model(x), y))
            if step % 4 == 3:
                optimizer.zero_grad()
                torch.stack(kept).mean().backward()
                optimizer.step()
                kept.clear()
    assert watch.history.count("forward-unused") == 0


def test_the_loader_is_given_back() -> None:
    before = DataLoader.__iter__
    history_of_run(correct, epochs=1)
    assert DataLoader.__iter__ is before
