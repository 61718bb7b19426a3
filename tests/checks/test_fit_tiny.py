"""fit_tiny: one example, then eight, by heart; a defect is told from an optimizer that does not get there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diagnose.checks import CheckResult, Status, fit_tiny
from diagnose.errors import CheckError, CheckFailedError
from diagnose.findings import Severity
from tests.support import faults
from tests.support.models import HEALTHY, Case, made, mlp, smoothed


def check(case: Case, **options: object) -> CheckResult:
    return fit_tiny(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", HEALTHY)
def test_healthy_models_fit(make: Callable[[], Case], nothing_changes: Callable[..., CheckResult]) -> None:
    case = made(make)
    result = nothing_changes(fit_tiny, case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (faults.detached_hidden, "parameter-not-updated", "first.weight, first.bias, second.weight"),
        (faults.unused_layer, "parameter-not-updated", "second.weight"),
        (faults.no_graph, "tiny-batch-not-fitted", "depends on none of the 4 parameters"),
        (faults.argmax_loss, "tiny-batch-not-fitted", "depends on none"),
        (faults.double_softmax, "output-activation-mismatch", "stands still at 0.7"),
        (faults.softmax_over_examples, "tiny-batch-not-fitted", "8 examples are not fitted"),
        (faults.ignores_its_input, "constant-output", "8 examples are not fitted"),
        (faults.looks_at_the_first_example, "constant-output", "8 examples are not fitted"),
        (faults.dead_units, "constant-output", "8 examples are not fitted"),
        (faults.sigmoid_before_large_targets, "output-activation-mismatch", "a single example is not fitted"),
        (faults.broadcast, "loss-broadcast", "each example alone can get 0"),
    ],
)
def test_a_defect_is_found(make: Callable[[], Case], code: str, told: str) -> None:
    result = check(made(make), steps=120)
    assert result.status is Status.FAILED
    assert result.findings[0].code == code, str(result)
    assert told in result.findings[0].message
    with pytest.raises(CheckFailedError):
        result.raise_if_failed()


def test_layers_that_cannot_move_are_named() -> None:
    result = check(made(faults.relu_before_negative_targets), steps=60)
    (finding,) = result.findings
    # Whether the first output lies behind the ReLU is chance; either way it is found.
    assert finding.code in ("tiny-batch-not-fitted", "output-activation-mismatch", "constant-output")
    assert finding.severity is Severity.ERROR


def test_an_optimizer_that_does_not_get_there_is_no_defect() -> None:
    case = made(mlp)
    result = check(case, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-5))
    assert [finding.code for finding in result.findings] == ["tiny-batch-not-fitted"] * 2
    assert result.findings[0].message.startswith("a single example is not fitted by SGD at 1e-05 (the loss stays at")
    assert "the optimisation, not the model" in result.findings[0].cause.lower()
    assert check(case, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)).ok


def test_a_rate_that_is_too_large() -> None:
    case = made(mlp)
    result = check(case, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e9))
    assert result.status is Status.FAILED
    assert "and by SGD at" in result.findings[0].message or "and by Adam at" in result.findings[0].message


def test_the_least_loss_is_known_without_the_network() -> None:
    case = made(smoothed)
    targets = case.targets
    entropy = float(-(targets * targets.log()).sum(1).mean())
    soft = Case(case.model[:3], case.inputs, targets, nn.CrossEntropyLoss())  # type: ignore[index]
    result = check(soft, examples=8)
    assert result.ok
    assert (
        result.evidence["batch"]["least_loss"]
        == pytest.approx(  # type: ignore[index,call-overload]
            float(-(targets[:8] * targets[:8].log()).sum(1).mean()), abs=1e-3
        )
    )
    assert entropy > 0


def test_equal_inputs_with_different_labels_are_not_asked_for() -> None:
    inputs = torch.randn(1, 10).expand(16, 10).clone()
    result = fit_tiny(faults.plain(), inputs, torch.randint(4, (16,)), loss_fn=F.cross_entropy)
    assert result.ok


def test_a_loss_that_still_falls_is_an_info() -> None:
    case = made(mlp)
    result = check(Case(case.model, case.inputs, torch.randn(16, 4) * 1e4, nn.MSELoss()), steps=20)
    assert result.status is Status.PASSED
    assert {finding.severity for finding in result.findings} == {Severity.INFO}


def test_what_does_not_apply() -> None:
    case = made(mlp)
    for parameter in case.model.parameters():
        parameter.requires_grad_(False)
    assert check(case).reason == "no parameter requires a gradient"
    assert "no lower bound" in str(check(Case(*made(mlp)[:3], lambda o, y: -F.cross_entropy(o, y))).reason)
    with pytest.raises(CheckError, match="The loss has to be one number"):
        fit_tiny(nn.Linear(10, 4), case.inputs)
