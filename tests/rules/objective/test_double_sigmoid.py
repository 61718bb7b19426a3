"""double-sigmoid: the logits of binary cross-entropy are probabilities."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.findings import Severity
from diagnose.history import History
from tests.rules.looking import said, the_only
from tests.rules.objective.runs import Loss, trained, with_objective

CODE = "double-sigmoid"


def run(loss: Loss, *end: nn.Module) -> History:
    return trained(loss, *end, outputs=1, targets=lambda x: (x[:, :1] > 0).float())


def test_a_sigmoid_at_the_end_of_the_model() -> None:
    finding = the_only(run(nn.BCEWithLogitsLoss(), nn.Sigmoid()), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["made_by"] == ["sigmoid", "addmm"]


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: F.binary_cross_entropy_with_logits(x.sigmoid().view(-1), y[:, 0], pos_weight=torch.tensor(2.0)),
        lambda x, y: F.binary_cross_entropy_with_logits(1 / (1 + torch.exp(-x)), y),
        lambda x, y: F.binary_cross_entropy(x.sigmoid().sigmoid(), y),
        lambda x, y: F.multilabel_soft_margin_loss(x.sigmoid(), y),
        lambda x, y: F.binary_cross_entropy_with_logits(torch.cat([x, -x], 1).softmax(1)[:, :1], y),
        lambda x, y: -(y * x.sigmoid().sigmoid().log() + (1 - y) * (1 - x.sigmoid().sigmoid()).log()).mean(),
    ],
    ids=["function", "written-out", "twice-before-bce", "soft-margin", "softmax", "by-hand"],
)
def test_other_ways_to_write_it(loss: Loss) -> None:
    assert said(run(loss), CODE)


def gated(x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x * x.sigmoid(), y)


@pytest.mark.parametrize(
    "loss",
    [
        F.binary_cross_entropy_with_logits,
        gated,
        lambda x, y: F.binary_cross_entropy(x.sigmoid(), y),
        lambda x, y: F.binary_cross_entropy_with_logits(10 * x.sigmoid() - 5, y),
        lambda x, y: F.binary_cross_entropy_with_logits(x.clamp(0, 1), y),
    ],
    ids=["logits", "gate", "bce", "scaled", "within-0-and-1"],
)
def test_healthy_ones(loss: Loss) -> None:
    assert not said(run(loss), CODE)


@given(st.sampled_from(["", "addmm", "mul", "tanh", "relu", "sigmoid", "softmax"]))
def test_only_what_made_the_input_counts(operation: str) -> None:
    history = with_objective(name="binary_cross_entropy_with_logits", operations=(operation, "sigmoid"))
    assert bool(said(history, CODE)) is (operation in ("sigmoid", "softmax"))
