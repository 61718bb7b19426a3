"""output-activation-mismatch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Evidence, Finding, Severity
from diagnose.history import History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import REGRESSION, evidence, floor_of_cross_entropy, objectives, where

_BROKEN = 0.25
# A softmax or a sigmoid before a loss that applies one itself has a rule of its own.
_OWN_RULE = ("softmax", "sigmoid", "hardsigmoid")


@rule(
    "output-activation-mismatch", explains=("loss-not-decreasing", "constant-output", "dead-units", "saturated-units")
)
def output_activation_mismatch(history: History, *, limit: float = 0.01, logits: float = 0.1) -> Iterator[Finding]:
    """The last activation keeps the outputs from reaching the targets.

    ## What it does
    Knows from the graph whether the last operation before the loss is bounded (ReLU, softplus, sigmoid, softmax,
    tanh, hardtanh, ...), and sums up by how much targets lie outside of these bounds. It speaks

    - in a regression (`mse_loss`, `l1_loss`, `smooth_l1_loss`, `huber_loss`) if the error that no outputs can
      avoid is more than `limit` = 1 % of the variance of the targets; an error from 25 % on;
    - before a cross-entropy, if logits within these bounds cannot bring the loss below `logits` = 10 % of ln K,
      or ln 2: with tanh and 10 classes it stays above 0.80.
    ## Why it matters
    Whatever the model learns, it cannot say what it is asked for. Where it tries, it is driven to the bound: its
    output units die (ReLU) or saturate, and the examples that are within reach suffer, too.
    ## How to fix
    Leave out the activation after the last layer, or scale the targets into its range.
    ## Limits
    Only the very last operation counts: a tanh that is scaled afterwards is not meant. Bounds set by `clamp` are
    not looked at. ReLU before a cross-entropy over several classes is passed over: logits may differ as they like.
    ## Source
    Arithmetic, not judgement: the mean squared distance of the targets to the range of the activation; for a
    cross-entropy over K classes with logits that differ by w at most, ln(1 + (K - 1) exp(-w)). 1 % and 10 % leave room
    for targets at the edge, and for outliers.
    """
    for _, facts in objectives(history):
        if facts.low is None and facts.high is None:
            continue
        if facts.name in REGRESSION:
            yield from _of_regression(facts, limit)
        elif facts.name == "cross_entropy" and facts.operations[0] != "softmax":
            yield from _of_classes(facts, logits)
        elif facts.name == "binary_cross_entropy_with_logits" and facts.operations[0] not in _OWN_RULE:
            yield from _of_yes_and_no(facts, logits)


def _of_regression(facts: ObjectiveFacts, limit: float) -> Iterator[Finding]:
    variance = facts.target_variance
    if facts.both_learn or facts.broadcast or variance <= 0 or facts.unreachable <= limit * variance:
        return
    share = facts.unreachable / variance
    yield _finding(
        facts,
        f"the outputs end in {facts.operations[0]} and lie {_range(facts)}, and the targets between "
        f"{facts.target_low:.3g} and {facts.target_high:.3g}: {min(share, 9.99):.0%} of their variance is out of reach",
        Severity.ERROR if share >= _BROKEN else Severity.WARNING,
        target_low=facts.target_low,
        target_high=facts.target_high,
        unreachable_share=share,
        limit=limit,
    )


def _of_classes(facts: ObjectiveFacts, logits: float) -> Iterator[Finding]:
    if facts.low is None or facts.high is None or facts.classes < 2 or facts.target_distributions:
        return
    floor = floor_of_cross_entropy(facts.classes, facts.high - facts.low)
    if floor > logits * math.log(facts.classes):
        yield _no_logits(facts, floor, logits * math.log(facts.classes))


def _of_yes_and_no(facts: ObjectiveFacts, logits: float) -> Iterator[Finding]:
    yes = min(max(facts.target_mean, 0.0), 1.0)
    loss_of_yes = math.log1p(math.exp(-facts.high)) if facts.high is not None else 0.0
    loss_of_no = math.log1p(math.exp(facts.low)) if facts.low is not None else 0.0
    floor = yes * loss_of_yes + (1 - yes) * loss_of_no
    if floor > logits * math.log(2) and set(facts.labels) <= {"0", "1"}:
        yield _no_logits(facts, floor, logits * math.log(2))


def _no_logits(facts: ObjectiveFacts, floor: float, limit: float) -> Finding:
    return _finding(
        facts,
        f"{facts.name} is given the output of {facts.operations[0]}, {_range(facts)}, as logits: the loss cannot fall "
        f"below {floor:.3g}",
        Severity.WARNING,
        lowest_possible_loss=floor,
        limit=limit,
    )


def _range(facts: ObjectiveFacts) -> str:
    if facts.high is None:
        return f"above {facts.low:g}"
    return f"below {facts.high:g}" if facts.low is None else f"between {facts.low:g} and {facts.high:g}"


def _finding(facts: ObjectiveFacts, message: str, severity: Severity, **more: Evidence) -> Finding:
    return Finding(
        "output-activation-mismatch",
        severity,
        message,
        where(facts),
        facts.first_step,
        facts.last_step,
        evidence(facts, low=facts.low, high=facts.high, **more),
        cause="An activation after the last layer, as there is one after each of the others.",
        remedy=f"Remove the {facts.operations[0]} after the last layer, or scale the targets into its range.",
    )
