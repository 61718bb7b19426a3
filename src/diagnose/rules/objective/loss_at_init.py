"""loss-at-init."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import BINARY, evidence, objectives, where


@rule("loss-at-init", needs=("objective",), explains=("loss-not-decreasing", "underfitting"), overall=True)
def loss_at_init(
    history: History,
    *,
    limit: float = 3.0,
    limit_of_squares: float = 100.0,
    share: float = 0.2,
    min_steps: int = 20,
) -> Iterator[Finding]:
    """The first loss lies far above that of a model that knows nothing.

    ## What it does
    Compares the value of the loss function before the first optimizer step with what a model gets that treats
    all inputs alike: ln K for a cross-entropy over K classes, ln 2 for a binary one, the mean square of the
    targets for `mse_loss`. It speaks if the first value is `limit` = 3 times that, or `limit_of_squares` = 100
    times for `mse_loss`. It is a warning if that cost something: if it took `share` = 20 % of the run, and
    `min_steps` = 20 steps, to come down to that level (plus 10 %). Otherwise it is an info.
    ## Why it matters
    The outputs are much too large at the start: the model is sure, and wrong. The first part of the training only
    shrinks what the initialisation has blown up, by steps that are far larger than those of learning, and units
    may die or saturate on the way.
    ## How to fix
    Make the last layer smaller at the start: divide its initial weights, or set them to zero. Look for inputs
    that are not normalised, for an embedding with variance 1 that serves as the output layer too, for an
    initialisation without regard to the width, and for a scale (a temperature) that was multiplied in the wrong
    direction. A wrong first loss may also mean that it is not the loss you think it is.
    ## Limits
    Only runs that were watched from their first step. Class weights with sums, and `pos_weight`, hide what
    to expect; such losses are not judged. A pre-trained model on relabelled classes begins high too, and
    is an info as long as it recovers quickly.
    ## Source
    Karpathy, "A Recipe for Training Neural Networks", 2019 ("verify loss @ init"). 3 times ln K: healthy
    initialisations begin within a third above ln K. 100 times: outputs of ten times the size of the targets.
    20 % is judgement.
    """
    for _, facts in objectives(history, "cross_entropy", "nll_loss", "mse_loss", *BINARY):
        first, level = facts.first_value, facts.uninformed
        if first is None or level is None or not math.isfinite(first) or facts.above_one or facts.both_learn:
            continue
        allowed = (limit_of_squares if facts.name == "mse_loss" else limit) * level
        if first < allowed:
            continue
        last = facts.last_step
        until = facts.reached if facts.reached is not None else last
        is_costly = until >= max(share * last, min_steps)
        took = f"it takes {until} of {last} steps" if facts.reached is not None else f"{last} steps are not enough"
        yield Finding(
            "loss-at-init",
            Severity.WARNING if is_costly else Severity.INFO,
            f"the first loss is {first:.3g}, and a model that knows nothing gets {level:.3g}; {took} to get there",
            where(facts),
            facts.first_step,
            until,
            evidence(facts, first_loss=first, loss_of_guessing=level, limit=allowed, steps_to_get_there=until),
            cause="The outputs are far too large at the start: initialisation, inputs that are not normalised, or a "
            "scale in the wrong direction.",
            remedy="Shrink the initial weights of the last layer, and normalise the inputs.",
        )
