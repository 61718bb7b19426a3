"""log-softmax-mismatch: probabilities or raw outputs where logarithms are wanted, or the reverse."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.findings import Severity
from tests.rules.looking import loud, said, the_only
from tests.rules.objective.runs import Loss, trained, with_objective

CODE = "log-softmax-mismatch"


def soft(labels: Tensor) -> Tensor:
    return 0.9 * F.one_hot(labels, 5).float() + 0.02


def test_nll_of_probabilities() -> None:
    finding = the_only(trained(nn.NLLLoss(), nn.Softmax(dim=1)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["calls_with_probabilities"] == 12


def test_nll_of_raw_outputs() -> None:
    finding = the_only(trained(F.nll_loss), CODE)
    assert finding.severity is Severity.ERROR
    assert "no lower bound" in finding.message


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: F.kl_div(x.softmax(1), soft(y), reduction="batchmean"),
        lambda x, y: F.kl_div(3 * x, soft(y), reduction="batchmean"),
        lambda x, y: F.kl_div(F.log_softmax(x, 1), soft(y), reduction="batchmean", log_target=True),
    ],
    ids=["probabilities", "raw-outputs", "target-is-no-logarithm"],
)
def test_kl_div_of_other_things(loss: Loss) -> None:
    assert the_only(trained(loss), CODE).severity is Severity.ERROR


def test_a_target_of_logarithms() -> None:
    history = with_objective(name="kl_div", operations=("logsoftmax", "addmm"), target_logs=20, classes=5)
    assert "log_target" in the_only(history, CODE).message


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: F.nll_loss(F.log_softmax(x, 1), y),
        lambda x, y: F.nll_loss((x.softmax(1) + 1e-6).log(), y),
        lambda x, y: F.nll_loss(x.softmax(1).clamp(1e-6).log().reshape(32, 5, 1), y.reshape(32, 1)),
        lambda x, y: F.nll_loss(x - x.logsumexp(1, keepdim=True), y),
        lambda x, y: F.kl_div(F.log_softmax(x / 4, 1), soft(y), reduction="batchmean") * 16,
        lambda x, y: F.kl_div(F.log_softmax(x, 1), soft(y).log(), reduction="batchmean", log_target=True),
        F.cross_entropy,
    ],
    ids=["log-softmax", "log", "clamped", "log-sum-exp", "distillation", "log-target", "cross-entropy"],
)
def test_healthy_ones(loss: Loss) -> None:
    assert not said(trained(loss), CODE)


def test_a_cross_entropy_in_two_terms() -> None:
    history = trained(lambda x, y: x.logsumexp(1).mean() + F.nll_loss(x + 1, y))
    assert not loud(said(history, CODE))


def test_rows_that_add_up_to_less_than_one() -> None:
    assert not said(with_objective(name="nll_loss", classes=5, operations=("sub", "addmm")), CODE)


@given(st.integers(0, 40), st.integers(0, 40))
def test_nine_in_ten_of_three_calls_or_more(calls: int, shown: int) -> None:
    history = with_objective(name="nll_loss", calls=calls, distributions=min(shown, calls), operations=("softmax",))
    assert bool(said(history, CODE)) is (calls >= 3 and min(shown, calls) >= 0.9 * calls)
