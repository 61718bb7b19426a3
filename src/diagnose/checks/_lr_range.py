"""lr_range_test: the loss while the learning rate grows."""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.checks._result import CheckResult
from diagnose.checks._trial import MakeOptimizer, NoGradientError, Trial
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Severity

NAME: Final = "lr-range-test"
SMOOTHING: Final = 0.7
BLOWN_UP: Final = 3.0
"""Times the whole fall so far by which the loss has to be above its start to count as blown up."""
MOST: Final = 0.95
"""Of the whole fall: what comes after is the edge, where training falls no more and then blows up."""
SOME: Final = 0.01
"""Share of the loss by which it has to fall somewhere for a range to be suggested."""
WIDTH: Final = 60
HEIGHT: Final = 10


@dataclass(frozen=True)
class LrRangeResult(CheckResult):
    """The loss against the learning rate. `str()` draws it.

    Attributes:
        rates: the learning rate of each step, ascending.
        losses: before each step.
        smoothed: averages of the losses, which the suggestion is made from.
        suggested: (lowest, highest) learning rate that is worth trying; None if the loss fell nowhere.
        steepest: where the loss falls most, per factor of the rate; inside of the range.
    """

    rates: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    smoothed: tuple[float, ...] = ()
    suggested: tuple[float, float] | None = None
    steepest: float | None = None

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Writes the curve, with the suggested range, as an image; the ending of `path` says of which kind.

        Raises:
            CheckError: matplotlib is not installed, there is no curve, or the file cannot be written.
        """
        if not self.rates:
            raise CheckError(f"There is nothing to plot: {self.summary}.")
        try:
            figures = importlib.import_module("matplotlib.figure")
        except ImportError as error:
            raise CheckError(
                "Plots need matplotlib: pip install matplotlib. print(result) draws one in text."
            ) from error
        figure = figures.Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, ".", color="0.7", markersize=4, label="loss")
        axes.plot(self.rates, self.smoothed, label="smoothed")
        if self.suggested is not None:
            low, high = self.suggested
            axes.axvspan(low, high, alpha=0.15, label=f"suggested: {low:.1e} to {high:.1e}")
        start = self.losses[0]
        lowest = min(value for value in self.smoothed if math.isfinite(value))
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(top=start + max(start - lowest, 0.1 * abs(start)), bottom=lowest - 0.05 * abs(start - lowest))
        axes.legend()
        try:
            figure.savefig(os.fspath(path))
        except (OSError, ValueError) as error:
            raise CheckError(f"{os.fspath(path)} cannot be written: {error}") from error

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *_drawn(self)])


def lr_range_test(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    optimizer: MakeOptimizer | None = None,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int | None = None,
    seed: int = 0,
) -> LrRangeResult:
    """The loss of a copy that is trained while the learning rate grows from step to step, with a suggested range.

    The range begins where a tenth of the whole fall has happened and ends where 95 % have; it spans a factor of ten at
    least. Above, training falls no more, then blows up. It holds for this optimizer and this batch size.

    Args:
        optimizer: makes the optimizer from the parameters; its other options stay, and rates of several groups keep
            their ratios. None: SGD with momentum 0.9.
        lowest, highest: learning rates between which it grows by the same factor in each step.
        steps: fewer make the curve coarse, more let the model learn before the rate gets interesting.
        batch_size: examples drawn at random for each step; None takes all of them every time.
        seed: of all random numbers.

    Raises:
        CheckError: the model or the loss function raises, or there is no scalar loss.
        ValueError: an argument is out of range.

    Source:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3; Goodfellow, Bengio &
        Courville, *Deep Learning*, section 11.4.1: if only one hyperparameter can be tuned, tune this one.
    """
    if not 0 < lowest < highest or steps < 10:
        raise ValueError("lr_range_test needs 0 < lowest < highest, and 10 steps or more")
    make = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9))
    with Trial(model, inputs, targets, loss_fn, seed=seed) as trial:
        if not trial.trainable:
            return _nothing("no parameter requires a gradient")
        try:
            rates, losses, own = _sweep(trial, make, lowest, highest, steps, batch_size)
        except NoGradientError as error:
            return _nothing(str(error))
    if not math.isfinite(losses[0]):
        return _nothing(f"the loss is {losses[0]} before any step")
    return _result(rates, losses, own if optimizer is not None else None)


def _nothing(reason: str) -> LrRangeResult:
    return LrRangeResult(NAME, f"not applicable: {reason}", reason=reason)


def _sweep(
    trial: Trial, make: MakeOptimizer, lowest: float, highest: float, steps: int, batch_size: int | None
) -> tuple[list[float], list[float], float]:
    """(rates, losses, the optimizer's own rate)."""
    step = make(trial.trainable.values())
    own = float(step.param_groups[0]["lr"])
    shares = [float(group["lr"]) / own if own else 1.0 for group in step.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    size = trial.batch.size
    for index in range(steps):
        rate = lowest * (highest / lowest) ** (index / (steps - 1))
        for group, share in zip(step.param_groups, shares, strict=True):
            group["lr"] = rate * share
        batch = trial.batch
        if batch_size is not None and size is not None and batch_size < size:
            batch = batch.take(torch.randperm(size)[:batch_size].tolist())
        loss = float(trial.backward(batch))
        rates.append(rate)
        losses.append(loss)
        fall = losses[0] - min(losses)
        if not math.isfinite(loss) or loss > losses[0] + BLOWN_UP * max(fall, 0.1 * abs(losses[0])):
            break
        step.step()
    return rates, losses, own


def _result(rates: list[float], losses: list[float], own: float | None) -> LrRangeResult:
    smoothed = _smoothed(losses)
    best = min(range(len(smoothed)), key=lambda i: smoothed[i] if math.isfinite(smoothed[i]) else math.inf)
    fall = smoothed[0] - smoothed[best]
    blown_up = losses[-1] > losses[0] or not math.isfinite(losses[-1])
    suggested = steepest = None
    findings: list[Finding] = []
    if fall > SOME * abs(losses[0]):
        high = next(rate for rate, value in zip(rates, smoothed, strict=True) if smoothed[0] - value >= MOST * fall)
        begins = next(rate for rate, value in zip(rates, smoothed, strict=True) if smoothed[0] - value >= 0.1 * fall)
        suggested = min(begins, high / 10), high
        slopes = [smoothed[i] - smoothed[i - 1] for i in range(1, best + 1)]
        at = rates[1 + min(range(len(slopes)), key=slopes.__getitem__)]
        steepest = min(max(at, suggested[0]), suggested[1])
        summary = f"learning rates from {suggested[0]:.1e} to {suggested[1]:.1e} are worth trying"
    else:
        summary = "the loss falls at no learning rate"
        findings.append(_nowhere(losses[0], fall))
    if own is not None and suggested is not None and blown_up and own >= rates[-1]:
        findings.append(_too_large(own, rates[-1], suggested))
    evidence: dict[str, Evidence] = {
        "rates": [*rates],
        "losses": [value if math.isfinite(value) else str(value) for value in losses],
        "suggested": None if suggested is None else [*suggested],
        "steepest": steepest,
        "blows_up_at": rates[-1] if blown_up else None,
    }
    return LrRangeResult(
        NAME,
        summary,
        tuple(findings),
        evidence,
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        suggested=suggested,
        steepest=steepest,
    )


def _smoothed(losses: list[float]) -> list[float]:
    """Exponential averages, corrected for their start."""
    average, found = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING**number))
    return found


