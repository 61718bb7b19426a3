"""fit_tiny: can the model learn a single example, and a few, by heart?"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.checks._calls import ELEMENTWISE, Calls
from diagnose.checks._least import least_loss, loss_of_zeros
from diagnose.checks._rehearsal import Batch, Inputs, LossFn, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.checks._trial import MakeOptimizer, NoGradientError, Trial
from diagnose.checks._unreached import Called, listed, unreached
from diagnose.collect.nested import tensors_in
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "fit-tiny"
RATES: Final = (1e-2, 1e-3, 1e-1, 1e-4)
"""Of Adam, tried in turn: networks of all kinds learn eight examples with one of the first two."""
FACTORS: Final = (0.1, 10.0, 0.01, 100.0)
"""By which the learning rate of the caller's optimizer is changed, if it does not fit as it is."""
STILL: Final = 0.05
"""Of the gap to the least loss that has to be closed in the second half of the steps, else the loss stands still."""
AMPLE: Final = 4
"""Trainable parameters per number that the loss compares: with fewer, a network may be too small, not broken."""
ALIKE: Final = 1e-4
"""Spread of outputs over examples, relative to their size, below which they are the same."""


def fit_tiny(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    optimizer: MakeOptimizer | None = None,
    examples: int = 8,
    steps: int = 300,
    tolerance: float = 0.05,
    seconds: float = 30.0,
    seed: int = 0,
) -> CheckResult:
    """Whether the model can learn a single example, then a few, down to the least loss that there is.

    A network that cannot learn one example by heart has a defect in its code, not a lack of data. The least loss is
    not always zero (soft labels, smoothing): it is found by moving the outputs themselves, without the network. Where
    no learning rate of a ladder fits, and the loss stands still above the least one, it is a defect; where another
    rate than that of `optimizer` fits, it is the optimisation; where the loss still falls at the end, that is an info.
    Dropout is off.

    Args:
        optimizer: makes the optimizer from the parameters; its rate is tried first, then others, then Adam.
            None: Adam at 1e-2, 1e-3, 1e-1 and 1e-4.
        examples: of the second part. Fewer, if the model has not two parameters for each number that the loss compares.
        steps: of each attempt. Adam fits eight examples in 30 to 200.
        tolerance: share of the gap between a model that knows nothing and the least loss that may remain. At 5 % of
            ln 10, the right one of ten classes has a probability of 0.89.
        seconds: after which no further attempt is begun.
        seed: of all random numbers.

    Raises:
        CheckError: the model or the loss function raises, or there is no scalar loss.

    Source:
        Goodfellow, Bengio & Courville, *Deep Learning*, section 11.5 ("fit a tiny dataset"); Karpathy, "A Recipe for
        Training Neural Networks", 2019 ("overfit one batch").
    """
    with Trial(model, inputs, targets, loss_fn, dropout=False, seed=seed) as trial:
        if not trial.trainable:
            return CheckResult.not_applicable(NAME, "no parameter requires a gradient")
        plan = _Plan(optimizer, steps, tolerance, time.monotonic() + seconds)
        called = Called(trial.rehearsal.model)
        try:
            with called:
                start = trial.backward()
            stages = _stages(trial, examples, plan) if start.isfinite() else []
        except NoGradientError as error:
            return CheckResult(NAME, str(error), (_nothing(trial),))
        if not stages:
            return CheckResult.not_applicable(NAME, f"the loss is {float(start)} before any step")
        if stages[0].least is None and stages[0].start <= 0:
            return CheckResult.not_applicable(NAME, "no lower bound of the loss is known")
        findings = [finding for stage in stages for finding in stage.findings()]
        if all(stage.fitted for stage in stages):
            findings += unreached(trial.rehearsal.model, _untouched(trial, stages), called)
    evidence: dict[str, Evidence] = {stage.name: stage.evidence() for stage in stages}
    return CheckResult(NAME, "; ".join(stage.summary() for stage in stages), tuple(findings), evidence)


