"""Layers whose units are copies of one another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import diagnose
from diagnose.collect._collector import THOROUGH_TURNS
from diagnose.history import History

OPTIMIZERS: list[Callable[..., torch.optim.Optimizer]] = [torch.optim.SGD, torch.optim.Adam]


def constant(model: nn.Module, value: float = 0.1) -> nn.Module:
    for parameter in model.parameters():
        nn.init.constant_(parameter, value if parameter.dim() > 1 else 0.0)
    return model


def trained(
    model: nn.Module,
    steps: int = 14,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    shape: tuple[int, ...] = (16, 4),
) -> History:
    torch.manual_seed(0)
    using = optimizer([p for p in model.parameters() if p.requires_grad], lr=0.05)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            x = torch.randn(shape)
            out = model(x)
            out = out[0] if isinstance(out, tuple) else out
            loss = (out.flatten(1).cumsum(1) - x.flatten(1)[:, :1].abs()).square().mean()
            using.zero_grad()
            loss.backward()
            using.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_constant_layers_stay_alike(optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    history = trained(constant(mlp()), optimizer=optimizer)
    assert set(history.symmetric) == {"0.weight"}  # the two outputs have different targets
    facts = history.symmetric["0.weight"]
    assert (facts.units, facts.first_step) == (8, 1)
    assert facts.last_step >= THOROUGH_TURNS
    assert not facts.zero


def test_layers_of_zeros_get_no_gradient() -> None:
    facts = trained(constant(mlp(), 0.0)).symmetric["0.weight"]
    assert (facts.zero, facts.without_gradient) == (True, True)


@pytest.mark.parametrize(
    "layer",
    [nn.LSTM(4, 6), nn.GRU(4, 6), nn.RNN(4, 6), nn.Linear(4, 6)],
    ids=lambda layer: type(layer).__name__,
)
def test_gates_are_compared_among_themselves(layer: nn.Module) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            out = self.layer(x)
            hidden: Tensor = self.head(out[0] if isinstance(out, tuple) else torch.tanh(out))
            return hidden

    assert any(name.startswith("layer.") for name in trained(constant(Net())).symmetric)


def test_convolutions_and_their_transposes() -> None:
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.Tanh(), nn.ConvTranspose1d(5, 4, 3), nn.Tanh(), nn.Conv1d(4, 1, 1))
    found = trained(constant(model), shape=(8, 3, 10)).symmetric
    assert {name: facts.units for name, facts in found.items()} == {"0.weight": 5, "2.weight": 4}


def test_healthy_beginnings() -> None:
    """A head of zeros, a constant layer below a random one, a table of zeros, a depthwise mean."""
    head = mlp()
    constant(head[2], 0.0)
    assert not trained(head).symmetric
    below = mlp()
    constant(below[0])
    assert not trained(below).symmetric
    depthwise = nn.Sequential(nn.Conv1d(3, 3, 3, groups=3), nn.Tanh(), nn.Conv1d(3, 2, 1))
    constant(depthwise[0], 1 / 3)
    assert not trained(depthwise, shape=(8, 3, 10)).symmetric


def test_lora() -> None:
    class LoRA(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(4, 4).requires_grad_(False)
            self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.base(x) + x @ self.a.T @ self.b.T
            return out

    assert not trained(LoRA()).symmetric


def test_a_frozen_constant_layer_is_not_looked_at() -> None:
    model = constant(mlp())
    model[0].requires_grad_(False)  # type: ignore[index]
    assert "0.weight" not in trained(model).symmetric