def _nowhere(start: float, fall: float) -> Finding:
    return Finding(
        "loss-not-decreasing",
        Severity.INFO,
        f"the loss, {start:.3g} at the start, falls by no more than {max(fall, 0.0):.2g} at any learning rate",
        evidence={"first_loss": start, "fall": fall, "limit": SOME * abs(start)},
        cause="The loss is as low as it can be already, or nothing can be learned.",
        remedy="fit_tiny and gradient_flow say which.",
    )


def _too_large(own: float, limit: float, suggested: tuple[float, float]) -> Finding:
    return Finding(
        "update-too-large",
        Severity.WARNING,
        f"the optimizer's learning rate is {own:g}, and the loss blows up at {limit:.2g}",
        evidence={"rate": own, "blows_up_at": limit, "suggested": [*suggested]},
        cause="The learning rate is too large for this model and this optimizer.",
        remedy=f"Try one between {suggested[0]:.1e} and {suggested[1]:.1e}.",
    )


# ---------------------------------------------------------------------- the curve in text


def _drawn(result: LrRangeResult) -> list[str]:
    """Lines of text with the smoothed curve; a bar below marks the suggested range."""
    if len(result.rates) < 2:
        return []
    low, high = math.log10(result.rates[0]), math.log10(result.rates[-1])
    values = [value for value in result.smoothed if math.isfinite(value)]
    bottom = min(values)
    top = min(max(values), values[0] + max(values[0] - bottom, 0.1 * abs(values[0])))
    height = (top - bottom) or 1.0

    def column(rate: float) -> int:
        return round((math.log10(rate) - low) / (high - low) * (WIDTH - 1))

    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for rate, value in zip(result.rates, result.smoothed, strict=True):
        level = (value - bottom) / height if math.isfinite(value) else 2.0
        if level <= 1.05:
            rows[HEIGHT - 1 - min(round(level * (HEIGHT - 1)), HEIGHT - 1)][column(rate)] = "*"
    labels = {0: f"{top:.3g}", HEIGHT - 1: f"{bottom:.3g}"}
    lines = [f"{labels.get(i, ''):>10} |{''.join(row)}".rstrip() for i, row in enumerate(rows)]
    axis = ["-"] * WIDTH
    if result.suggested is not None:
        first, last = (min(max(column(rate), 0), WIDTH - 1) for rate in result.suggested)
        axis[first : last + 1] = "=" * (last + 1 - first)
    lines.append(f"{'':>10} +{''.join(axis)}")
    left, right = f"{result.rates[0]:.0e}", f"{result.rates[-1]:.2g}"
    lines.append(f"{'':>12}{left}{'learning rate, === suggested':^{WIDTH - len(left) - len(right)}}{right}")
    return lines
