"""gradients: check_gradients as one check among others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn

from diagnose.checks._calls import Calls
from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.errors import CheckError
from diagnose.findings import Finding, Severity
from diagnose.gradcheck import check_gradients

NAME: Final = "gradients"
ON_PURPOSE: Final = "Something is detached, or computed without a graph: on purpose (a stop-gradient), or not."
LARGE: Final = 0.3
"""Relative error that is a fault where float64 is not to be had: rounding inside of large models leaves a tenth."""
ONLY: Final = "only, wide tolerances"
"""How the precision of a report ends in which nothing was done in float64."""


def gradients(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    seconds: float = 10.0,
    seed: int = 0,
) -> CheckResult:
    """Whether back-propagated gradients agree with differences, for all parameters and inputs, screened.

    It is `diagnose.check_gradients(..., mode="screen")` with the loss, if there is one: see there. Where something is
    detached, a difference is an info: gradient_flow names the parameters that get none. So is what rounding hides,
    and a difference below 30 % where there are random numbers or no float64 copy: `diagnose check-gradients` says more.

    Args:
        seconds: how long wrong elements are looked for, once something is wrong.
        seed: of directions and of what the model draws.

    Raises:
        CheckError: the model or the loss function raises, or there is nothing to check.
    """
    began = time.monotonic()
    options: dict[str, Any] = {"mode": "screen", "seconds": seconds, "seed": seed, "progress": False}
    report = check_gradients(model, inputs, loss_fn=_closed(loss_fn, targets), **options)
    draws = any("random numbers" in note for note in report.notes)
    rough = draws or report.precision.endswith(ONLY)
    if not report.ok and rough and time.monotonic() - began < seconds:
        # A float64 copy draws other random numbers, and does not compute the same. Checked by itself, it need not.
        with contextlib.suppress(CheckError), Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
            wide, batch, its_loss = rehearsal.model.double(), rehearsal.batch.map(_wide), rehearsal.loss_of
            given = batch.kwargs or batch.args
            loss = (lambda output: its_loss(output, batch)) if loss_fn is not None else _own_loss
            report = check_gradients(wide, given, loss_fn=loss, **options)
    with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal, Calls() as calls:
        output = rehearsal.output()
        if loss_fn is not None:
            rehearsal.loss_of(output, rehearsal.batch)
    on_purpose = calls.detached > 0
    right = sum(entry.verdict in ("ok", "kink") for entry in report.entries)
    checked = sum(entry.verdict != "not-checkable" for entry in report.entries)
    summary = f"{right} of {checked} are right"
    if rough and right < checked:
        summary += f" ({report.precision}; random numbers or rounding blur the others)"
    evidence = {
        "checked": checked,
        "right": right,
        "precision": report.precision,
        "wrong": [entry.name for entry in report.wrong],
    }
    return CheckResult(NAME, summary, _merged(report.findings, on_purpose, rough), evidence)  # type: ignore[arg-type]


def _merged(findings: tuple[Finding, ...], on_purpose: bool, rough: bool) -> tuple[Finding, ...]:
    """One finding per code: what is wrong in one place is wrong for all that lies below."""
    merged = []
    for code in dict.fromkeys(finding.code for finding in findings):
        # Inputs come first; a parameter says more about where it is.
        same = [finding for finding in findings if finding.code == code]
        first, *others = sorted(same, key=lambda finding: "." not in str(finding.where.parameter))
        places = [str(finding.where.parameter) for finding in others]
        first = replace(first, evidence={**first.evidence, "also_at": [*places]})
        error = first.evidence.get("relative_error")
        if on_purpose:
            first = replace(first, severity=Severity.INFO, cause=ON_PURPOSE)
        elif code == "unresolved-gradient" or (rough and not (isinstance(error, float) and error > LARGE)):
            first = replace(first, severity=Severity.INFO)
        merged.append(first)
    return tuple(merged)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _closed(loss_fn: LossFn | None, targets: Any) -> Any:
    """The loss function of the output alone."""
    if loss_fn is None:
        return _own_loss
    return loss_fn if targets is None else lambda output: loss_fn(output, targets)


def _own_loss(output: Any) -> Any:
    """The loss that a model returns among others, or all that it returns."""
    if isinstance(output, Mapping) and "loss" in output:
        return output["loss"]
    return getattr(output, "loss", output)
