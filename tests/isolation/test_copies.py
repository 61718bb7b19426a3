"""What a function refers to is copied, wherever it keeps it, and stays shared where it was shared."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from diagnose import check_gradients
from diagnose.isolation import Copier
from tests.gradcheck.functions import numbers

MODEL = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
X = numbers(5, 3)


class Trainer:
    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.itself = self

    def loss(self, x: Tensor) -> Tensor:
        return self.model(x).square().mean()  # type: ignore[no-any-return]

    def __call__(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return scale * self.loss(x)


def by_global(x: Tensor) -> Any:
    return MODEL(x)


def by_another_function(x: Tensor) -> Any:
    return by_global(x) * 2


def checked(function: Any) -> list[str]:
    """The names of the parameters that were checked; MODEL's buffers are not moved."""
    before = MODEL[1].running_mean.clone(), int(MODEL[1].num_batches_tracked)
    report = check_gradients(function, [X])
    assert report.ok, str(report)
    assert torch.equal(MODEL[1].running_mean, before[0])
    assert int(MODEL[1].num_batches_tracked) == before[1]
    return [entry.name for entry in report.entries if entry.kind == "parameter"]


NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_wherever_the_model_is() -> None:
    trainer, table = Trainer(MODEL), {"a": [MODEL]}
    assert checked(MODEL) == NAMES
    assert checked(by_global) == [f"MODEL.{name}" for name in NAMES]
    assert checked(by_another_function) == [f"MODEL.{name}" for name in NAMES]
    assert checked(lambda x: trainer.loss(x)) == [f"trainer.model.{name}" for name in NAMES]
    assert checked(lambda x: table["a"][0](x)) == [f"table['a'][0].{name}" for name in NAMES]
    assert checked(trainer) == [f"model.{name}" for name in NAMES]
    assert checked(trainer.loss) == [f"model.{name}" for name in NAMES]
    assert checked(functools.partial(trainer, scale=3.0)) == [f"model.{name}" for name in NAMES]
    assert len(checked(MODEL.forward)) == len(NAMES)


def test_sharing_survives() -> None:
    layer = nn.Linear(2, 2)
    pair = [layer, nn.Sequential(layer), layer.weight]
    copier = Copier(widen=True)
    first, second, weight = copier.copy(pair, "pair")
    assert first is not layer
    assert second[0] is first
    assert weight is first.weight
    assert weight.dtype == torch.float64
    assert layer.weight.dtype == torch.float32


def test_what_refers_to_nothing_is_not_copied() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.sin(x)

    assert Copier().copy(function) is function
    assert Copier().copy(torch.sin) is torch.sin
    assert Copier().copy({"a": [1, "b"]})["a"][0] == 1


def test_an_attribute_that_carries_a_graph() -> None:
    layer = nn.Linear(2, 2)
    layer.cached = layer(torch.ones(1, 2))  # type: ignore[assignment]
    assert Copier().copy(layer, "layer") is not layer


def test_a_function_that_calls_itself() -> None:
    def power(x: Tensor, n: int = 3) -> Tensor:
        return x if n == 1 else x * power(x, n - 1)

    assert check_gradients(power, [numbers(3)]).ok


def test_the_search_for_modules_ends() -> None:
    class Node:
        def __init__(self, depth: int) -> None:
            self.following = Node(depth - 1) if depth else None
            self.numbers = list(range(10_000))

    chain, log = Node(50), __import__("logging").getLogger("gradients")

    def function(x: Tensor) -> Tensor:
        log.debug("%s", chain)
        return x.sin()

    assert Copier().copy(function) is function
