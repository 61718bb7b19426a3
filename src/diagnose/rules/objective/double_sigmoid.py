"""double-sigmoid."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Severity
from diagnose.history import History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import evidence, objectives, squashings, where

_WITH_LOGITS = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss")


@rule(
    "double-sigmoid",
    explains=("loss-not-decreasing", "vanishing-gradient", "saturated-units", "update-too-small"),
)
def double_sigmoid(history: History, *, at_least: int = 1) -> Iterator[Finding]:
    """Sigmoid is applied twice: the loss takes the sigmoid of probabilities.

    ## What it does
    Looks at how the input of `binary_cross_entropy_with_logits` (or of a soft margin loss) was made. It speaks
    after `at_least` = 1 call whose input is the output of a sigmoid or a softmax, or of
    1 / (1 + exp(-x)) written out. It speaks, too, if `binary_cross_entropy` is given a sigmoid of a sigmoid.
    ## Why it matters
    These losses apply the sigmoid themselves. That of a number between 0 and 1 lies between 0.5 and 0.73: the
    model cannot say "no", its loss cannot fall below 0.69 for negative and 0.31 for positive examples, and its
    gradients nearly vanish.
    ## How to fix
    Give the loss the outputs of the last linear layer and apply the sigmoid only where probabilities are
    needed; or keep the sigmoid and use `binary_cross_entropy`, which is numerically less safe.
    ## Limits
    A sigmoid that is multiplied or shifted before the loss, as a gate is, is not meant. In compiled code
    operations are not seen, and values between 0 and 1 prove nothing.
    ## Source
    PyTorch documentation, `torch.nn.BCEWithLogitsLoss`: "combines a Sigmoid layer and the BCELoss in one
    single class". One call is enough, for the graph leaves no doubt.
    """
    for _, facts in objectives(history, *_WITH_LOGITS, "binary_cross_entropy", "log"):
        if facts.calls >= at_least and (what := _squashed_by(facts)):
            yield _finding(facts, what, at_least)


def _squashed_by(facts: ObjectiveFacts) -> str | None:
    """What made the input a probability before the sigmoid of the loss; None if nothing did."""
    if squashings(facts, "sigmoid") > 1:
        return "a sigmoid"
    if facts.name not in _WITH_LOGITS:
        return None
    first = facts.operations[0] if facts.operations else ""
    if first in ("softmax", "hardsigmoid"):
        return f"a {first}"
    # 1 / (1 + exp(-x)): the quotient of a number and a tensor is a reciprocal, perhaps times one.
    if first in ("reciprocal", "mul") and "reciprocal" in facts.operations[:2] and "exp" in facts.operations:
        return "a sigmoid written out"
    return None


def _finding(facts: ObjectiveFacts, what: str, at_least: int) -> Finding:
    return Finding(
        "double-sigmoid",
        Severity.ERROR,
        f"{facts.name} is given the output of {what}, and applies sigmoid once more: it sees probabilities of 0.5 to "
        "0.73 only"
        if facts.name in _WITH_LOGITS
        else "a sigmoid is taken of the output of a sigmoid before the loss: probabilities are 0.5 to 0.73 only",
        where(facts),
        facts.first_step,
        facts.last_step,
        evidence(facts, limit=at_least),
        cause="A sigmoid at the end of the model, and a loss function that has one of its own.",
        remedy="Remove the sigmoid at the end of the model: the loss function wants raw outputs (logits).",
    )
