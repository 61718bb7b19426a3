"""constant-output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diagnose.findings import Finding, Severity
from diagnose.history import ConstantInputFacts, History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import BINARY, REGRESSION, evidence, objectives, prior, where
from diagnose.stats.curves import trailing_run

_LOGITS = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
_RARE = 0.01

# Outputs that do not depend on the inputs leave no gradient but that of the last bias.
_SYMPTOMS = ("loss-not-decreasing", "underfitting", "update-too-small", "loss-at-init")


@rule("constant-output", needs=("output_spread",), explains=_SYMPTOMS, overall=True)
def constant_output(
    history: History, *, limit: float = 0.01, window: int = 5, min_steps: int = 50, exact: float = 1e-6
) -> Iterator[Finding]:
    """The model gives the same answer to every input.

    ## What it does
    Measures how far the outputs that the loss function is given differ from example to example. It speaks if,
    in the last `window` = 5 samples at least, after `min_steps` = 50 steps, they differ by less than `limit` =
    1 %: of odds for a classifier (0.01 in its logits); of the spread of the targets, and of their own size,
    otherwise. Labels or targets must vary. Outputs that are equal to `exact` = 1e-6 of their size are an error.

    Where it could be tried, the model was also run on a batch of equal inputs, of zeros, and of inputs 10 times as
    large. If its outputs moved by no more than `exact` of their size, it ignores its input, which is an error, too;
    else it has collapsed: the input still arrives, and what it says is lost on the way.
    ## Why it matters
    The best that is left to such a model is the mean of the targets or the frequency of the classes. Its loss
    falls to that and stays there, which can look like slow learning.
    ## How to fix
    Look from the outputs backwards for the layer that no longer tells the inputs apart: dead or saturated units,
    a normalisation over the wrong dimension, a pooling over everything, an input that is overwritten, weights
    that decay faster than they learn. Or the model was driven there: by a far too large step at the start, or
    because a loss compares each output with all targets.
    ## Limits
    Not before 50 steps, so that heads that begin at zero have left it. Outputs that ought to be equal (targets
    that do not vary, as for a GAN's discriminator) are not judged.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5 (look at what the model does). An ordinary
    initialisation lets outputs differ by 10 % and more; 1 % and five samples are judgement.
    """
    for scope, facts in objectives(history, *_LOGITS, "binary_cross_entropy", *REGRESSION):
        if facts.both_learn or not _targets_vary(facts):
            continue
        steps, (spread, scale) = history.aligned("output_spread", "output_scale", scope=scope)
        allowed = _allowed(history, scope, facts, scale, limit)
        if allowed is None or len(steps) != len(allowed) or not len(steps):
            continue
        late = steps[trailing_run(spread < allowed) :]
        late = late[late > min_steps]
        if len(late) < window:
            continue
        level = float(np.median(spread[-len(late) :]))
        yield _finding(facts, late, level, float(scale[-1]), allowed, exact, _moved(history, facts.optimizer))


def _targets_vary(facts: ObjectiveFacts) -> bool:
    if facts.labels:
        return max(prior(facts).values()) < 1 - _RARE
    return facts.target_variance > 0


def _allowed(history: History, scope: str, facts: ObjectiveFacts, scale: Any, limit: float) -> Any:
    """For each sample, how little the outputs may differ; None where it cannot be told."""
    if facts.name in _LOGITS:
        return np.full(len(scale), limit)
    targets = history.series("target_spread", scope).values
    if not len(targets) or targets.min() <= 0 or (facts.name not in BINARY and facts.target_shape == ()):
        return None
    return limit * np.minimum(float(np.median(targets)), scale)


def _moved(history: History, optimizer: str) -> ConstantInputFacts | None:
    """What came of other inputs; None if they were not tried, or of several models."""
    known = [facts for facts in history.constant_inputs.values() if facts.optimizer == optimizer and not facts.reason]
    return known[0] if len(known) == 1 else None


def _finding(
    facts: ObjectiveFacts,
    late: Any,
    spread: float,
    scale: float,
    allowed: Any,
    exact: float,
    moved: ConstantInputFacts | None,
) -> Finding:
    is_exact = spread <= exact * max(scale, exact)
    how = "are the same" if is_exact else f"differ by {spread:.2g} only"
    cause = "Somewhere on the way to the output the model stops telling its inputs apart."
    numbers = evidence(facts, output_spread=spread, limit=float(allowed[-1]), output_size=scale, samples=len(late))
    shown, ignores = "", False
    if moved is not None:
        numbers["moved_by_other_inputs"] = moved.change
        ignores = moved.change <= exact
        if ignores:
            shown = "; zeros, or inputs 10 times as large, give the same: the model ignores its input"
            cause = "What it puts out is not made of its input: a variable that is overwritten, a branch that is not "
            cause += "used, a factor of 0, or a layer whose units are all dead."
        else:
            shown = f"; the model has collapsed: far other inputs still move them, by {moved.change:.2g} of their size"
            cause = "The input still arrives, but what tells examples apart is lost on the way: saturated or dead "
            cause += "units, a normalisation or a mean over the wrong dimension, weights that shrank, or a bias that "
            cause += "outweighs everything."
    return Finding(
        "constant-output",
        Severity.ERROR if is_exact or ignores else Severity.WARNING,
        f"since step {int(late[0])} the outputs {how} for all inputs, and the targets vary{shown}",
        where(facts),
        int(late[0]),
        int(late[-1]),
        numbers,
        cause=cause,
        remedy="Compare two examples layer by layer: the first layer whose outputs are equal is where to look.",
    )