@dataclass(frozen=True)
class _Plan:
    optimizer: MakeOptimizer | None
    steps: int
    tolerance: float
    deadline: float


@dataclass
class _Attempt:
    """One training from the start.

    Attributes:
        label: of the optimizer and its rate.
        given: whether it was the caller's optimizer as it is.
        fall: share of the gap that was closed in the second half.
        unmoved: parameters that are as they were.
        output: at the end.
    """

    label: str
    given: bool
    losses: list[float]
    fall: float = 1.0
    unmoved: list[str] = field(default_factory=list)
    output: Any = None

    @property
    def last(self) -> float:
        return statistics.median(self.losses[-3:])


@dataclass
class _Stage:
    """What came out for some examples.

    Attributes:
        least: the least loss, None if it is not known.
        knowing_nothing: the loss of a model that does not look at its inputs, or of the start if that is lower.
        wanted: outputs of the least loss.
        ample: whether the model has parameters enough for it.
        mixes: the least loss if each example were alone, where the loss mixes them so that none can be told apart.
        broadcast: shapes of what an elementwise loss compares, if they differ.
    """

    name: str
    size: int | None
    start: float
    least: float | None
    knowing_nothing: float
    tolerance: float
    wanted: Any = None
    ample: bool = True
    constant: float | None = None
    mixes: float | None = None
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    attempts: list[_Attempt] = field(default_factory=list)
    told_apart: bool = True
    parameters: int = 0
    smaller_fits: bool = False

    @property
    def floor(self) -> float:
        return self.least if self.least is not None else 0.0

    @property
    def goal(self) -> float:
        return self.floor + self.tolerance * max(self.knowing_nothing - self.floor, 1e-6 * abs(self.floor), 1e-12)

    def fits(self, attempt: _Attempt) -> bool:
        return math.isfinite(attempt.last) and attempt.last <= self.goal

    @property
    def best(self) -> _Attempt:
        return min(self.attempts, key=lambda one: one.last if math.isfinite(one.last) else math.inf)

    @property
    def fitted(self) -> bool:
        return self.fits(self.best)

    def summary(self) -> str:
        what = {None: "the batch", 1: "1 example"}.get(self.size, f"{self.size} examples")
        if self.fitted:
            best = self.best
            return f"{what}: {best.last:.2g} after {len(best.losses)} steps of {best.label}"
        return f"{what}: {self.best.last:.3g}, where {self.floor:.3g} is possible"

    def evidence(self) -> dict[str, Evidence]:
        best = self.best
        return {
            "examples": self.size,
            "first_loss": self.start,
            "least_loss": self.least,
            "loss_of_knowing_nothing": self.knowing_nothing,
            "goal": self.goal,
            "reached": best.last,
            "steps": len(best.losses),
            "optimizer": best.label,
            "unmoved": list(best.unmoved),
            "attempts": {one.label: one.last for one in self.attempts},
        }

    # ------------------------------------------------------------------ findings

    def findings(self) -> Iterator[Finding]:
        if self.broadcast is not None:
            yield self._broadcast(*self.broadcast)
        elif self.mixes is not None:
            yield self._mixed(self.mixes)
        if self.fitted:
            if self.attempts[0].given and not self.fits(self.attempts[0]):
                yield self._optimisation()
            return
        if not any(math.isfinite(one.last) for one in self.attempts):
            yield self._not_finite()
        elif self.best.fall >= STILL or self.least is None:
            yield self._still_falling()
        else:
            yield self._stuck()

    def _what(self) -> str:
        return {None: "the batch is", 1: "a single example is"}.get(self.size, f"{self.size} examples are")

    def _numbers(self) -> dict[str, Evidence]:
        best = self.best
        return {
            "reached": best.last,
            "least_loss": self.least,
            "goal": self.goal,
            "first_loss": self.start,
            "attempts": {one.label: one.last for one in self.attempts},
        }

    def _optimisation(self) -> Finding:
        given, best = self.attempts[0], self.best
        course = "is not finite" if not math.isfinite(given.last) else f"stays at {given.last:.3g}"
        return Finding(
            "tiny-batch-not-fitted",
            Severity.WARNING,
            f"{self._what()} not fitted by {given.label} (the loss {course}), and by {best.label} it is",
            evidence=self._numbers(),
            cause="The optimisation, not the model: the learning rate is too large or too small.",
            remedy=f"Try {best.label}; diagnose.checks.lr_range_test shows which rates work.",
        )

    def _not_finite(self) -> Finding:
        return Finding(
            "nan-or-inf",
            Severity.ERROR,
            f"the loss becomes {self.best.last} while {self._what()} fitted, at every learning rate",
            evidence=self._numbers(),
            cause="A logarithm, root or division by zero that is reached when the model is sure of itself.",
            remedy="Use the loss functions that take logits; keep arguments away from zero by a clamp or an epsilon.",
        )

    def _still_falling(self) -> Finding:
        return Finding(
            "tiny-batch-not-fitted",
            Severity.INFO,
            f"{self._what()} not fitted within {len(self.best.losses)} steps; the loss is {self.best.last:.3g}"
            + ("" if self.least is None else f", where {self.floor:.3g} is possible, and still falls"),
            evidence=self._numbers(),
            cause="Targets of a large scale, random labels of many pixels, or a loss whose least value is not known.",
            remedy="More `steps`, or examples that are easier; a target of mean 0 and variance 1.",
        )

    def _stuck(self) -> Finding:
        best, shown = self.best, self._numbers()
        if best.unmoved:
            shown["unmoved"] = list(best.unmoved)
        ranged = _out_of_range(best.output, self.wanted) if self.size is not None else None
        message = (
            f"{self._what()} not fitted: the loss stands still at {best.last:.3g}, where {self.floor:.3g} is possible"
        )
        cause, code, severity = self._cause(ranged)
        where = (
            Location(parameter=best.unmoved[0], module=best.unmoved[0].rpartition(".")[0] or None)
            if best.unmoved
            else Location()
        )
        return Finding(
            code,
            severity,
            message,
            where,
            evidence=shown,
            cause=cause,
            remedy="Compare two examples layer by layer, from the input on; then look at what the loss is given: its "
            "shape, its range, and the dimension that it sums over.",
        )

    def _cause(self, ranged: str | None) -> tuple[str, str, Severity]:
        """Why, the code, and how bad."""
        code, severity = "tiny-batch-not-fitted", Severity.ERROR
        unmoved = self.best.unmoved
        if not self.told_apart:
            return (
                "The outputs are the same for all examples: somewhere the model stops telling its inputs apart.",
                "constant-output",
                severity,
            )
        if unmoved and len(unmoved) * 2 >= self.parameters:
            return (f"No learning rate moves {listed(unmoved)}: no gradient gets there.", code, severity)
        if ranged is not None:
            return ranged, "output-activation-mismatch", severity
        if unmoved:
            return f"No learning rate moves {listed(unmoved)}: no gradient gets there.", code, Severity.WARNING
        if self.smaller_fits:
            return (
                "Fewer examples can be fitted: the model is too small for these, or examples are mixed.",
                code,
                Severity.INFO,
            )
        if not self.ample:
            return (
                "The model has few parameters for so many targets: it may be too small, and nothing be wrong.",
                code,
                Severity.INFO,
            )
        return (
            "A defect: units that are dead or saturated, a loss over the wrong dimension, or outputs that no "
            "parameter can move where the loss wants them.",
            code,
            Severity.WARNING,
        )

    def _broadcast(self, given: tuple[int, ...], target: tuple[int, ...]) -> Finding:
        return Finding(
            "loss-broadcast",
            Severity.ERROR,
            f"the loss compares outputs of shape {given} with targets of shape {target}: each with each",
            evidence={"input_shape": list(given), "target_shape": list(target)},
            cause="A dimension of size 1 on one side only.",
            remedy="Give both the same shape: outputs.squeeze(1), or targets.unsqueeze(1).",
        )

    def _mixed(self, alone: float) -> Finding:
        return Finding(
            "loss-broadcast",
            Severity.ERROR,
            f"no outputs bring the loss of {self.size} examples below {self.floor:.3g}, which equal outputs have, too; "
            f"each example alone can get {alone:.3g}",
            evidence={"least_loss": self.least, "loss_of_equal_outputs": self.constant, "least_loss_alone": alone},
            cause="The loss compares each output with the targets of other examples: shapes (N, 1) and (N) broadcast "
            "to (N, N), or a mean is taken before the difference.",
            remedy="Give outputs and targets the same shape, and take the mean last.",
        )


