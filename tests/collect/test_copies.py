"""Parameters that begin as copies of one another."""

from __future__ import annotations

import copy
import gc
import weakref

import torch
from torch import Tensor, nn

import diagnose
from diagnose.history import History


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 5)
        self.head = nn.Linear(5, 7, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.table(ids))
        return logits


def trained(model: nn.Module, steps: int = 10, *, after: bool = False) -> History:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            model(torch.randint(7, (8,))).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if after:
                model.head.weight.data.copy_(model.table.weight.data)  # type: ignore[union-attr, operator, arg-type]
    assert watch.history.count("collector-failed") == 0
    return watch.history


def copied() -> Model:
    model = Model()
    model.head.weight = nn.Parameter(model.table.weight.detach().clone())
    return model


def test_a_copy_of_the_embedding() -> None:
    (twins,) = trained(copied()).twins
    assert (twins.table, twins.other) == ("table.weight", "head.weight")
    assert (twins.parted_at, twins.first_step, twins.last_step) == (2, 1, 10)
    assert twins.distance > 0.01


def test_a_copy_that_is_renewed_after_each_step_has_not_parted() -> None:
    (twins,) = trained(copied(), after=True).twins
    assert (twins.parted_at, twins.distance) == (None, 0.0)


def test_tied_untied_and_constant_weights_are_no_copies() -> None:
    tied, constant = Model(), Model()
    tied.head.weight = tied.table.weight
    nn.init.ones_(constant.head.weight)
    nn.init.ones_(constant.table.weight)
    for model in (tied, constant, Model()):
        assert not trained(model).twins


def test_one_memory_under_two_names_is_no_copy() -> None:
    model = Model()
    model.head.weight.data = model.table.weight.data
    assert not trained(model).twins


def test_layers_of_one_kind() -> None:
    model = Model()
    model.table = nn.Sequential(model.table, nn.Linear(5, 5))  # type: ignore[assignment]
    model.head = nn.Sequential(copy.deepcopy(model.table[1]), model.head)  # type: ignore[assignment, index]
    assert not trained(model).twins


def test_a_copy_of_a_tied_embedding_is_meant() -> None:
    model = Model()
    model.head.weight = model.table.weight
    model.extra = nn.Linear(5, 7, bias=False)
    model.extra.weight.data.copy_(model.head.weight.data)
    assert not trained(model).twins


def test_nothing_is_kept_alive() -> None:
    model = copied()
    reference = weakref.ref(model)
    trained(model)
    del model
    gc.collect()
    assert reference() is None
