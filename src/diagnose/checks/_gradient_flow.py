"""gradient_flow: does each parameter get a gradient?"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.checks._result import CheckResult
from diagnose.checks._trial import NoGradientError, Trial
from diagnose.checks._unreached import Called, listed, of_parameters, unreached
from diagnose.findings import Finding, Severity

NAME: Final = "gradient-flow"
RATE: Final = 1e-3
"""Of Adam, for the few steps that wake layers behind one that begins at zero."""


def gradient_flow(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    steps: int = 5,
    weakest: float = 1e-7,
    strongest: float = 1e4,
    seed: int = 0,
) -> CheckResult:
    """Whether every parameter that requires a gradient gets one, and one that is neither lost nor blown up.

    A gradient of exactly zero at the start is no fault if a few steps bring one: the branch may end in a layer that
    begins at zero (LoRA, ReZero, zero-initialised heads). Parameters of one of several branches of which others were
    run (experts, adapters) are an info.

    Args:
        steps: looks, with an Adam step of 1e-3 between two of them. A layer behind zeros wakes after the first step.
        weakest: of a weight matrix: largest relative change per unit of loss, |gradient| / |weight| in rms, as a share
            of that of the matrix with the largest. Ten sigmoid layers at 1/4 each leave 1e-6; a healthy network, deep
            transformers included, stays above 1e-5.
        strongest: |gradient| * |weights| / |loss| over all parameters: the loss changes that many times its size when
            the weights double. As in the rule exploding-gradient.
        seed: of all random numbers.

    Raises:
        CheckError: the model or the loss function raises, or there is no scalar loss.

    Source:
        Goodfellow, Bengio & Courville, *Deep Learning*, section 11.5 ("monitor histograms of activations").
    """
    with Trial(model, inputs, targets, loss_fn, seed=seed) as trial:
        if not trial.trainable:
            return CheckResult.not_applicable(NAME, "no parameter requires a gradient")
        called = Called(trial.rehearsal.model)
        try:
            with called:
                loss = trial.backward()
        except NoGradientError as error:
            return CheckResult(NAME, str(error), (_nothing(trial),))
        if not loss.isfinite():
            return CheckResult.not_applicable(NAME, f"the loss is {float(loss)}")
        first = trial.gradients()
        if not loss and not any(bool(gradient.any()) for gradient in first.values() if gradient is not None):
            return CheckResult.not_applicable(NAME, "the loss is zero already, and so is the gradient")
        elasticity = _elasticity(trial, first, float(loss))
        ratios = _ratios(trial, first)
        missing, zero, bad = _looks(trial, first, steps)
        frozen = [n for n, p in trial.rehearsal.model.named_parameters() if not p.requires_grad]
        findings = [
            *unreached(trial.rehearsal.model, missing, called),
            *_zero(zero, steps),
            *_not_finite(bad),
            *(_faded(ratios, weakest) if not bad else ()),
            *(_blown_up(elasticity, strongest) if not bad else ()),
        ]
        number = len(trial.trainable)
        evidence = {
            "parameters": number,
            "without_gradient": missing,
            "zero_gradient": zero,
            "frozen": frozen,
            "relative_gradients": dict(sorted(ratios.items(), key=lambda item: item[1])[:8]),
            "elasticity": elasticity,
        }
    reached = number - len({*missing, *zero})
    summary = f"{reached} of {number} parameters get a gradient"
    if frozen:
        summary += f", {len(frozen)} are frozen"
    findings.sort(key=lambda finding: finding.severity.rank)
    return CheckResult(NAME, summary, tuple(findings), evidence)  # type: ignore[arg-type]


def _looks(trial: Trial, gradients: dict[str, Tensor | None], steps: int) -> tuple[list[str], list[str], list[str]]:
    """Parameters without a gradient, with one of exactly zero, and with one that is not finite, in all looks."""
    missing = [name for name, gradient in gradients.items() if gradient is None]
    zero = [name for name, gradient in gradients.items() if gradient is not None and not gradient.any()]
    bad = [name for name, g in gradients.items() if g is not None and not bool(g.isfinite().all())]
    optimizer = torch.optim.Adam(trial.trainable.values(), lr=RATE)
    for _ in range(steps - 1):
        if bad or not (missing or zero):
            break
        for parameter in trial.trainable.values():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        optimizer.step()
        trial.backward()
        gradients = trial.gradients()
        missing = [name for name in missing if gradients[name] is None]
        zero = [name for name in zero if (g := gradients[name]) is not None and not g.any()]
    return missing, zero, bad


def _ratios(trial: Trial, gradients: dict[str, Tensor | None]) -> dict[str, float]:
    """Relative gradient of each weight matrix, as a share of the largest."""
    found = {}
    for name, gradient in gradients.items():
        parameter = trial.trainable[name]
        if gradient is None or parameter.dim() < 2 or not gradient.any() or not parameter.any():
            continue
        found[name] = float(gradient.double().norm() / parameter.detach().double().norm())
    largest = max(found.values(), default=0.0)
    return {name: value / largest for name, value in found.items()} if largest else {}


def _elasticity(trial: Trial, gradients: dict[str, Tensor | None], loss: float) -> float:
    """|gradient| * |weights| / |loss|."""
    both = [
        (g.double().norm(), trial.trainable[name].detach().double().norm())
        for name, g in gradients.items()
        if g is not None
    ]
    if not both or not loss:
        return 0.0
    gradient, weight = (math.hypot(*(float(pair[i]) for pair in both)) for i in (0, 1))
    return gradient * weight / abs(loss)


# ---------------------------------------------------------------------- findings


def _nothing(trial: Trial) -> Finding:
    return Finding(
        "parameter-not-updated",
        Severity.ERROR,
        f"the loss depends on none of the {len(trial.trainable)} parameters",
        evidence={"parameters": len(trial.trainable)},
        cause="The graph is cut between the parameters and the loss: `.detach()`, `.item()`, `.data`, `no_grad()`, a "
        "detour through NumPy, a new tensor made of numbers, or argmax, which has no gradient.",
        remedy="Follow `requires_grad` from the model's output back to where it becomes False.",
    )


def _zero(names: list[str], steps: int) -> list[Finding]:
    if not names:
        return []
    return [
        of_parameters(
            "parameter-not-updated",
            Severity.WARNING,
            f"the gradient of {listed(names)} is exactly zero, at each of {steps} looks",
            names,
            cause="Units behind it are dead (a ReLU that never opens, a saturated sigmoid), its output is multiplied "
            "by zero, or a softmax over a single number follows.",
            remedy="Look at the activations behind it: the first that are constant are where to begin.",
        )
    ]


def _not_finite(names: list[str]) -> list[Finding]:
    if not names:
        return []
    return [
        of_parameters(
            "nan-or-inf",
            Severity.ERROR,
            f"the gradient of {listed(names)} is not finite",
            names,
            cause="The square root, logarithm or norm of zero, a division by zero, or an overflow: also in a branch "
            "that `torch.where` throws away.",
            remedy="torch.autograd.set_detect_anomaly(True) names the operation; keep its argument away from zero.",
        )
    ]


def _faded(ratios: dict[str, float], weakest: float) -> list[Finding]:
    faded = [name for name, ratio in ratios.items() if ratio < weakest]
    if not faded:
        return []
    worst = min(faded, key=lambda name: ratios[name])
    return [
        of_parameters(
            "vanishing-gradient",
            Severity.WARNING,
            f"the relative gradient of {worst} is {ratios[worst]:.1e} of the largest one",
            faded,
            evidence={"share_of_largest": ratios[worst], "limit": weakest},
            cause="Saturating activations, or many layers each of which makes the gradient smaller.",
            remedy="ReLU-like activations, an initialisation that suits them, normalisation, residual connections.",
        )
    ]


def _blown_up(elasticity: float, strongest: float) -> list[Finding]:
    if not elasticity > strongest:
        return []
    return [
        Finding(
            "exploding-gradient",
            Severity.WARNING,
            f"|gradient| * |weights| is {elasticity:.1e} times the loss",
            evidence={"elasticity": elasticity, "limit": strongest},
            cause="Weights that are too large at the start, or many layers each of which makes the gradient larger.",
            remedy="An initialisation that keeps the scale, normalisation, or clipping by norm.",
        )
    ]