# ---------------------------------------------------------------------- stages


def _stages(trial: Trial, examples: int, plan: _Plan) -> list[_Stage]:
    rows = _distinct(trial.batch, examples)
    single, first_size = _smallest(trial, rows)
    stages = [_run("single" if first_size == 1 else "smallest", trial, single, first_size, plan)]
    parameters = sum(parameter.numel() for parameter in trial.trainable.values())
    per_example = max(_numbers(trial, single) // (first_size or 1), 1)
    size = min(len(rows), examples, max(parameters // (2 * per_example), 1))
    if first_size is None or size <= first_size or not (stages[0].fitted or stages[0].best.fall >= STILL):
        return stages
    stages.append(_run("batch", trial, trial.batch.take(rows[:size]), size, plan))
    if not stages[1].fitted and stages[1].told_apart and size > 2:
        pair = _run("pair", trial, trial.batch.take(rows[:2]), 2, plan)
        stages[1].smaller_fits = pair.fitted
    return stages


def _distinct(batch: Batch, most: int) -> list[int]:
    """Rows of examples whose inputs differ."""
    if batch.size is None:
        return []
    tensors = [t for t in tensors_in((batch.args, dict(batch.kwargs))) if t.dim() and t.shape[0] == batch.size]
    rows: list[int] = []
    for row in range(batch.size):
        if all(any(not torch.equal(t[row], t[other]) for t in tensors) for other in rows):
            rows.append(row)
        if len(rows) == most:
            break
    return rows


def _smallest(trial: Trial, rows: list[int]) -> tuple[Batch, int | None]:
    """One example; two if the model takes no single one (batch normalisation); else the whole batch."""
    for size in (1, 2, 4):
        if len(rows) < size:
            break
        batch = trial.batch.take(rows[:size])
        try:
            trial.restart()
            trial.backward(batch)
        except NoGradientError:
            raise
        except CheckError:
            continue
        return batch, size
    trial.restart()
    trial.backward()
    return trial.batch, None


def _numbers(trial: Trial, batch: Batch) -> int:
    """How many numbers the loss compares: those of the output, or of the targets if they are fewer."""
    trial.restart()
    with torch.no_grad():
        output = trial.rehearsal.output(batch)
    first = first_tensor(output)
    counts = [first.numel()] if first is not None else []
    target = next(tensors_in(batch.targets), None)
    return min([*counts, target.numel()]) if target is not None and counts else sum(counts)


def _run(name: str, trial: Trial, batch: Batch, size: int | None, plan: _Plan) -> _Stage:
    stage = _measured(name, trial, batch, size, plan)
    for label, given, make in _ladder(plan.optimizer):
        attempt = _attempt(trial, batch, label, given, make(trial.trainable.values()), stage.goal, plan.steps)
        stage.attempts.append(attempt)
        if stage.fits(attempt):
            break
        gap = max(attempt.losses[len(attempt.losses) // 2] - stage.floor, 1e-30)
        middle = statistics.median(attempt.losses[len(attempt.losses) // 2 :][:5])
        attempt.fall = (middle - statistics.median(attempt.losses[-5:])) / gap
        if time.monotonic() > plan.deadline:
            break
    if size is not None and size > 1 and not stage.fitted:
        stage.told_apart = _told_apart(stage.best.output, size)
    return stage


def _measured(name: str, trial: Trial, batch: Batch, size: int | None, plan: _Plan) -> _Stage:
    """The stage before training: what is possible."""
    trial.restart()
    rehearsal = trial.rehearsal
    with Calls() as calls:
        output = rehearsal.output(batch)
        loss = rehearsal.loss_of(output, batch)
    start = float(loss.detach())

    def of_outputs(outputs: Any) -> Tensor:
        return rehearsal.loss_of(outputs, batch)

    call = calls.is_the_loss(loss.detach())
    loss_of, free = (
        (of_outputs, output) if rehearsal.has_loss else (call.function if call else None, call and call.input)
    )
    found = equal = zeros = None
    if loss_of is not None:
        found = least_loss(loss_of, free, batch.targets)
        zeros = loss_of_zeros(loss_of, free)
        if size is not None and size > 1 and found is not None:
            equal = least_loss(loss_of, free, shared=True)
    known = [
        value for value in (start, zeros, equal[0] if equal else None) if value is not None and math.isfinite(value)
    ]
    least = min(found[0], *known) if found is not None and known else found[0] if found else None
    parameters = sum(parameter.numel() for parameter in trial.trainable.values())
    stage = _Stage(
        name,
        size,
        start,
        least,
        _reference(known, least if least is not None else 0.0),
        plan.tolerance,
        wanted=found[1] if found is not None else None,
        ample=parameters >= AMPLE * _numbers(trial, batch),
        constant=equal[0] if equal else None,
        parameters=len(trial.trainable),
    )
    if size is not None and size > 1:
        shapes = [
            (tuple(c.input.shape), tuple(c.target.shape))
            for c in calls.losses
            if c.name in ELEMENTWISE and c.target is not None and c.input.shape != c.target.shape
        ]
        stage.broadcast = next((pair for pair in shapes if all(math.prod(s) > 1 for s in pair)), None)
        if equal is not None and least is not None and rehearsal.has_loss:
            stage.mixes = _mixes(trial, batch, size, least, equal[0], start)
    trial.restart()
    return stage


def _reference(known: list[float], least: float) -> float:
    """The lowest loss of a model that knows nothing, those left out that are the least loss by chance."""
    if not known:
        return 1.0
    return min((value for value in known if value - least > 0.01 * (known[0] - least)), default=known[0])


def _mixes(trial: Trial, batch: Batch, size: int, least: float, equal: float, known: float) -> float | None:
    """The mean of the least losses of single examples, if equal outputs are as good as any and that is far lower."""
    if least <= 0 or equal > least * 1.02:
        return None
    alone = []
    for row in range(size):
        one = batch.take([row])
        try:
            trial.rehearsal.restart()
            output = trial.rehearsal.output(one)
            found = least_loss(lambda out, one=one: trial.rehearsal.loss_of(out, one), output, one.targets)  # type: ignore[misc]
        except CheckError:
            return None
        if found is None:
            return None
        alone.append(found[0])
    mean = statistics.fmean(alone)
    return mean if mean < 0.5 * least and 0.5 * least > 1e-3 * abs(known) else None


def _ladder(optimizer: MakeOptimizer | None) -> Iterator[tuple[str, bool, MakeOptimizer]]:
    if optimizer is not None:
        yield from _given(optimizer)
    for rate in RATES:
        yield f"Adam at {rate:g}", False, lambda parameters, rate=rate: torch.optim.Adam(parameters, lr=rate)  # type: ignore[misc]


def _given(optimizer: MakeOptimizer) -> Iterator[tuple[str, bool, MakeOptimizer]]:
    """The caller's optimizer, with its rate and with others."""
    made = optimizer([nn.Parameter(torch.zeros(1))])
    kind, rate = type(made).__name__, float(made.param_groups[0]["lr"])

    def scaled(factor: float) -> MakeOptimizer:
        def make(parameters: Any) -> Optimizer:
            new = optimizer(parameters)
            for group in new.param_groups:
                group["lr"] = group["lr"] * factor
            return new

        return make

    yield f"{kind} at {rate:g}", True, optimizer
    for factor in FACTORS:
        yield f"{kind} at {rate * factor:g}", False, scaled(factor)


def _attempt(
    trial: Trial, batch: Batch, label: str, given: bool, optimizer: Optimizer, goal: float, steps: int
) -> _Attempt:
    trial.restart()
    losses: list[float] = []
    for _ in range(steps):
        loss = float(trial.backward(batch))
        losses.append(loss)
        if not math.isfinite(loss) or (len(losses) >= 3 and statistics.median(losses[-3:]) <= goal):
            break
        optimizer.step()
    with torch.no_grad():
        output = trial.rehearsal.output(batch) if math.isfinite(losses[-1]) else None
    attempt = _Attempt(label, given, losses, unmoved=trial.unmoved(), output=output)
    if not math.isfinite(losses[-1]):
        attempt.losses[-3:] = [losses[-1]] * len(losses[-3:])
    return attempt


def _untouched(trial: Trial, stages: list[_Stage]) -> list[str]:
    """The parameters that no stage has moved and that get no gradient from the whole batch either."""
    trial.restart()
    trial.backward()
    moved = {name for stage in stages for name in trial.trainable if name not in stage.best.unmoved}
    reached = {name for name, gradient in trial.gradients().items() if gradient is not None}
    return [name for name in trial.trainable if name not in moved | reached]


def _told_apart(output: Any, size: int) -> bool:
    first = first_tensor(output)
    if first is None or not first.dim() or first.shape[0] != size or not first.is_floating_point():
        return True
    spread = (first - first.mean(0, keepdim=True)).abs().max()
    return bool(spread > ALIKE * first.abs().max())


def _out_of_range(output: Any, wanted: Any) -> str | None:
    """What the last activation lets through, if the least loss needs outputs beyond it."""
    got, want = first_tensor(output), first_tensor(wanted)
    if got is None or want is None or not got.is_floating_point() or got.shape != want.shape:
        return None
    low, high = float(got.min()), float(got.max())
    for bounds, name in (((0.0, 1.0), "a sigmoid or softmax"), ((-1.0, 1.0), "a tanh"), ((0.0, math.inf), "a ReLU")):
        inside = low >= bounds[0] - 1e-6 and high <= bounds[1] + 1e-6
        near = min(low - bounds[0], bounds[1] - high) < 0.05
        beyond = float(want.min()) < bounds[0] - 0.05 or float(want.max()) > bounds[1] + 0.05
        if inside and near and beyond:
            return (
                f"The outputs lie between {low:.3g} and {high:.3g}, as after {name}, and the least loss needs some "
                f"between {float(want.min()):.3g} and {float(want.max()):.3g}."
            )
    return None


def _nothing(trial: Trial) -> Finding:
    return Finding(
        "tiny-batch-not-fitted",
        Severity.ERROR,
        f"nothing can be fitted: the loss depends on none of the {len(trial.trainable)} parameters",
        Location(parameter=next(iter(trial.trainable))),
        evidence={"parameters": len(trial.trainable)},
        cause="The graph is cut between the parameters and the loss: `.detach()`, `.item()`, `.data`, `no_grad()`, "
        "NumPy, a new tensor made of numbers, or argmax, which has no gradient.",
        remedy="Follow `requires_grad` from the model's output back to where it becomes False.",
    )
