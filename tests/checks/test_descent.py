"""descent: the loss falls as the gradient says, and optimizers step as their rules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import CheckResult, Status, descent
from diagnose.findings import Severity
from tests.support import faults
from tests.support.models import HEALTHY, Case, made, mlp


def check(case: Case, **options: Any) -> CheckResult:
    return descent(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, **options)


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_pass(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(descent, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)
    assert result.findings == ()


@pytest.mark.parametrize("make", [faults.reversed_gradient, faults.halved_gradient])
def test_a_wrong_backward(make: Callable[[], Case]) -> None:
    result = check(made(make))
    assert [finding.code for finding in result.findings] == ["wrong-gradient"]
    assert result.status is Status.FAILED


def test_a_loss_that_rises_is_an_error() -> None:
    model = nn.Linear(4, 2)
    result = descent(model, torch.randn(8, 4), loss_fn=lambda out: faults.Reversed.apply(out.square().mean()))
    assert result.findings[0].severity is Severity.ERROR
    assert result.evidence["ratio"] == pytest.approx(-1, abs=0.01)
    assert result.summary == "the loss falls at no step size"


def test_what_is_detached_on_purpose_is_an_info() -> None:
    def consistency(output: Tensor) -> Tensor:
        return F.mse_loss(output[:4] * 2, output[4:].detach() + 1)

    result = descent(nn.Linear(4, 2), torch.randn(8, 4), loss_fn=consistency)
    assert result.status is Status.PASSED
    assert [finding.severity for finding in result.findings] == [Severity.INFO]


def test_what_does_not_apply() -> None:
    assert "differs from run to run" in str(check(made(faults.own_generator)).reason)
    assert "depends on no parameter" in str(check(made(faults.no_graph)).reason)
    zero = descent(nn.Linear(4, 2), torch.randn(8, 4), loss_fn=lambda out: (out * 0).sum())
    assert zero.reason == "the gradient is zero"


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]),
    st.sampled_from([0.0, 0.1]),
    st.booleans(),
    st.booleans(),
)
def test_the_optimizers_of_torch_follow_their_rules(kind: str, decay: float, first: bool, second: bool) -> None:
    options: dict[str, Any] = {"lr": 0.01, "weight_decay": decay}
    if kind == "SGD":
        options |= {"momentum": 0.9 if first else 0.0, "nesterov": first and second, "maximize": second}
    elif kind == "RMSprop":
        options |= {"momentum": 0.9 if first else 0.0, "centered": second}
    elif kind == "Adagrad":
        options |= {"lr_decay": 0.1 if first else 0.0, "initial_accumulator_value": 0.1 if second else 0.0}
    else:
        options |= {"amsgrad": first, "maximize": second}
    result = check(made(mlp), optimizer=lambda parameters: getattr(torch.optim, kind)(parameters, **options))
    assert result.ok, str(result)
    assert result.evidence["optimizer_checked"] is True


class SignedSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad.sign(), alpha=-group["lr"])


class ForgetsBiasCorrection(torch.optim.Adam):
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["m"] = 0.9 * state.get("m", 0) + 0.1 * p.grad
                state["v"] = 0.999 * state.get("v", 0) + 0.001 * p.grad**2
                p.add_(state["m"] / (state["v"].sqrt() + group["eps"]), alpha=-group["lr"])


@pytest.mark.parametrize("kind", [SignedSGD, ForgetsBiasCorrection])
def test_a_step_of_its_own(kind: type[torch.optim.Optimizer]) -> None:
    result = check(made(mlp), optimizer=lambda parameters: kind(parameters, lr=0.01))
    assert [finding.code for finding in result.findings] == ["wrong-optimizer-step"]
    assert result.findings[0].where.parameter is not None
    assert result.findings[0].first_step == 1


@pytest.mark.parametrize("kind", ["Rprop", "LBFGS"])
def test_others_are_not_checked(kind: str) -> None:
    result = check(made(mlp), optimizer=lambda parameters: getattr(torch.optim, kind)(list(parameters)))
    assert result.ok
    assert f"{kind} was not checked: its rule is not known here" in result.summary
