"""gradients: check_gradients, as one check among others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diagnose.checks import CheckResult, Status, gradients
from tests.support import faults
from tests.support.models import HEALTHY, Case, made


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_pass(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(gradients, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)


def test_a_wrong_backward_is_one_finding() -> None:
    case = made(faults.reversed_gradient)
    result = gradients(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    (finding,) = result.findings
    assert finding.code == "wrong-gradient"
    assert finding.where.parameter == "first.weight"
    assert set(finding.evidence["also_at"]) == {"first.bias", "second.weight", "second.bias", "x"}  # type: ignore[arg-type]
    assert result.status is Status.FAILED


def test_a_stop_gradient_is_an_info() -> None:
    result = gradients(nn.Linear(4, 2), torch.randn(8, 4), loss_fn=lambda o: F.mse_loss(o[:4] * 2, o[4:].detach() + 1))
    assert result.status is Status.PASSED
    assert result.findings != ()
