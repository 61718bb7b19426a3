"""dropout-too-high."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import History, ModeFacts
from diagnose.rules._base import rule
from diagnose.rules.loss._course import Course, guessing_level, main_course, opponents
from diagnose.rules.loss._evaluation import SAME_UNITS, evaluations


@rule("dropout-too-high", explains=("loss-not-decreasing", "underfitting"))
def dropout_too_high(
    history: History,
    *,
    limit: float = 0.75,
    surely: float = 0.9,
    enough_units: int = 256,
    remains: float = 0.5,
    gap: float = 0.8,
    min_steps: int = 50,
) -> Iterator[Finding]:
    """Dropout drops so much of a hidden layer that little of the signal is left.

    ## What it does
    Takes each dropout behind a trained layer whose probability never was below `limit` = 0.75, and of whose
    units fewer than `enough_units` = 256 are left on average. After `min_steps` = 50 steps it asks whether
    training suffers from it:

    - the training loss still is at `remains` = 50 % or more of what it was at the start, or would be without
      knowledge; or
    - the evaluation loss, where nothing is dropped, is below `gap` = 80 % of the training loss: the network
      can do more than training sees of it.

    Where neither can be told, or neither is so, a probability of `surely` = 0.9 or more is an info.
    ## Why it matters
    `nn.Dropout(p)` takes the probability to *drop*; other libraries and papers give the probability to
    *keep*. With 0.9 meant to keep, one unit in ten is left, scaled up by ten: the noise is three times as large as
    the signal, and training is slow and ends high.
    ## How to fix
    If the value was meant as the share to keep, write 1 - p. Otherwise begin with 0.1 to 0.3, or 0.5 in a
    large fully connected layer, and raise it only if the model overfits.
    ## Limits
    Silent for dropout on the inputs (sparse bags of words stand 0.8), where a schedule comes from lower values,
    and for very wide layers. Other causes of a loss that stays high are not excluded. The width is that of the last
    layer that ran before; what pooling leaves of a convolution is not seen.
    ## Source
    Srivastava et al., "Dropout", 2014, sec. 7.3: with 2,048 units a layer, the error is flat where 20 to 60 % of them
    are dropped, and rises with more: underfitting; appendix A: 20 to 50 % are usual in hidden layers. The variance that
    dropout adds to a unit is p / (1 - p) times its square: 3 at 0.75, 9 at 0.9. The other numbers are judgement.
    """
    for facts in history.modes.values():
        if facts.kind != "dropout" or facts.p < limit or not facts.layer or not facts.trained or not facts.on:
            continue
        left = facts.units * (1 - facts.p)
        if left >= enough_units:
            continue
        course = main_course(history, facts.optimizer)
        harm = _harm(history, facts, course, remains, gap) if course is not None and len(course) >= min_steps else {}
        if not harm and facts.p < surely:
            continue
        yield Finding(
            "dropout-too-high",
            Severity.WARNING if harm else Severity.INFO,
            f"{facts.module or facts.type} drops {facts.p:.0%} of what {facts.layer} puts out"
            + (f": about {left:.0f} of {facts.units} units are left" if facts.units else ""),
            Location(module=facts.module or None, file=facts.file, line=facts.line),
            facts.first_on,
            facts.last_on,
            {
                "p": facts.p,
                "limit": limit,
                "units": facts.units,
                "units_left": left,
                "model": facts.model,
                **harm,
            },
            cause="The probability to keep was given where PyTorch takes the probability to drop.",
            remedy=f"If {facts.p:g} was meant to be kept, write {1 - facts.p:.2g}; else begin with 0.1 to 0.3.",
        )


def _harm(history: History, facts: ModeFacts, course: Course | None, remains: float, gap: float) -> dict[str, Evidence]:
    """What says that training suffers; empty if nothing does or it cannot be told."""
    if course is None or not course.anchored or opponents(history, facts.optimizer):
        return {}
    # The start is inflated by the noise of the dropout itself: where the loss tells its level of guessing, that counts.
    guess = guessing_level(history, course)
    left = course.remaining() if guess is None else course.late / min(course.reference, guess)
    if left >= remains:
        return {"share_of_loss_left": left, "share_limit": remains}
    for evaluation in evaluations(history):
        if evaluation.training.optimizer != facts.optimizer:
            continue
        tail = evaluation.series.values[-3:]
        level, training = float(np.median(tail)), float(np.median(course.last(0.1)))
        is_same_measure = 1 / SAME_UNITS <= evaluation.series.values[0] / course.start <= SAME_UNITS
        if is_same_measure and math.isfinite(level) and 0 < level < gap * training:
            return {"evaluation_loss": level, "training_loss": training, "ratio_limit": gap}
    return {}
