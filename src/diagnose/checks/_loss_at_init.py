"""loss_at_init: does the first loss agree with that of a model that knows nothing?"""

from __future__ import annotations

import math
from typing import Any, Final

from torch import Tensor, nn

from diagnose.checks._calls import SQUARES, Calls
from diagnose.checks._least import loss_of_zeros
from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.collect.nested import tensors_in
from diagnose.findings import Finding, Severity

NAME: Final = "loss-at-init"


def loss_at_init(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    limit: float = 3.0,
    limit_of_squares: float = 100.0,
    seed: int = 0,
) -> CheckResult:
    """Whether the first loss is near that of a model that knows nothing.

    That is the loss of outputs that are all zero: ln K for a cross-entropy over K classes, ln 2 for a binary one, the
    mean square of the targets for a regression; for probabilities and their logarithms, of equal ones. It is taken
    from the loss function itself, so that weights, smoothing and reductions count as they do there.

    Args:
        limit: times the loss of knowing nothing, for classifications. Healthy initialisations begin within a third.
        limit_of_squares: the same for regressions: outputs of ten times the size of the targets.
        seed: of all random numbers.

    Raises:
        CheckError: the model or the loss function raises, or there is no scalar loss.

    Source:
        Karpathy, "A Recipe for Training Neural Networks", 2019 ("verify loss @ init"); the rule loss-at-init.
    """
    with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
        with Calls() as calls:
            output = rehearsal.output()
            loss = rehearsal.loss_of(output, rehearsal.batch)
        first = float(loss.detach())
        if not math.isfinite(first):
            return CheckResult(NAME, f"the first loss is {first}", (_not_finite(first),), {"first_loss": str(first)})
        call = calls.is_the_loss(loss.detach())
        level, of_squares = None, True
        if call is not None:
            level, of_squares = _knowing_nothing(call.function, call.name, call.input), call.name in SQUARES
        elif rehearsal.has_loss and len(calls.losses) <= 1 and isinstance(output, Tensor):
            level = loss_of_zeros(lambda out: rehearsal.loss_of(out, rehearsal.batch), output)
            of_squares = not _of_classes(rehearsal.batch.targets)
    if level is None or not math.isfinite(level) or level <= 0:
        return CheckResult.not_applicable(NAME, "it is not known what a model that knows nothing gets from this loss")
    allowed = (limit_of_squares if of_squares else limit) * level
    evidence = {"first_loss": first, "loss_of_guessing": level, "limit": allowed}
    summary = f"the first loss is {first:.3g}, and a model that knows nothing gets {level:.3g}"
    findings = (_too_high(first, level, evidence),) if first > allowed else ()
    return CheckResult(NAME, summary, findings, evidence)


def _knowing_nothing(function: Any, name: str, given: Tensor) -> float | None:
    """The loss of outputs that favour nothing."""
    fill = 0.0
    if name in ("nll_loss", "kl_div"):
        classes = given.shape[1] if given.dim() > 1 else given.shape[0]
        fill = -math.log(classes)
    elif name == "binary_cross_entropy":
        fill = 0.5
    elif name == "poisson_nll_loss":
        return None
    try:
        return float(function(given.detach().clone().fill_(fill)))
    except Exception:
        return None


def _of_classes(targets: Any) -> bool:
    target = next(tensors_in(targets), None)
    return target is not None and not target.is_floating_point()


def _too_high(first: float, level: float, evidence: dict[str, float]) -> Finding:
    return Finding(
        "loss-at-init",
        Severity.WARNING,
        f"the first loss is {first:.3g}, {first / level:.2g} times that of a model that knows nothing ({level:.3g})",
        evidence=dict(evidence),
        cause="The outputs are far too large at the start: initialisation, inputs that are not normalised, or a scale "
        "in the wrong direction. Or it is not the loss you think it is.",
        remedy="Shrink the initial weights of the last layer, and normalise the inputs.",
    )


def _not_finite(first: float) -> Finding:
    return Finding(
        "nan-or-inf",
        Severity.ERROR,
        f"the first loss is {first}",
        evidence={"first_loss": str(first)},
        cause="A logarithm or a division by zero in the loss, an overflow, or inputs that are not finite.",
        remedy="Look at the inputs, then at the outputs, then at each term of the loss: the first that is not finite.",
    )
