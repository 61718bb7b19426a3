"""loss_at_init: the first loss, beside that of a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from diagnose.checks import CheckResult, Status, loss_at_init
from tests.support import faults
from tests.support.models import HEALTHY, Case, made


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_are_silent(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(loss_at_init, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.status is not Status.FAILED, str(result)


def test_a_head_that_is_too_large() -> None:
    case = made(faults.huge_head)
    result = loss_at_init(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    (finding,) = result.findings
    assert finding.code == "loss-at-init"
    assert result.evidence["loss_of_guessing"] == pytest.approx(math.log(4))
    assert result.evidence["limit"] == pytest.approx(3 * math.log(4))


def test_a_loss_that_is_no_number() -> None:
    case = made(faults.logarithm_of_a_negative)
    result = loss_at_init(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert [finding.code for finding in result.findings] == ["nan-or-inf"]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 50), st.booleans())
def test_the_level_is_ln_k(classes: int, by_hand: bool) -> None:
    def written_out(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -torch.log_softmax(logits, 1).gather(1, y[:, None]).mean()

    loss_fn = written_out if by_hand else F.cross_entropy
    result = loss_at_init(nn.Linear(3, classes), torch.randn(6, 3), torch.randint(classes, (6,)), loss_fn=loss_fn)
    assert result.evidence["loss_of_guessing"] == pytest.approx(math.log(classes), rel=1e-4)


@pytest.mark.parametrize(
    ("last", "loss_fn", "targets"),
    [
        (nn.Identity(), nn.BCEWithLogitsLoss(), torch.ones(8, 1)),
        (nn.Sigmoid(), nn.BCELoss(), torch.ones(8, 1)),
        (nn.Identity(), nn.BCEWithLogitsLoss(reduction="sum"), torch.ones(8, 1)),
    ],
)
def test_binary_losses(last: nn.Module, loss_fn: nn.Module, targets: torch.Tensor) -> None:
    result = loss_at_init(nn.Sequential(nn.Linear(3, 1), last), torch.randn(8, 3), targets, loss_fn=loss_fn)
    terms = 8 if getattr(loss_fn, "reduction", "") == "sum" else 1
    assert result.evidence["loss_of_guessing"] == pytest.approx(terms * math.log(2), rel=1e-4)


def test_a_regression_may_begin_higher() -> None:
    model = nn.Linear(3, 1)
    nn.init.constant_(model.bias, 5.0)
    targets = torch.randn(32, 1)
    result = loss_at_init(model, torch.randn(32, 3), targets, loss_fn=nn.MSELoss())
    assert result.ok
    nn.init.constant_(model.bias, 50.0)
    assert not loss_at_init(model, torch.randn(32, 3), targets, loss_fn=nn.MSELoss()).ok
