"""determinism: the same seed gives the same run, and if not, where it begins to differ."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diagnose.checks import CheckResult, Status, determinism
from diagnose.findings import Severity
from tests.support import faults
from tests.support.models import HEALTHY, Case, made


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_pass(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(determinism, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)
    assert result.evidence["losses"] == result.evidence["losses_again"]


def test_a_generator_of_its_own() -> None:
    case = made(faults.own_generator)
    result = determinism(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    (finding,) = result.findings
    assert finding.code == "not-reproducible"
    assert finding.where.module == "first"
    assert finding.severity is Severity.WARNING


def test_without_a_loss_forwards_are_compared() -> None:
    result = determinism(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), torch.randn(8, 4))
    assert result.summary == "a forward, repeated with the same seed: the same to the last bit"


def test_the_last_digits_are_an_info() -> None:
    calls = []

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(1)
            return self.layer(x) * (1 + 1e-6 * len(calls))

    result = determinism(Sums(), torch.randn(8, 4))
    assert result.status is Status.PASSED
    assert result.findings[0].severity is Severity.INFO
