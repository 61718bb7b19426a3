"""Tiny trainings with a loss to be looked at, and objectives to be written down by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import diagnose
from diagnose.history import History, ObjectiveFacts

Loss = Callable[[Tensor, Tensor], Tensor]


def trained(
    loss: Loss,
    *end: nn.Module,
    outputs: int = 5,
    steps: int = 12,
    lr: float = 0.01,
    targets: Callable[[Tensor], Tensor] | None = None,
) -> History:
    """A small network, with `end` after its last layer, trained on `loss(outputs, targets)`.

    Args:
        targets: from inputs of shape (32, 8); by default one of five classes.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs), *end)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    true = torch.randn(8, 5)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            inputs = torch.randn(32, 8)
            wanted = (inputs @ true).argmax(1) if targets is None else targets(inputs)
            optimizer.zero_grad()
            loss(model(inputs), wanted).backward()
            optimizer.step()
    assert [event.detail for event in watch.history.events("collector-failed")] == []
    return watch.history


def only(history: History) -> ObjectiveFacts:
    """The one objective of a run."""
    (facts,) = history.objectives.values()
    return facts


def with_objective(history: History | None = None, **facts: Any) -> History:
    """A history with one objective."""
    history = history if history is not None else History()
    stated = {"name": "cross_entropy", "file": "train.py", "line": 7, "calls": 20, "used": 20, "last_step": 100} | facts
    history.objectives[f"{stated['name']} (train.py:7)"] = ObjectiveFacts(**{"first_step": 1, **stated})
    return history
