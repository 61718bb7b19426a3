"""output-activation-mismatch: targets out of reach."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diagnose.findings import Severity
from tests.rules.looking import said, the_only
from tests.rules.objective.runs import trained, with_objective

CODE = "output-activation-mismatch"


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Softmax(1), nn.Softplus(), nn.Hardtanh()])
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_targets_on_both_sides_of_zero(end: nn.Module, loss) -> None:
    finding = the_only(trained(loss, end, outputs=3, targets=lambda x: 3 * x[:, :3], steps=4), CODE)
    assert finding.severity is Severity.ERROR
    assert isinstance(finding.evidence["unreachable_share"], float)


def test_a_small_share_is_a_warning() -> None:
    finding = the_only(trained(F.mse_loss, nn.Tanh(), outputs=3, targets=lambda x: 0.8 * x[:, :3], steps=4), CODE)
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("loss", "end"),
    [
        (F.mse_loss, nn.Identity()),
        (lambda x, y: F.mse_loss(3 * x, y), nn.Tanh()),
        (lambda x, y: F.mse_loss(x, y.sigmoid()), nn.Sigmoid()),
        (lambda x, y: F.mse_loss(x, y.abs()), nn.ReLU()),
        (lambda x, y: F.mse_loss(x, y.tanh()), nn.Tanh()),
        (lambda x, y: F.mse_loss(x, (0.4 * y).clamp(-1.05, 1.05)), nn.Tanh()),
        (lambda x, y: F.mse_loss(x.relu(), (x - 1)), nn.Identity()),
    ],
    ids=["linear", "scaled", "sigmoid", "relu", "tanh", "at-the-edge", "both-learn"],
)
def test_healthy_ones(loss, end: nn.Module) -> None:
    assert not said(trained(loss, end, outputs=3, targets=lambda x: x[:, :3], steps=4), CODE)


def test_logits_that_are_bounded() -> None:
    finding = the_only(trained(F.cross_entropy, nn.Tanh(), steps=4), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["lowest_possible_loss"] == pytest.approx(math.log1p(4 * math.exp(-2)))


@pytest.mark.parametrize("end", [nn.ReLU(), nn.ReLU6(), nn.Identity(), nn.LogSoftmax(1)])
def test_logits_that_are_free_enough(end: nn.Module) -> None:
    assert not said(trained(F.cross_entropy, end, steps=4), CODE)


@pytest.mark.parametrize(("end", "fires"), [(nn.ReLU(), True), (nn.Tanh(), True), (nn.Identity(), False)])
def test_yes_or_no(end: nn.Module, fires: bool) -> None:
    history = trained(
        F.binary_cross_entropy_with_logits, end, outputs=1, targets=lambda x: (x[:, :1] > 0).float(), steps=4
    )
    assert bool(said(history, CODE)) is fires


def test_what_has_a_rule_of_its_own() -> None:
    assert not said(trained(F.cross_entropy, nn.Softmax(1)), CODE)
    yes = lambda x: torch.ones(32, 1)  # noqa: E731
    assert not said(trained(F.binary_cross_entropy_with_logits, nn.Sigmoid(), outputs=1, targets=yes), CODE)


@given(st.floats(0.01, 100), st.floats(0, 1), st.floats(-100, 100))
def test_the_share_of_the_variance_decides(variance: float, share: float, mean: float) -> None:
    history = with_objective(
        name="mse_loss",
        operations=("relu", "addmm"),
        low=0.0,
        target_mean=mean,
        target_square=mean**2 + variance,
        unreachable=share * variance,
    )
    found = said(history, CODE)
    if abs(share - 0.01) > 1e-3:
        assert bool(found) is (share > 0.01)
