"""descent: does a small step along the negative gradient lower the loss, by as much as it should?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.checks._calls import Calls
from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.checks._result import CheckResult
from diagnose.checks._rules_of_optimizers import rule_of
from diagnose.checks._trial import MakeOptimizer, NoGradientError, Trial
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "descent"
SIZES: Final = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
"""Lengths of the steps, relative to that of the parameters."""
NOISE: Final = 4.0
"""Rounding errors of a loss, in units of its last digit: sums over a batch make a few."""


def descent(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    optimizer: MakeOptimizer | None = None,
    tolerance: float = 0.05,
    steps: int = 4,
    step_tolerance: float = 1e-3,
    seed: int = 0,
) -> CheckResult:
    """Whether the loss falls along the negative gradient, at the rate that the gradient says.

    A step of lr along it changes the loss by -lr |g|^2, if lr is small enough. The change is measured from both sides,
    (L(-lr) - L(+lr)) / 2, for a ladder of steps with the same random numbers, and compared where it is clear of
    rounding and of curvature. It is one number for all parameters: `check_gradients` looks at each. A gradient that
    leaves out what was detached on purpose (a stop-gradient, a straight-through estimator) is an info.

    Args:
        optimizer: makes an optimizer from the parameters, whose steps are compared with its published rule: SGD, Adam,
            AdamW, RMSprop, Adagrad, and what is derived from them. Others are not checked. None: nothing to compare.
        tolerance: largest relative difference between the fall and the prediction. Curvature and rounding leave less
            than 1 %; a sign or a factor of 2 in a layer that matters leaves far more.
        steps: that are compared with the optimizer's rule. From the second on, its averages take part.
        step_tolerance: largest difference from the rule, relative to the longest change of a number in the step.
        seed: of all random numbers.

    Raises:
        CheckError: the model, the loss function or the optimizer raises, or there is no scalar loss.

    Source:
        Goodfellow, Bengio & Courville, *Deep Learning*, sections 4.3 (first-order prediction) and 11.5.
    """
    with Trial(model, inputs, targets, loss_fn, seed=seed) as trial:
        if not trial.trainable:
            return CheckResult.not_applicable(NAME, "no parameter requires a gradient")
        try:
            with Calls() as calls:
                trial.rehearsal.loss()
            trial.restart()
            loss = float(trial.backward())
        except NoGradientError as error:
            return CheckResult.not_applicable(NAME, str(error))
        fall = _falls(trial, loss, tolerance)
        if isinstance(fall, str) and optimizer is None:
            return CheckResult.not_applicable(NAME, fall)
        findings, evidence, told = [], {}, []
        if isinstance(fall, str):
            told.append(f"not measured: {fall}")
        else:
            evidence, told = fall.evidence(), [fall.summary()]
            if abs(fall.ratio - 1) > tolerance:
                findings.append(_wrong(fall, tolerance, calls.detached > 0))
        if optimizer is not None:
            step = _follows(trial, optimizer, steps, step_tolerance)
            told.append(step.summary())
            evidence |= {"optimizer": step.name, "optimizer_checked": step.known, "step_error": step.error}
            if step.error > step_tolerance:
                findings.append(_wrong_step(step, step_tolerance))
    return CheckResult(NAME, "; ".join(told), tuple(findings), evidence)


# ---------------------------------------------------------------------- along the gradient


@dataclass(frozen=True)
class _Fall:
    """How the loss changes along the negative gradient.

    Attributes:
        rate: of the step that was judged; predicted and measured belong to it.
        ratio: measured over predicted.
        table: rate, loss after the step, ratio, for each step that was tried.
    """

    loss: float
    rate: float
    predicted: float
    ratio: float
    table: tuple[tuple[float, float, float], ...]

    def summary(self) -> str:
        fell = [row for row in self.table if row[1] < self.loss]
        if not fell:
            return "the loss falls at no step size"
        return f"the loss falls by {100 * self.ratio:.3g} % of what the gradient predicts"

    def evidence(self) -> dict[str, Evidence]:
        return {
            "loss": self.loss,
            "rate": self.rate,
            "predicted_fall": self.predicted,
            "measured_fall": self.ratio * self.predicted,
            "ratio": self.ratio,
            "rates": [row[0] for row in self.table],
            "losses": [row[1] for row in self.table],
            "ratios": [row[2] for row in self.table],
        }


def _falls(trial: Trial, loss: float, tolerance: float) -> _Fall | str:
    """What was measured, or why nothing could be."""
    gradients = {name: g.clone() for name, g in trial.gradients().items() if g is not None and g.is_floating_point()}
    square = sum(float(g.double().square().sum()) for g in gradients.values())
    if not math.isfinite(loss) or not math.isfinite(square):
        return "the loss or its gradient is not finite"
    if not square:
        return "the gradient is zero"
    trial.rehearsal.restart()
    if _loss(trial) != loss:
        return "the loss differs from run to run, with the same random numbers"
    size = math.sqrt(sum(float(trial.trainable[name].detach().double().square().sum()) for name in gradients)) or 1.0
    digit = torch.finfo(next(iter(gradients.values())).dtype).eps * abs(loss)
    rows: list[tuple[float, float, float, float]] = []
    for length in SIZES:
        rate = length * size / math.sqrt(square)
        below, above = (_loss_after(trial, gradients, sign * rate) for sign in (-1, 1))
        predicted = rate * square
        ratio = (above - below) / (2 * predicted)
        if math.isfinite(ratio):
            rows.append((rate, below, ratio, NOISE * digit / predicted))
    pairs = [(abs(a[2] - b[2]) + a[3] + b[3], b) for a, b in itertools.pairwise(rows)]
    if not pairs or (best := min(pairs, key=lambda pair: pair[0]))[0] > 0.1:
        return "rounding and curvature hide the slope of the loss"
    rate, _, ratio, _ = best[1]
    if abs(ratio - 1) > tolerance and not _settled(rows, best[1]):
        return "its slope depends on the step, however small: a root or a jump is near"
    return _Fall(loss, rate, rate * square, ratio, tuple(row[:3] for row in rows))


def _settled(rows: list[tuple[float, float, float, float]], judged: tuple[float, float, float, float]) -> bool:
    """Whether the ratio stays the same over three steps, of which the shortest is ten times the longest or less."""
    around = [row for row in rows if 0.09 * judged[0] <= row[0] <= 11 * judged[0]]
    low, high = min(row[2] for row in around), max(row[2] for row in around)
    return len(around) >= 3 and high - low <= 0.1 * max(abs(judged[2]), abs(judged[2] - 1))


def _loss(trial: Trial) -> float:
    """As in training: some functions compute something else without a graph."""
    return float(trial.rehearsal.loss().detach())


def _loss_after(trial: Trial, gradients: dict[str, Tensor], step: float) -> float:
    trial.rehearsal.restart()
    with trial.moved(gradients, step):
        return _loss(trial)


def _wrong(fall: _Fall, tolerance: float, detached: bool) -> Finding:
    rises = fall.ratio <= 0
    severity = Severity.INFO if detached else Severity.ERROR if rises else Severity.WARNING
    what = "the loss rises" if rises else f"the loss falls by {100 * fall.ratio:.3g} % of what the gradient predicts"
    cause = (
        "Something was detached, or computed without a graph, and moves with the parameters all the same: a "
        "stop-gradient on purpose, or not."
        if detached
        else "A custom backward that is wrong, a gradient that is changed by a hook, or one that differs on purpose "
        "(straight-through, reversal)."
    )
    return Finding(
        "wrong-gradient",
        severity,
        f"after a small step along the negative gradient {what}",
        evidence={
            "rate": fall.rate,
            "predicted_fall": fall.predicted,
            "measured_fall": fall.ratio * fall.predicted,
            "ratio": fall.ratio,
            "tolerance": tolerance,
        },
        cause=cause,
        remedy="`diagnose check-gradients` names the parameter, the element and the module.",
    )


# ---------------------------------------------------------------------- the optimizer's step


@dataclass
class _Step:
    """How an optimizer's steps compare with its rule.

    Attributes:
        known: whether there is a rule to compare with.
        error: largest difference, relative to the longest change, beyond rounding; of that parameter, in that step.
    """

    name: str
    known: bool
    error: float = 0.0
    parameter: str | None = None
    number: int = 0
    moved: float = 0.0
    expected: float = 0.0
    why: str = "its rule is not known here"

    def summary(self) -> str:
        if not self.known:
            return f"{self.name} was not checked: {self.why}"
        return f"{self.name} follows its rule to {self.error:.1g}"


def _follows(trial: Trial, make: MakeOptimizer, steps: int, tolerance: float) -> _Step:
    trial.restart()
    optimizer = make(trial.trainable.values())
    rule, found = rule_of(optimizer), _Step(type(optimizer).__name__, True)
    if rule is None:
        return _Step(found.name, False)
    names = {id(parameter): name for name, parameter in trial.trainable.items()}
    states: dict[int, dict[str, Any]] = {}
    for number in range(1, steps + 1):
        trial.backward()
        before = {key: parameter.detach().double() for key, parameter in _held(optimizer)}
        gradients = {key: p.grad.to_dense().double() for key, p in _held(optimizer) if p.grad is not None}
        try:
            optimizer.step()
        except TypeError:
            return _Step(found.name, False, why="its step needs a closure")
        for group in optimizer.param_groups:
            sign = -1.0 if group.get("maximize") else 1.0
            for parameter in group["params"]:
                key = id(parameter)
                if key not in gradients:
                    continue
                expected = rule(before[key], sign * gradients[key], group, states.setdefault(key, {}))
                _compare(found, names[key], number, parameter.detach(), before[key], expected)
        if found.error > tolerance:
            break
    return found


def _held(optimizer: Optimizer) -> list[tuple[int, nn.Parameter]]:
    return [(id(parameter), parameter) for group in optimizer.param_groups for parameter in group["params"]]


def _compare(found: _Step, name: str, number: int, after: Tensor, before: Tensor, expected: Tensor) -> None:
    change, wanted = after.double() - before, expected - before
    longest = float(torch.maximum(change.abs().max(), wanted.abs().max()))
    if not longest:
        return
    rounding = 4 * torch.finfo(after.dtype).eps * float(before.abs().max())
    difference = (change - wanted).abs()
    error = max(float(difference.max()) - rounding, 0.0) / longest
    if error > found.error:
        worst = int(difference.argmax())
        found.error, found.parameter, found.number = error, name, number
        found.moved, found.expected = float(change.flatten()[worst]), float(wanted.flatten()[worst])


def _wrong_step(step: _Step, tolerance: float) -> Finding:
    return Finding(
        "wrong-optimizer-step",
        Severity.WARNING,
        f"step {step.number} of {step.name} moves a number of {step.parameter} by {step.moved:.4g}, and by its rule it "
        f"would move by {step.expected:.4g}",
        Location(parameter=step.parameter),
        step.number,
        step.number,
        evidence={"moved": step.moved, "expected": step.expected, "relative_error": step.error, "limit": tolerance},
        cause="A `step` of its own that differs from the rule of the class that it is derived from.",
        remedy="Compare it with the formula term by term: weight decay, bias correction, epsilon, the sign.",
    )
