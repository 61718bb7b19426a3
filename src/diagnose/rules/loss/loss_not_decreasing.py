"""loss-not-decreasing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.loss._course import (
    GUESSING,
    SOME,
    Course,
    already_trained,
    courses,
    opponents,
    warming_up,
)
from diagnose.stats.curves import fall, trend


@rule("loss-not-decreasing", needs=("loss",), overall=True)
def loss_not_decreasing(
    history: History,
    *,
    limit: float = 0.05,
    min_steps: int = 100,
    guessing: float = GUESSING,
    rise: float = 1.5,
) -> Iterator[Finding]:
    """The loss is where it was at the start: nothing is being learned.

    ## What it does
    Asks, after `min_steps` = 100 steps, two questions of a loss that never was a tenth below its start:

    - Where the loss function tells what a model without knowledge would get (ln K for K classes): is the
      loss at the end still at least `guessing` = 99 % of that, within its noise?
    - Otherwise: is it sure that the loss fell by less than `limit` = 5 % from the first fifth of the run
      to the last one (with an error that allows for correlated noise, at 97.5 %), is it not sure that it
      fell at all, is there no falling trend in between, and has it not risen to `rise` = 1.5 times its
      start?
    ## Why it matters
    It is the symptom that all broken trainings share. This rule speaks on its own where no other rule
    knows the cause.
    ## How to fix
    Fit a single batch: if the loss does not go to its minimum there, it is a software defect (labels
    that do not belong to the inputs, a loss of the wrong tensors, outputs that do not depend on the
    input). If it does, look at the learning rate and at the data.
    ## Limits
    Silent where two optimizers may play against each other, for a loss without a floor (policy
    gradients, critics, densities), during warm-up, if an evaluation loss falls, if it is too noisy to
    tell, and where an earlier training of the same run had already brought it down. A run that is
    resumed from a file at its optimum looks like a run that learns nothing, except in classification.
    ## Source
    Karpathy, "A Recipe for Training Neural Networks", 2019 (loss at initialisation, overfit one batch).
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5 (fit a tiny data set). Trend: Mann, 1945.
    Error of means under correlated noise: batch means, Conway, 1963. 5 % is half of what
    `update-too-large` and others count as learning.
    """
    for optimizer in history.optimizers:
        found = courses(history, optimizer)
        if opponents(history, optimizer) or warming_up(history, optimizer):
            continue
        if any(course.fell(SOME) for course in found) or _evaluation_falls(history):
            continue
        for course in found[:1]:
            if len(course) < min_steps or not course.anchored:
                continue
            guesses = course.guesses(guessing)
            if guesses is False or already_trained(history, course):
                continue
            if guesses or _flat(course, limit, rise):
                yield _finding(history, course, limit, guessing, guesses=bool(guesses))


def _flat(course: Course, limit: float, rise: float) -> bool:
    change = fall(course.first(0.2), course.last(0.2))
    scale = abs(change.before)
    return bool(
        change.at_most() <= limit * scale
        and change.size <= 2 * change.error
        and change.after < rise * course.start
        and trend(course.levels) > -2
    )


def _evaluation_falls(history: History) -> bool:
    for scope in history.scopes("eval_loss"):
        values = history.series("eval_loss", scope).values
        values = values[np.isfinite(values)]
        if len(values) > 1 and values[0] > 0 and values.min() < (1 - SOME) * values[0]:
            return True
    return False


def _finding(history: History, course: Course, limit: float, guessing: float, *, guesses: bool) -> Finding:
    facts = history.losses[course.streams[0]]
    change = fall(course.first(0.2), course.last(0.2))
    first, last = int(course.steps[0]), int(course.steps[-1])
    evidence: dict[str, Evidence] = {
        "loss_at_start": change.before,
        "loss_at_end": change.after,
        "error_of_the_difference": change.error,
        "steps": last - first + 1,
        "optimizer": course.optimizer,
    }
    if guesses and course.uninformed is not None:
        evidence |= {"loss_of_guessing": course.uninformed, "limit": guessing * course.uninformed}
        level = f", that of guessing ({course.uninformed:.3g})"
    else:
        evidence |= {"largest_possible_fall": change.at_most() / abs(change.before), "limit": limit}
        level = ""
    return Finding(
        "loss-not-decreasing",
        Severity.WARNING,
        f"after {last - first + 1} steps the loss is still {change.after:.4g}{level}; it began at {change.before:.4g}",
        Location(file=facts.file, line=facts.line),
        first,
        last,
        evidence,
        cause="Labels that do not belong to the inputs, outputs that do not depend on them, or a learning rate that is "
        "far off.",
        remedy="Train on one batch only: if the loss does not go to its minimum there, look for the defect between "
        "inputs, outputs and loss; if it does, try learning rates 10 times higher and lower.",
    )
