"""What several rules ask of a call of a loss function."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Evidence, Location
from diagnose.history import History, ObjectiveFacts

# log(p + 1e-8), log(1 - p)
_SHIFTS = ("add", "sub", "rsub")


def objectives(history: History, *names: str) -> Iterator[tuple[str, ObjectiveFacts]]:
    """The objectives of these loss functions (of all, if none is named) that training follows.

    A value that is computed and never becomes a part of a loss is a metric. Where no call was traced to a loss
    (its loss was not looked at), each counts.
    """
    traced = any(facts.used for facts in history.objectives.values())
    for scope, facts in history.objectives.items():
        if (not names or facts.name in names) and (facts.used or not traced):
            yield scope, facts


def where(facts: ObjectiveFacts) -> Location:
    return Location(file=facts.file, line=facts.line)


def evidence(facts: ObjectiveFacts, **more: Evidence) -> dict[str, Evidence]:
    """What findings about an objective say in any case."""
    found: dict[str, Evidence] = {"loss_function": facts.name, "calls": facts.calls}
    if facts.input_shape:
        found["input_shape"] = list(facts.input_shape)
    if facts.operations:
        found["made_by"] = list(facts.operations)
    return {**found, **more}


def squashings(facts: ObjectiveFacts, kind: str) -> int:
    """How many softmaxes (or sigmoids) stand one behind another between the model and the logarithm of the loss.

    Args:
        kind: "softmax" or "sigmoid". The one that the loss function itself applies counts.
    """
    operations = list(facts.operations)
    own = _OWN.get(facts.name) == kind
    if operations and operations[0] in ("log", f"log{kind}") and own:
        own = False  # cross-entropy of log-probabilities: normalising again changes nothing
    count = int(own)
    if operations and operations[0] == "log":
        del operations[0]
        while operations and operations[0] in _SHIFTS:
            del operations[0]
    for operation in operations:
        if operation not in (kind, f"log{kind}"):
            break
        count += 1
    return count


_OWN = {
    "cross_entropy": "softmax",
    "binary_cross_entropy_with_logits": "sigmoid",
    "multilabel_soft_margin_loss": "sigmoid",
    "soft_margin_loss": "sigmoid",
}


def prior(facts: ObjectiveFacts) -> dict[str, float]:
    """The share of each class among the labels."""
    total = sum(facts.labels.values())
    return {label: count / total for label, count in facts.labels.items()} if total else {}


def total_falls_below_zero(history: History, facts: ObjectiveFacts) -> bool:
    """Whether the loss of which `facts` is a part was ever negative."""
    for stream, loss in history.losses.items():
        if (loss.file, loss.line) == (facts.loss_file, facts.loss_line):
            return bool((history.series("loss", stream).values < 0).any())
    return False


BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def stream_of(history: History, facts: ObjectiveFacts) -> str | None:
    """The loss stream that this objective is all of, None if there is none."""
    if not facts.alone or facts.loss_line is None:
        return None
    place = facts.loss_file, facts.loss_line
    return next((name for name, loss in history.losses.items() if (loss.file, loss.line) == place), None)


def floor_of_cross_entropy(classes: int, width: float) -> float:
    """The lowest cross-entropy for hard labels that logits can reach that differ by at most `width`."""
    return math.log1p((classes - 1) * math.exp(-width))
