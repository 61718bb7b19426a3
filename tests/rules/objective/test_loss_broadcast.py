"""loss-broadcast: [N, 1] and [N] in a loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diagnose.findings import Severity
from diagnose.history import History
from tests.rules.looking import said, the_only
from tests.rules.objective.runs import Loss, trained, with_objective

CODE = "loss-broadcast"

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


def run(loss: Loss, outputs: int = 1) -> History:
    return trained(loss, outputs=outputs, targets=lambda x: x[:, 0] - x[:, 1])


def by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        lambda x, y: F.smooth_l1_loss(x[:, 0], y[:, None]),
        by_hand,
        lambda x, y: (y - x).abs().sum() / 32,
        lambda x, y: torch.sub(x, y).pow(2).mean() + 0.1 * x.square().mean(),
        lambda x, y: -((y > 0) * F.logsigmoid(x) + (y <= 0) * F.logsigmoid(-x)).mean(),
    ],
    ids=["mse", "other-way-round", "by-hand", "absolute", "two-terms", "binary-cross-entropy"],
)
def test_each_output_against_each_target(loss: Loss) -> None:
    finding = the_only(run(loss), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["broadcast_shape"] == [32, 32]
    assert finding.where.line is not None


def pairwise(outputs: Tensor, targets: Tensor) -> Tensor:
    return (
        ((outputs[:, None] - outputs[None]).norm(dim=2) - (targets[:, None] - targets[None]).abs() + 1e-3).abs().mean()
    )


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (lambda x, y: F.mse_loss(x, y[:, None]), 1),
        (lambda x, y: by_hand(x.squeeze(1), y), 1),
        (lambda x, y: by_hand(x, y[:, None]), 1),
        (lambda x, y: ((x - y[:, None]) * torch.tensor([1.0, 2.0, 3.0])).square().mean(), 3),
        (lambda x, y: F.mse_loss(x, torch.zeros(3)), 3),
        (lambda x, y: by_hand(x[:1], y[:1]), 1),
        (lambda x, y: (x.mean() - y).square().mean(), 1),
        (pairwise, 4),
    ],
    ids=["same-shape", "squeezed", "unsqueezed", "weights", "one-target", "batch-of-one", "number", "pairs"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_healthy_ones(loss: Loss, outputs: int) -> None:
    assert not said(run(loss, outputs), CODE)


def test_a_layer_of_distances_is_not_a_loss() -> None:
    centres = torch.linspace(-1, 1, 32)
    weight = torch.randn(32, 1)
    assert not said(run(lambda x, y: F.mse_loss((torch.exp(-((x - centres) ** 2)) @ weight)[:, 0], y)), CODE)


@given(st.integers(1, 50), st.integers(0, 50))
def test_half_of_the_calls_and_two_at_least(calls: int, broadcast: int) -> None:
    broadcast = min(calls, broadcast)
    history = with_objective(name="mse_loss", calls=calls, broadcast=broadcast, input_shape=(8, 1), target_shape=(8,))
    assert bool(said(history, CODE)) is (broadcast >= 2 and broadcast >= 0.5 * calls)
