"""determinism: same seed, same run?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.checks._result import CheckResult
from diagnose.checks._trial import MakeOptimizer, NoGradientError, Trial
from diagnose.collect.nested import tensors_in
from diagnose.errors import CheckError
from diagnose.findings import Finding, Location, Severity

NAME: Final = "determinism"


def determinism(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    optimizer: MakeOptimizer | None = None,
    steps: int = 3,
    rounding: float = 1e-4,
    seed: int = 0,
) -> CheckResult:
    """Whether two runs with the same seed are the same, bit for bit.

    Two copies are trained for a few steps with torch's, Python's and NumPy's random numbers seeded alike; outputs of
    every module, losses and gradients are compared. Without a loss, forwards are.

    Args:
        optimizer: makes the optimizer from the parameters. None: SGD with a rate of 0.01.
        steps: of each run.
        rounding: relative difference up to which it may be the order of sums (atomic additions on a GPU), an info.
        seed: of both runs.

    Raises:
        CheckError: the model or the loss function raises.

    Source:
        Pineau et al., "Improving Reproducibility in Machine Learning Research", 2021; PyTorch, "Reproducibility".
    """
    make = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.01))
    runs = [_run(model, inputs, targets, loss_fn, make, steps, seed) for _ in range(2)]
    first, second = runs
    compared = f"{len(first.losses)} steps" if first.losses else "a forward"
    evidence: dict[str, Any] = {"losses": first.losses, "losses_again": second.losses}
    different = _first_difference(first, second)
    if different is None:
        return CheckResult(NAME, f"{compared}, repeated with the same seed: the same to the last bit", (), evidence)
    what, where, size = different
    evidence |= {"differs_in": what, "relative_difference": size, "rounding": rounding}
    finding = Finding(
        "not-reproducible",
        Severity.INFO if size <= rounding else Severity.WARNING,
        f"two runs with the same seed differ first in {what}, by {size:.1e} of its size",
        Location(module=where or None),
        evidence={"relative_difference": size, "rounding": rounding},
        cause="The order of sums, which is not fixed on a GPU or among threads."
        if size <= rounding
        else "Random numbers from a generator of its own without a seed, the clock, the order of a set, or state that "
        "is kept outside of the module.",
        remedy="torch.use_deterministic_algorithms(True)."
        if size <= rounding
        else "Draw them from torch, or from a generator that is seeded from a setting of the run.",
    )
    return CheckResult(NAME, f"two runs with the same seed differ in {what}", (finding,), evidence)


@dataclass
class _Run:
    """What one run computed, in order: (what, module, values)."""

    values: list[tuple[str, str, Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def _run(
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    loss_fn: LossFn | None,
    make: Callable[..., Any],
    steps: int,
    seed: int,
) -> _Run:
    run = _Run()
    with Trial(model, inputs, targets, loss_fn, seed=seed) as trial:
        handles = [
            module.register_forward_hook(_noting(run, name), always_call=False)
            for name, module in trial.rehearsal.model.named_modules()
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        try:
            first = _step(trial, run)
        finally:
            for handle in handles:
                handle.remove()
        if not first:
            return run
        step = make(trial.trainable.values())
        for _ in range(steps - 1):
            step.step()
            _step(trial, run)
        step.step()
        run.values += [(f"{name} after {steps} steps", name, p.detach().clone()) for name, p in trial.trainable.items()]
    return run


def _step(trial: Trial, run: _Run) -> bool:
    """One backward; False if there is no loss to go back from."""
    number = len(run.losses) + 1
    try:
        loss = trial.backward()
    except NoGradientError:
        return False
    except CheckError:
        if number == 1 and not trial.rehearsal.has_loss and run.values:
            return False  # a model without a loss: its forward has been noted
        raise
    run.losses.append(float(loss))
    run.values.append((f"the loss of step {number}", "", loss))
    for name, gradient in trial.gradients().items():
        if gradient is not None:
            run.values.append((f"the gradient of {name} in step {number}", name, gradient.clone()))
    return True


def _noting(run: _Run, name: str) -> Callable[..., None]:
    def note(module: nn.Module, args: Any, output: Any) -> None:
        what = f"the output of {name or type(module).__name__}"
        run.values += [(what, name, tensor.detach().clone()) for tensor in tensors_in(output)]

    return note


def _first_difference(first: _Run, second: _Run) -> tuple[str, str, float] | None:
    for (what, where, a), (_, _, b) in zip(first.values, second.values, strict=False):
        if a.shape != b.shape or a.dtype != b.dtype:
            return what, where, math.inf
        if not torch.equal(a, b) and not torch.allclose(a, b, rtol=0, atol=0, equal_nan=True):
            return what, where, _relative(a, b)
    if len(first.values) != len(second.values):
        return "which modules are run", "", math.inf
    return None


def _relative(a: Tensor, b: Tensor) -> float:
    if not a.is_floating_point():
        return 1.0
    difference, size = (a.double() - b.double()).abs().max(), a.double().abs().max()
    return float(difference / size) if size else math.inf
