"""How long the graphs behind losses stay alive."""

from __future__ import annotations

import collections
import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import diagnose
from diagnose.history import LifetimeFacts


def lifetimes(keep: Callable[[Tensor], object], *, scale: bool = False, steps: int = 12) -> list[LifetimeFacts]:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad()
            (loss / 2 if scale else loss).backward()
            optimizer.step()
            keep(loss)
            del loss
    assert watch.history.count("collector-failed") == 0
    return watch.history.lifetimes


def test_nobody_keeps_it() -> None:
    assert [facts.died for facts in lifetimes(lambda _: None)] == list(range(1, 13))


@pytest.mark.parametrize("scale", [False, True])
def test_a_list_keeps_them(scale: bool) -> None:
    losses: list[Tensor] = []
    found = lifetimes(losses.append, scale=scale)
    assert [facts.born for facts in found] == list(range(12))
    assert all(facts.died is None for facts in found)
    assert found[0].file == __file__


def test_a_sum_keeps_them() -> None:
    total: list[Tensor] = [torch.zeros(())]

    def add(loss: Tensor) -> None:
        total[0] = total[0] + loss

    assert all(facts.died is None for facts in lifetimes(add))


@pytest.mark.parametrize("take", [Tensor.item, Tensor.detach])
def test_numbers_do_not(take: Callable[[Tensor], object]) -> None:
    values: list[object] = []
    assert all(facts.died is not None for facts in lifetimes(lambda loss: values.append(take(loss))))


def test_a_window_frees_the_oldest() -> None:
    window: collections.deque[Tensor] = collections.deque(maxlen=3)
    # One is born before, and freed after, its step has been counted.
    assert {facts.died - facts.born for facts in lifetimes(window.append) if facts.died is not None} == {4}


def test_freed_after_the_watch_has_ended() -> None:
    losses: list[Tensor] = []
    found = lifetimes(losses.append)
    losses.clear()
    gc.collect()
    assert all(facts.died is None for facts in found)
