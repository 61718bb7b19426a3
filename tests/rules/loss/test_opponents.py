"""Which optimizers may play against each other: those that are stepped at the same time."""

from __future__ import annotations

import torch
from torch import nn

import diagnose
from diagnose.rules.loss._course import opponents


def test_those_that_take_turns() -> None:
    players = [nn.Linear(4, 1), nn.Linear(4, 1)]
    with diagnose.watch(schedule="every", summary=False) as watch:
        optimizers = [torch.optim.SGD(player.parameters(), lr=0.01) for player in players]
        for _ in range(10):
            for player, optimizer in zip(players, optimizers, strict=True):
                optimizer.zero_grad()
                player(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
    first, second = watch.history.optimizers
    assert opponents(watch.history, first) == [second]


def test_not_those_that_are_used_one_after_the_other() -> None:
    """The folds of a cross-validation: each optimizer counts its own steps, and they are the same numbers."""
    models = [nn.Linear(4, 1), nn.Linear(4, 1)]
    with diagnose.watch(schedule="every", summary=False) as watch:
        for model in models:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(10):
                optimizer.zero_grad()
                model(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
    assert [opponents(watch.history, name) for name in watch.history.optimizers] == [[], []]
