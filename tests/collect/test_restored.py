"""Modules that are evaluated without something that their state lacked."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import diagnose
from diagnose.history import LoadFacts


def net(head: str = "head") -> nn.Sequential:
    model = nn.Sequential()
    model.add_module("trunk", nn.Linear(4, 8))
    model.add_module("norm", nn.BatchNorm1d(8))
    model.add_module(head, nn.Linear(8, 2))
    return model


class Hidden(nn.Module):
    """Goes on from where the last batch ended."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 2)
        self.register_buffer("h", torch.zeros(8, 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != len(self.h):
            return self.cell(x)
        out = self.cell(x, self.h)
        self.h = torch.randn_like(out)  # as unlike the last one as can be
        return out


def train(model: nn.Module, steps: int = 8) -> None:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


def evaluate(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        model(torch.randn(16, 4))


def loads(program: Callable[[], None]) -> list[LoadFacts]:
    with diagnose.watch(schedule="every", summary=False) as watch:
        program()
    assert watch.history.count("collector-failed") == 0
    return watch.history.loads


@pytest.mark.parametrize("estimated", [False, True])
def test_parameters_without_running_statistics(estimated: bool) -> None:
    def program() -> None:
        model = net()
        train(model)
        other = net()
        other.load_state_dict({n: p.detach().clone() for n, p in model.named_parameters()}, strict=False)
        if estimated:
            with torch.no_grad():
                other(torch.randn(16, 4))
        evaluate(other)

    lost = [load.lost for load in loads(program)]
    assert lost == ([] if estimated else [("norm.running_mean", "norm.running_var")])


@pytest.mark.parametrize("trained", [False, True])
def test_a_part_of_it(trained: bool) -> None:
    def program() -> None:
        model = net()
        train(model)
        other = net("top")
        other.load_state_dict(model.state_dict(), strict=False)
        evaluate(other)
        if trained:
            train(other)

    assert [load.part_evaluated for load in loads(program) if load.part_evaluated] == ([] if trained else [True])


def test_a_hidden_state_is_not_learned() -> None:
    def program() -> None:
        model = Hidden()
        train(model)
        other = Hidden()
        other.load_state_dict(model.state_dict())
        evaluate(other)

    assert loads(program) == []


def test_renamed_layers_and_a_new_head() -> None:
    def renamed(old: nn.Module, new: nn.Module) -> list[LoadFacts]:
        def program() -> None:
            new.load_state_dict(old.state_dict(), strict=False)

        return loads(program)

    def deep(trunk: str, head: str, classes: int = 2) -> nn.Sequential:
        model = nn.Sequential()
        model.add_module(trunk, nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8)))
        model.add_module(head, nn.Linear(8, classes))
        model.add_module("last", nn.Sequential(nn.Linear(classes, 2)))
        return model

    (load,) = renamed(deep("features", "fc"), deep("backbone", "fc"))
    assert (load.renamed, load.renamed_weights, load.inner) == (("features.0.weight", "backbone.0.weight"), 2, True)
    (load,) = renamed(net("fc"), net("head"))
    assert (load.renamed_weights, load.inner) == (1, False)


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_state_that_is_loaded_where_it_lies(is_trained: bool) -> None:
    def program() -> None:
        model = net()
        train(model if is_trained else net())
        state = model.state_dict()
        model.load_state_dict(state)
        with torch.no_grad():
            for tensor in state.values():
                if tensor.is_floating_point():
                    tensor.mul_(0.5)
        model.load_state_dict(state)

    assert [load.idle for load in loads(program)] == ([] if is_trained else [True])


def test_nothing_is_kept() -> None:
    def program() -> None:
        model = net()
        train(model)
        twin = copy.deepcopy(model)
        twin.load_state_dict(model.state_dict())
        evaluate(twin)

    assert loads(program) == []
