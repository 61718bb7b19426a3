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
from diagnose.stats.curves import block_levels, noise, running_median, trailing_run, trend


@rule("loss-diverging", needs=("loss",), explains=("loss-not-decreasing", "update-too-large"))
def loss_diverging(
    history: History,
    *,
    factor: float = 3.0,
    factor_alone: float = 10.0,
    factor_sure: float = 1e4,
    factor_down: float = 100.0,
    smooth: float = 0.1,
    gamble: float = 0.5,
    large_update: float = 0.1,
    min_steps: int = 10,
) -> Iterator[Finding]:
    """The loss runs away: far above where it started, or without bound below zero.

    ## What it does
    Compares the level of the loss at the end (the median over the last tenth of the steps, or over what
    there was before it became non-finite) with its level at the start, after `min_steps` = 10 steps or
    more (3, if it became non-finite). It speaks if the loss

    - ends `factor` = 3 times above its start, nine tenths of its last values above nine tenths of its
      first, and either became non-finite or the weights had been changed by `large_update` = 10 % of
      their size in one step;
    - or ends `factor_alone` = 10 times above its start and rises to the end without slowing down, with
      noise below `smooth` = 10 % of its level (`factor_sure` = 10,000 times with noise below `gamble` =
      50 %);
    - or is negative, fell by `factor_down` = 100 times its start, and falls in the same way.
    ## Why it matters
    Training makes the model worse. What has been learned is lost, and the next thing to come is NaN.
    ## How to fix
    Lower the learning rate, or warm it up; clip the gradient norm. If the loss rises steadily from the
    first step with ordinary updates, look at its sign: a loss that is maximised (`-loss`,
    `maximize=True`) does that. If it falls without bound, it is not a loss: add what bounds it.
    ## Limits
    One spike that recovers is not meant: levels are medians. Neither is a loss that comes back up to
    where it started (a new task), rises by less (a regularisation that is phased in), is a sum over more and more
    terms (longer sequences, larger batches: what counts is the loss per term), or is a gamble
    (policy gradients, temporal differences), for those rise with much noise. Where several optimizers
    may play against each other, it speaks only after large updates or a non-finite loss. The updates of
    a loss that runs away become large in the end; where they did so only later, `update-too-large` is
    shown as a symptom of this, and otherwise as its cause.
    ## Source
    Judgement, from what healthy losses do: a KL term that is phased in raises a VAE's loss by less than
    2, a policy gradient without baseline raises its own 1,000 times at most, with noise of 15 % and
    more, while a divergence passes 3 within a few steps and has no upper limit. Large updates: see
    `update-too-large`. Goodfellow, Bengio & Courville, *Deep Learning*, sec. 8.2.4 and 11.4.1, for the
    role of the learning rate.
    """
    for optimizer in history.optimizers:
        contested = bool(opponents(history, optimizer))
        until = horizon(history, optimizer)
        own = weights(history, optimizer, before=until)
        jolt = own.bulk(own.grown)
        jolts = own.steps[np.nan_to_num(jolt) >= large_update]
        jolted = len(jolts) > 0
        for course in courses(history, optimizer):
            broke = course.broke_at is not None
            if len(course) < (3 if broke else min_steps):
                continue
            scale = max(abs(course.start), _early_noise(course), np.finfo(float).tiny)
            rise = 1 + (course.late - course.start) / scale
            apart = np.quantile(course.last(0.1), 0.1) > np.quantile(course.first(0.1), 0.9)
            steadily = math.inf if contested else _disturbance(course)
            if rise >= factor and apart and (broke or jolted):
                limit = factor
            elif rise >= factor_alone and apart and steadily < smooth:
                limit = factor_alone
            elif rise >= factor_sure and apart and steadily < gamble:
                limit = factor_sure
            elif course.late < 0 and 2 - rise >= factor_down and steadily < gamble:
                rise, limit = 2 - rise, factor_down
            else:
                continue
            if not broke and _adds_up_more(history, course, factor):
                continue
            # Rising before anything large happened means going in the wrong direction.
            climbs = trend(course.values[course.steps <= (jolts[0] if jolted else math.inf)]) > 3
            yield _finding(history, course, rise, limit, jolted=jolted, climbs=climbs)


def _adds_up_more(history: History, course: Course, factor: float) -> bool:
    """Whether the loss is a sum whose terms have grown in number, not in size."""
    for scope, facts in history.objectives.items():
        if facts.optimizer == course.optimizer and facts.reduction == "sum" and facts.alone:
            per_term = history.series("objective", scope).values
            tenth = -(-len(per_term) // 10)
            if tenth and np.median(per_term[-tenth:]) < factor * np.median(per_term[:tenth]):
                return True
    return False


def _early_noise(course: Course) -> float:
    value = noise(course.first(0.2))
    return value if math.isfinite(value) else 0.0


def _disturbance(course: Course) -> float:
    """Noise, as a share of its level, of a loss that moves away from its start to the end, no slower than before.

    Inf if it does not do that. Exponential growth is not noise: it is a straight line on the logarithmic
    scale.
    """
    half = course.values[len(course) // 2 :]
    levels = block_levels(half, 10)
    if len(levels) < 5 or not ((half > 0).all() or (half < 0).all()):
        return math.inf
    away = levels if course.late > course.start else -levels
    if trend(away) <= 2 or _last_pace(away) < 0.5:
        return math.inf
    return noise(np.log(np.abs(half)))


def _last_pace(levels: Floats) -> float:
    """Climb over the second half of the levels as a multiple of the climb over the first half."""
    middle = len(levels) // 2
    before, after = levels[middle] - levels[0], levels[-1] - levels[middle]
    return float(after / before) if before > 0 else math.inf if after > 0 else 0.0


def _finding(history: History, course: Course, rise: float, limit: float, *, jolted: bool, climbs: bool) -> Finding:
    facts = history.losses[course.streams[0]]
    down = course.late < course.start
    scale = abs(course.late - course.start) / (rise - 1)
    # It began where the loss left its start for good; what is said above is said of the end.
    smoothed = running_median(course.values)
    left = (course.start - smoothed if down else smoothed - course.start) > 0.25 * scale
    began = 0 if climbs or down else min(trailing_run(left), len(course) - 1)
    evidence: dict[str, Evidence] = {
        "loss_at_start": course.start,
        "loss_at_end": course.late,
        "factor": rise,
        "limit": limit,
        "optimizer": course.optimizer,
    }
    if down:
        cause = "The loss has no lower bound, or the wrong sign: it is not minimised but run away from."
        remedy = "Check the sign of the loss and of each of its terms; add the term or the clamp that bounds it."
    elif climbs:
        cause = (
            "It rises with ordinary updates: the loss is maximised (wrong sign, maximize=True), or its target moves."
        )
        remedy = "Check the sign of the loss and the optimizer's `maximize`; then lower the learning rate."
    else:
        cause = "The updates are too large: the learning rate is too high, or the gradients explode."
        remedy = "Lower the learning rate by a factor of 10, or warm it up; clip the gradient norm."
    broke = f" and was not finite at step {course.broke_at}" if course.broke_at is not None else ""
    return Finding(
        "loss-diverging",
        Severity.ERROR,
        f"the loss went from {course.start:.3g} to {course.late:.3g}{broke}",
        Location(file=facts.file, line=facts.line),
        int(course.steps[began]),
        int(course.steps[-1]),
        evidence,
        cause=cause,
        remedy=remedy,
    )
