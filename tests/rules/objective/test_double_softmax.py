"""double-softmax: cross-entropy of probabilities."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.findings import Severity
from tests.rules.looking import said, the_only
from tests.rules.objective.runs import trained, with_objective

CODE = "double-softmax"


def by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    return -(F.one_hot(labels, 5) * torch.log(F.softmax(outputs, dim=1) + 1e-8)).sum(1).mean()


def test_a_softmax_at_the_end_of_the_model() -> None:
    finding = the_only(trained(F.cross_entropy, nn.Softmax(dim=1)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["made_by"] == ["softmax", "addmm"]
    assert finding.evidence["lowest_possible_loss"] == pytest.approx(math.log(1 + 4 / math.e))
    assert finding.where.file is not None
    assert finding.where.file.endswith("runs.py")
    assert finding.first_step == 1


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: nn.CrossEntropyLoss()(x.softmax(-1), y),
        lambda x, y: F.cross_entropy(x.exp() / x.exp().sum(1, keepdim=True), y),
        lambda x, y: F.cross_entropy(x.softmax(1).reshape(32, 5, 1), y.reshape(32, 1)),
        lambda x, y: F.cross_entropy(x.softmax(1), F.one_hot(y, 5).float(), label_smoothing=0.1),
        lambda x, y: F.nll_loss(F.log_softmax(x.softmax(1), 1), y),
        lambda x, y: by_hand(x.softmax(1), y),
        lambda x, y: 0.5 * F.cross_entropy(x.softmax(1), y) + x.square().mean(),
    ],
    ids=["module", "written-out", "reshaped", "soft-targets", "nll", "by-hand", "one-of-two-terms"],
)
def test_other_ways_to_write_it(loss) -> None:
    assert the_only(trained(loss), CODE).severity is Severity.ERROR


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        lambda x, y: F.cross_entropy(F.log_softmax(x, 1), y),
        lambda x, y: F.cross_entropy(torch.log(x.softmax(1) + 1e-6), y),
        lambda x, y: F.cross_entropy(x.softmax(1) * 20, y),
        lambda x, y: F.nll_loss(F.log_softmax(x, 1), y),
        lambda x, y: F.nll_loss(x.softmax(1).clamp(1e-6).log(), y),
        lambda x, y: F.cross_entropy(x.relu().clamp(max=1), y),
        by_hand,
    ],
    ids=["logits", "log-softmax", "log", "scaled", "nll", "clamped", "within-0-and-1", "by-hand"],
)
def test_healthy_ones(loss) -> None:
    assert not said(trained(loss), CODE)


@pytest.mark.parametrize(("calls", "fires"), [(2, False), (3, True)])
def test_values_alone_must_show_it_in_three_calls(calls: int, fires: bool) -> None:
    history = with_objective(calls=calls, distributions=calls, classes=10)
    assert bool(said(history, CODE)) is fires


@given(st.integers(3, 100), st.integers(0, 100))
def test_values_must_show_it_in_every_call(calls: int, distributions: int) -> None:
    history = with_objective(calls=calls, distributions=min(distributions, calls), classes=10)
    assert bool(said(history, CODE)) is (distributions >= calls)


def test_a_metric_is_not_a_loss() -> None:
    history = with_objective(name="mse_loss")
    assert said(with_objective(history, used=0, operations=("softmax",)), CODE) == []
