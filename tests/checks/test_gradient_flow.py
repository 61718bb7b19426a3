"""gradient_flow: which parameters get no gradient, one of zero, or one that is lost or blown up on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diagnose.checks import CheckResult, Status, gradient_flow
from tests.support import faults
from tests.support.models import HEALTHY, Case, made


def check(case: Case) -> CheckResult:
    return gradient_flow(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_pass(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(gradient_flow, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)


@pytest.mark.parametrize(
    ("make", "code", "parameter"),
    [
        (faults.detached_hidden, "parameter-not-updated", "first.weight"),
        (faults.detached_first, "parameter-not-updated", "first.weight"),
        (faults.unused_layer, "parameter-not-updated", "second.weight"),
        (faults.ignores_its_input, "parameter-not-updated", "first.weight"),
        (faults.dead_units, "parameter-not-updated", "0.weight"),
        (faults.no_graph, "parameter-not-updated", None),
        (faults.argmax_loss, "parameter-not-updated", None),
        (faults.deep_sigmoid, "vanishing-gradient", "0.weight"),
        (faults.root_of_zero, "nan-or-inf", "first.weight"),
    ],
)
def test_a_fault_is_found_where_it_is(make: Callable[[], Case], code: str, parameter: str | None) -> None:
    result = check(made(make))
    assert result.status is Status.FAILED
    assert result.findings[0].code == code
    assert result.findings[0].where.parameter == parameter


def test_what_was_cut_off_is_told_from_what_was_not_used() -> None:
    assert "took part in the forward" in check(made(faults.detached_first)).findings[0].message
    assert "the forward did not use it" in check(made(faults.unused_layer)).findings[0].message


class Logistic(nn.Module):
    """The logistic map: values of ordinary size, and a gradient that doubles in each round."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([3.9]))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(40):
            x = self.rate * x * (1 - x)
        return x


def test_gradients_that_blow_up() -> None:
    result = gradient_flow(Logistic(), torch.rand(8, 1), torch.rand(8, 1), loss_fn=F.mse_loss)
    assert [finding.code for finding in result.findings] == ["exploding-gradient"], str(result)


def test_frozen_parameters_are_counted_and_nothing_is_left_without_any() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    result = gradient_flow(model, torch.randn(4, 3), loss_fn=lambda output: output.square().mean())
    assert result.summary == "1 of 1 parameters get a gradient, 1 are frozen"
    assert result.evidence["frozen"] == ["bias"]
    model.weight.requires_grad_(False)
    result = gradient_flow(model, torch.randn(4, 3), loss_fn=lambda output: output.square().mean())
    assert result.reason == "no parameter requires a gradient"


def test_a_loss_that_is_zero_already() -> None:
    result = gradient_flow(nn.Linear(3, 2), torch.randn(4, 3), loss_fn=lambda output: 0 * output.sum())
    assert result.reason == "the loss is zero already, and so is the gradient"


def test_sparse_gradients() -> None:
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    result = gradient_flow(model, torch.randint(10, (5, 2)), torch.randint(2, (5,)), loss_fn=F.cross_entropy)
    assert result.ok, str(result)
