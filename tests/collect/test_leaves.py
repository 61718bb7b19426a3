"""Trainable leaves that no module registers and no optimizer holds."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

import diagnose
from diagnose.history import History


class Net(nn.Module):
    def __init__(self, blocks: object) -> None:
        super().__init__()
        self.inlet, self.outlet = nn.Linear(4, 6), nn.Linear(6, 1)
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        x = self.inlet(x)
        blocks = self.blocks.values() if isinstance(self.blocks, dict) else self.blocks
        assert isinstance(blocks, Iterable)
        for block in blocks:
            x = x + (torch.tanh(block(x)) if isinstance(block, nn.Module) else torch.tanh(x @ block))
        return self.outlet(x)


def trained(model: nn.Module, *, extra: Iterable[Tensor] = (), after: Callable[[], None] = lambda: None) -> History:
    optimizer = torch.optim.SGD([*model.parameters(), *extra], lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(12):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            after()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def linears() -> list[nn.Linear]:
    return [nn.Linear(6, 6), nn.Linear(6, 6)]


@pytest.mark.parametrize(
    ("blocks", "container", "name"),
    [
        (linears(), "list", "Net.blocks[1].weight"),
        (dict(enumerate(linears())), "dict", "Net.blocks[1].weight"),
        ([torch.randn(6, 6, requires_grad=True)], "list", "Net.blocks[0]"),
        ([nn.Parameter(torch.randn(6, 6))], "list", "Net.blocks[0]"),
    ],
)
def test_what_lies_in_a_plain_container(blocks: object, container: str, name: str) -> None:
    leaf = trained(Net(blocks)).leaves[name]
    assert (leaf.holder, leaf.container, leaf.shape) == ("Net.blocks", container, (6, 6))
    assert (leaf.changed, leaf.cleared, leaf.looks, leaf.is_weight) == (False, False, 4, True)
    assert leaf.file == __file__
    assert leaf.line is not None


def test_registered_layers_are_no_strays() -> None:
    assert not trained(Net(nn.ModuleList(linears()))).leaves


def test_strays_that_an_optimizer_holds_are_none() -> None:
    blocks = linears()
    assert not trained(Net(blocks), extra=[p for b in blocks for p in b.parameters()]).leaves


def test_what_is_changed_by_hand_is_noted() -> None:
    weight = torch.randn(6, 6, requires_grad=True)

    def by_hand() -> None:
        weight.data -= 0.01 * weight.grad  # type: ignore[operator]
        weight.grad = None

    leaf = trained(Net([weight]), after=by_hand).leaves["Net.blocks[0]"]
    assert (leaf.changed, leaf.cleared) == (True, True)


def test_an_input_with_a_gradient_is_new_in_each_step() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(12):
            model(torch.randn(8, 4, requires_grad=True)).mean().backward()
            optimizer.step()
    assert all(leaf.looks == 1 for leaf in watch.history.leaves.values())


def test_a_holder_that_holds_itself() -> None:
    blocks: list[object] = [nn.Linear(6, 6)]
    model = Net(blocks)
    model.circle = [blocks]
    model.circle.append(model.circle)  # type: ignore[operator, arg-type, union-attr]
    assert trained(model).leaves


def test_nothing_is_left_behind() -> None:
    block = nn.Linear(6, 6)
    model = Net([block])
    trained(model)
    copy.deepcopy(model)
    reference = weakref.ref(block.weight)
    del model, block
    gc.collect()
    assert reference() is None
