"""Faulty models as people write them, each with a batch and a loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.models import Case


class Net(nn.Module):
    """Three layers; what the forward does with them is the fault."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], outputs: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(10, 32), nn.Linear(32, 32), nn.Linear(32, outputs)
        self.how = forward

    def hidden(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def classes(model: nn.Module, loss_fn: Any = F.cross_entropy) -> Case:
    return Case(model, torch.randn(16, 10), torch.randint(4, (16,)), loss_fn)


def plain(*last: nn.Module, outputs: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, outputs), *last)


def detached_hidden() -> Case:
    return classes(Net(lambda net, x: net.head(net.hidden(x).detach())))


def detached_first() -> Case:
    return classes(Net(lambda net, x: net.head(F.relu(net.second(net.first(x).relu().detach())))))


def unused_layer() -> Case:
    return classes(Net(lambda net, x: net.head(F.relu(net.first(x)))))


def no_graph() -> Case:
    return classes(plain(), lambda output, y: F.cross_entropy(output.detach(), y))


def argmax_loss() -> Case:
    return classes(plain(), lambda output, y: (output.argmax(1) != y).float().mean())


def double_softmax() -> Case:
    return classes(plain(nn.Softmax(dim=1)))


def softmax_over_examples() -> Case:
    return classes(plain(nn.Softmax(dim=0)), lambda p, y: F.nll_loss((p + 1e-8).log(), y))


def ignores_its_input() -> Case:
    return classes(Net(lambda net, x: net.head(net.hidden(torch.zeros_like(x)))))


def looks_at_the_first_example() -> Case:
    return classes(Net(lambda net, x: net.head(net.hidden(x[:1].expand_as(x)))))


def half_of_the_features() -> Case:
    return classes(Net(lambda net, x: net.head(net.hidden(torch.cat([x[:, :5], torch.zeros_like(x[:, 5:])], 1)))))


def dead_units() -> Case:
    case = classes(plain())
    nn.init.constant_(case.model[0].bias, -100.0)  # type: ignore[index]
    return case


def relu_before_negative_targets() -> Case:
    return Case(plain(nn.ReLU(), outputs=1), torch.randn(16, 10), -torch.rand(16, 1) - 1, nn.MSELoss())


def sigmoid_before_large_targets() -> Case:
    return Case(plain(nn.Sigmoid(), outputs=1), torch.randn(16, 10), torch.randn(16, 1) * 2 - 3, nn.MSELoss())


def broadcast() -> Case:
    targets = torch.randn(16) * 2 - 3
    return Case(plain(outputs=1), torch.randn(16, 10), targets, lambda output, y: ((output - y) ** 2).mean())


def huge_head() -> Case:
    case = classes(plain())
    case.model[2].weight.data.mul_(60)  # type: ignore[index,operator,union-attr]
    return case


def deep_sigmoid() -> Case:
    layers = itertools.chain.from_iterable((nn.Linear(10, 10), nn.Sigmoid()) for _ in range(12))
    return classes(nn.Sequential(*layers, nn.Linear(10, 4)))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return -gradient


class Halved(Reversed):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 0.5 * gradient


def reversed_gradient() -> Case:
    return classes(Net(lambda net, x: net.head(Reversed.apply(net.hidden(x)))))


def halved_gradient() -> Case:
    return classes(Net(lambda net, x: net.head(Halved.apply(net.hidden(x)))))


_NUMBERS = itertools.count(1)


def own_generator() -> Case:
    def noise(x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(next(_NUMBERS)))

    return classes(Net(lambda net, x: net.head(net.hidden(noise(x)))))


def root_of_zero() -> Case:
    return classes(Net(lambda net, x: net.head(net.second((net.first(x) * 0).sqrt()))))


def logarithm_of_a_negative() -> Case:
    return Case(plain(outputs=1), torch.randn(16, 10), torch.zeros(16, 1), lambda o, y: (o - y - 9).log().mean())
