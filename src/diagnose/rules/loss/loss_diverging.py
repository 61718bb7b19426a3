"""loss-diverging."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Floats, History
from diagnose.rules._base import rule
from diagnose.rules.loss._course import Course, courses, horizon, opponents
from diagnose.rules.optimizer._weights import weights
from diagnose.stats.curves import block_levels, noise, trend


@rule("loss-diverging", needs=("loss",), explains=("loss-not-decreasing",))
def loss_diverging(
    history: History,
    *,
    factor: float = 3.0,
    factor_alone: float = 10.0,
    factor_down: float = 100.0,
    smooth: float = 0.1,
    large_update: float = 0.1,
    min_steps: int = 10,
) -> Iterator[Finding]:
    """The loss runs away: far above where it started, or without bound below zero.

    ## What it does
    Compares the level of the loss at the end (the median over the last tenth of the steps, or over what there was before
    it became non-finite) with its level at the start. It speaks if the loss

    - ends `factor` = 3 times above its start, all of its last values lying above all of its first, and either became
      non-finite or the weights had been changed by `large_update` = 10 % of their size in one step;
    - or ends `factor_alone` = 10 times above its start and rises steadily to the end, with noise below
      `smooth` = 10 % of its level;
    - or is negative, `factor_down` = 100 times further from zero than at its start, and falls as steadily and no slower
      towards the end.
    ## Why it matters
    Training makes the model worse. What has been learned is lost, and the next thing to come is NaN.
    ## How to fix
    Lower the learning rate, or warm it up; clip the gradient norm. If the loss rises steadily from the first step with
    ordinary updates, look at its sign: a loss that is maximised (`-loss`, `maximize=True`) does that. If it falls
    without bound, it is not a loss: add what bounds it.
    ## Limits
    One spike that recovers is not meant: levels are medians. Neither is a loss that comes back up to where it started (a
    new task), rises by less (a regularisation that is phased in), or is a gamble (policy gradients, temporal
    differences), for those rise with much noise. Where several optimizers may play against each other, it speaks
    only after large updates or a non-finite loss.
    ## Source
    Judgement, from what healthy losses do: a KL term that is phased in raises a VAE's loss by less than 2, while a
    divergence passes 3 within a few steps and has no upper limit. Large updates: see `update-too-large`. Goodfellow,
    Bengio & Courville, *Deep Learning*, sec. 8.2.4 and 11.4.1, for the role of the learning rate.
    """
    for optimizer in history.optimizers:
        contested = bool(opponents(history, optimizer))
        until = horizon(history, optimizer)
        own = weights(history, optimizer, before=until)
        jolt = own.bulk(own.grown)
        jolted = bool((jolt[np.isfinite(jolt)] >= large_update).any())
        for course in courses(history, optimizer):
            broke = course.broke_at is not None
            if len(course) < (3 if broke else min_steps):
                continue
            scale = max(abs(course.start), _early_noise(course), np.finfo(float).tiny)
            rise = 1 + (course.late - course.start) / scale
            apart = course.last(0.1).min() > course.first(0.1).max()
            steady = _steady(course, smooth) and not contested
            if rise >= factor and apart and (broke or jolted):
                limit = factor
            elif rise >= factor_alone and apart and steady:
                limit = factor_alone
            elif course.late < 0 and course.late <= course.start - factor_down * scale and steady:
                rise, limit = (course.start - course.late) / scale, factor_down
            else:
                continue
            yield _finding(history, course, rise, limit, jolted=jolted)


def _early_noise(course: Course) -> float:
    value = noise(course.first(0.2))
    return value if math.isfinite(value) else 0.0


def _steady(course: Course, smooth: float) -> bool:
    """Whether the loss moves away from its start to the very end, hardly disturbed, and no slower than before."""
    half = course.values[len(course) // 2 :]
    levels = block_levels(half, 10)
    if len(levels) < 5 or not ((half > 0).all() or (half < 0).all()):
        return False
    away = levels if course.late > course.start else -levels
    # On a logarithmic scale exponential growth is a straight line, so that its pace is not taken for noise.
    disturbance = noise(np.log(np.abs(half)))
    return bool(trend(away) > 2 and disturbance < smooth and _last_pace(away) >= 0.5)


def _last_pace(levels: Floats) -> float:
    """Climb over the second half of the levels as a multiple of the climb over the first half."""
    middle = len(levels) // 2
    before, after = levels[middle] - levels[0], levels[-1] - levels[middle]
    return float(after / before) if before > 0 else math.inf if after > 0 else 0.0


def _finding(
    history: History, course: Course, rise: float, limit: float, *, jolted: bool
) -> Finding:
    facts = history.losses[course.streams[0]]
    away = np.abs(course.values - course.start) > 0.5 * abs(course.late - course.start)
    first = int(course.steps[int(np.argmax(away))])
    down = course.late < course.start
    evidence: dict[str, Evidence] = {
        "loss_at_start": course.start,
        "loss_at_end": course.late,
        "factor": rise,
        "limit": limit,
        "optimizer": course.optimizer,
    }
    if jolted:
        cause = (
            "The updates are too large: the learning rate is too high, or the gradients explode."
        )
        remedy = "Lower the learning rate by a factor of 10, or warm it up; clip the gradient norm."
    elif down:
        cause = (
            "The loss has no lower bound, or the wrong sign: it is not minimised but run away from."
        )
        remedy = "Check the sign of the loss and of each of its terms; add the term or the clamp that bounds it."
    else:
        cause = (
            "The loss is maximised (wrong sign, maximize=True), or the learning rate is too high."
        )
        remedy = "Check the sign of the loss and the optimizer's `maximize`; then lower the learning rate."
    broke = f" and was not finite at step {course.broke_at}" if course.broke_at is not None else ""
    return Finding(
        "loss-diverging",
        Severity.ERROR,
        f"the loss went from {course.start:.3g} to {course.late:.3g}{broke}",
        Location(file=facts.file, line=facts.line),
        first,
        int(course.steps[-1]),
        evidence,
        cause=cause,
        remedy=remedy,
    )
