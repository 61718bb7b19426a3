"""constant-output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diagnose.findings import Finding, Severity
from diagnose.history import ConstantInputFacts, FitFacts, History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.loss._counterfactuals import can_fit, fit_evidence, fit_of
from diagnose.rules.objective._calls import BINARY, REGRESSION, evidence, objectives, prior, where
from diagnose.rules.optimizer.update_too_small import update_too_small
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
    else it has collapsed: the input still arrives, and what it says is lost on the way. Unless copies of its weights
    were seen to fit a few examples: then it could tell them apart, and was not brought to do so.
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
    that do not vary, as for a GAN's discriminator) are not judged. Silent where `update-too-small` speaks, copies of
    the weights fit a few examples, and the outputs differed no more to begin with (less than twice as much): then they
    are what the initialisation made them, and it is the steps that are to blame.
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
        tried = _Tried(history, facts.optimizer)
        if tried.can_fit and np.median(spread[:window]) < 2 * level and _hardly_moved(history, facts.optimizer):
            continue
        yield _finding(facts, late, level, float(scale[-1]), allowed, exact, tried)


def _hardly_moved(history: History, optimizer: str) -> bool:
    return any(finding.evidence["optimizer"] == optimizer for finding in update_too_small(history))


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


class _Tried:
    """What experiments on the model of an optimizer have shown: nothing, where there are several models."""

    def __init__(self, history: History, optimizer: str) -> None:
        known = [each for each in history.constant_inputs.values() if each.optimizer == optimizer and not each.reason]
        self.moved: ConstantInputFacts | None = known[0] if len(known) == 1 else None
        self.fit: FitFacts | None = fit_of(history, optimizer)

    @property
    def can_fit(self) -> bool:
        """Whether copies of the weights fit a few examples."""
        return self.fit is not None and can_fit(self.fit)

    def says(self, exact: float) -> tuple[str, str]:
        """What they add to the message, and the cause."""
        if self.fit is not None and can_fit(self.fit):
            return (
                f"; copies of its weights learn {self.fit.examples} examples in {self.fit.steps} steps of Adam: it can "
                "tell them apart",
                "Not the model: a learning rate that is too low, weights that decay faster than they learn, or targets "
                "that do not follow the inputs.",
            )
        if self.moved is not None and self.moved.change <= exact:
            return (
                "; zeros, or inputs 10 times as large, give the same: the model ignores its input",
                "What it puts out is not made of its input: a variable that is overwritten, a branch that is not used, "
                "a factor of 0, or a layer whose units are all dead.",
            )
        if self.moved is not None:
            return (
                "; the model has collapsed: far other inputs still move them, by "
                f"{self.moved.change:.2g} of their size",
                "The input still arrives, but what tells examples apart is lost on the way: saturated or dead units, a "
                "normalisation or a mean over the wrong dimension, weights that shrank, or a bias that outweighs "
                "everything.",
            )
        return "", "Somewhere on the way to the output the model stops telling its inputs apart."


def _finding(
    facts: ObjectiveFacts, late: Any, spread: float, scale: float, allowed: Any, exact: float, tried: _Tried
) -> Finding:
    is_exact = spread <= exact * max(scale, exact)
    how = "are the same" if is_exact else f"differ by {spread:.2g} only"
    shown, cause = tried.says(exact)
    numbers = evidence(facts, output_spread=spread, limit=float(allowed[-1]), output_size=scale, samples=len(late))
    ignores = False
    if tried.moved is not None:
        numbers["moved_by_other_inputs"] = tried.moved.change
        ignores = tried.moved.change <= exact
    return Finding(
        "constant-output",
        Severity.ERROR if is_exact or ignores else Severity.WARNING,
        f"since step {int(late[0])} the outputs {how} for all inputs, and the targets vary{shown}",
        where(facts),
        int(late[0]),
        int(late[-1]),
        numbers | fit_evidence(tried.fit, None),
        cause=cause,
        remedy="Compare two examples layer by layer: the first layer whose outputs are equal is where to look.",
    )
