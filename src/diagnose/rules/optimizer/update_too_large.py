"""update-too-large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import Floats, History
from diagnose.rules._base import rule
from diagnose.rules.loss._course import (
    JUMP,
    LATE_SHARE,
    SOME,
    Course,
    already_trained,
    courses,
    horizon,
    main_course,
    near_guessing,
    opponents,
)
from diagnose.rules.optimizer._weights import Weights, weights
from diagnose.stats.curves import longest_run, trailing_run, trend
from diagnose.stats.ratios import path_length

OVERWRITTEN: Final = 0.5
"""Of a loss that is left after the weights were replaced: less, and the run has recovered from it."""


@rule(
    "update-too-large",
    needs=("update_ratio", "param_rms"),
    explains=("loss-diverging", "loss-not-decreasing", "vanishing-gradient", "constant-output"),
)
def update_too_large(
    history: History,
    *,
    limit: float = 0.1,
    patience: int = 10,
    overwriting: float = 1.0,
    unlearned: float = 0.8,
    raised: float = 1.2,
    jump: float = 1.5,
    explosion: float = 10.0,
    recovered: float = 0.1,
    restless: float = 2.0,
) -> Iterator[Finding]:
    """The optimizer changes the weights by a large share of their own size, and training suffers.

    ## What it does
    Compares rms(update) / rms(weight), the *update ratio*, of the bulk of the weights (what at least
    half of all their elements reach) with two limits:

    - `limit` = 0.1 in at least `patience` = 10 sampled steps in a row, or in the last two before
      something became non-finite; or 10 times that in the sum of 10 steps;
    - `overwriting` = 1 in a single step: that step was as large as what it changed.

    It speaks only if the loss shows harm. It became non-finite; or the updates raised it (to `jump` = 1.5
    times its start right after them, or to `raised` = 1.2 times in a twentieth of the run), or it is known
    to be that of guessing (ln K), and it is sure that, at the end,

    - after a step as large as the weights, more than half of the start is left (after a jump, more than
      `recovered` = 10 %);
    - after 10 large steps in a row, more than `unlearned` = 80 %;
    - after 10 steps that are large together, more than 90 %, and nothing at all was learned.

    It is an `error`, too, if after a step as large as the weights, or 10 steps that are large together and made the
    loss jump, every loss of the last tenth of the run is above the very first one.

    Otherwise there is a `warning` if a step as large as the weights made the loss jump to `explosion` = 10
    times its start; or if the loss no longer falls and its level wanders `restless` = 2 times more than
    independent noise would make it, after such a jump or with large steps to the end of the run; if there are large
    steps to the end and the loss has not come below `unlearned` = 80 % of that of guessing, however high it began; or
    if 10 steps that are large together raised it, and it wanders above half of its start: they, too, have replaced what
    they changed. A step as large as the weights that did no harm gets an `info`.
    ## Why it matters
    Gradient descent trusts a straight line. After a step of 10 % of the weights that line no longer
    holds: the step overshoots, the initialisation is lost, ReLU units are thrown to where they never
    fire again and tanh units to where they are flat. Often the damage is done in the first ten steps,
    and what follows, a loss that stays at the level of guessing, shows no large update any more.
    ## How to fix
    Lower the learning rate of the named optimizer, first by 10, until the ratio is about 0.001 to 0.01;
    or warm it up over the first few hundred steps. With SGD on inputs or targets that are not scaled,
    scale them first.
    ## Limits
    Weights that start at zero or far below the usual initialisation (smaller than 0.1 / sqrt(fan-in))
    count only once they have grown to that size, biases, scales and embeddings not at all. A ratio above
    the limit while the loss falls is not a fault: small networks stand it. Nor is it one where it merely
    shakes the small weights of a weak signal under strong noise. Needs a loss.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5: the update of a minibatch should be about
    1 % of the parameter. CS231n course notes, "Ratio of weights:updates": about 1e-3. The limit of 0.1
    is ten times the former, and the upper end of the range of Braiek & Khomh, *TheDeepChecker* (log10 of
    the ratio between -4 and -1). At 1 the update is as large as what it changes, whatever the optimizer.
    """
    for optimizer in history.optimizers:
        until = horizon(history, optimizer)
        course = main_course(history, optimizer)
        own = weights(history, optimizer, before=until)
        if course is None or not len(course) or not len(own.steps):
            continue
        ratio = own.bulk(own.grown)
        burst = _burst(own, ratio, overwriting)
        persistent = _persistent(own, ratio, limit, patience, until)
        together = _together(own, ratio, patience * limit, patience)
        found = burst or persistent or together
        if found is None:
            continue
        jumped = _jump(course, found)
        hovers = course.wanders() >= restless and not _falling(history, optimizer)
        lasts = persistent is not None and persistent.last == own.steps[-1]
        if until < math.inf:
            yield _finding(own, course, found, Severity.ERROR)
        elif opponents(history, optimizer):
            continue
        elif _left_high(history, course, found, jumped, raised, jump, unlearned, recovered):
            yield _finding(own, course, found, Severity.ERROR)
        elif (burst or (together and jumped >= jump)) and _never_as_low_again(course):
            yield _finding(own, course, burst or found, Severity.ERROR)
        elif persistent and lasts and (hovers or near_guessing(history, course, unlearned)):
            yield _finding(own, course, persistent, Severity.WARNING)
        elif together and jumped > 1 and hovers and _kept(history, optimizer, OVERWRITTEN):
            yield _finding(own, course, together, Severity.WARNING)
        elif burst:
            harmed = jumped >= explosion or (jumped >= jump and hovers)
            yield _finding(own, course, burst, Severity.WARNING if harmed else Severity.INFO)


@dataclass(frozen=True)
class _Stretch:
    """Steps with large updates.

    Attributes:
        how: "burst" (`ratio` is the largest), "persistent" (the smallest) or "together" (the sum).
    """

    how: Literal["burst", "persistent", "together"]
    first: int
    last: int
    ratio: float
    limit: float


def _burst(own: Weights, ratio: Floats, limit: float) -> _Stretch | None:
    above = np.flatnonzero(ratio >= limit)
    if not len(above):
        return None
    first, last = own.steps[above[0]], own.steps[above[-1]]
    return _Stretch("burst", int(first), int(last), float(np.nanmax(ratio)), limit)


def _persistent(own: Weights, ratio: Floats, limit: float, patience: int, until: float) -> _Stretch | None:
    above = ratio > limit
    begin, end = trailing_run(above), len(ratio)
    enough = 2 if until < math.inf else patience
    if end - begin < enough:
        begin, end = longest_run(above)
        if end - begin < patience:
            return None
    first, last = own.steps[begin], own.steps[end - 1]
    return _Stretch("persistent", int(first), int(last), float(ratio[begin:end].min()), limit)


def _together(own: Weights, ratio: Floats, limit: float, patience: int) -> _Stretch | None:
    """The first `patience` steps whose updates add up to `limit`, where most of them were sampled."""
    seen = np.isfinite(ratio)
    steps, seen_ratio = own.steps[seen], ratio[seen]
    for first in steps.tolist():
        last = first + patience - 1
        if 2 * ((steps >= first) & (steps <= last)).sum() < patience:
            continue
        total = path_length(steps, seen_ratio, first, last)
        if total >= limit:
            return _Stretch("together", first, last, total, limit)
    return None


def _left_high(
    history: History,
    course: Course,
    found: _Stretch,
    jumped: float,
    raised: float,
    jump: float,
    unlearned: float,
    recovered: float,
) -> bool:
    """Whether it is sure that too much of the loss is left, and it is known to guess or the updates raised it."""
    if found.how == "burst" and jumped >= jump and _kept(history, course.optimizer, recovered):
        return True
    guesses = bool(course.guesses())
    higher = course.anchored and course.highest >= raised * (course.start + 2 * course.start_error)
    if not (jumped >= jump or guesses or higher):
        return False
    share = {"burst": OVERWRITTEN, "persistent": unlearned, "together": 1 - SOME}[found.how]
    learned = found.how == "together" and not guesses and _gained(history, course.optimizer)
    return _kept(history, course.optimizer, share) and not learned


def _never_as_low_again(course: Course) -> bool:
    """Whether every loss of the last tenth is above the first one, which no step has touched.

    In a run that large steps have made wild, no level stands out of its noise; this needs none. If the end were
    no worse than the beginning, ten values would all lie above one with a chance of 1 in 1,000.
    """
    late = course.last(LATE_SHARE)
    return len(late) >= 10 and bool(course.values.min() > 0 and late.min() > course.values[0])


def _falling(history: History, optimizer: str) -> bool:
    """Whether some loss still fell, by a tenth and more, in the second half of the run; True if it cannot tell."""
    for course in courses(history, optimizer):
        levels = course.levels[len(course.levels) // 2 :]
        fell = len(levels) > 1 and levels[0] - levels[-1] >= SOME * abs(levels[0])
        if not course.anchored or (fell and trend(levels) < -2):
            return True
    return bool(opponents(history, optimizer))


def _kept(history: History, optimizer: str, share: float) -> bool:
    """Whether it is sure that all losses of the optimizer end above `share` of what they are without learning."""
    return all(
        course.surely_kept(share) if course.anchored else not course.fell() for course in courses(history, optimizer)
    )


def _gained(history: History, optimizer: str) -> bool:
    """Whether some loss of the optimizer learned anything at all, or had done so before; True if it cannot tell."""
    return any(
        course.gained() or course.fell() or not course.anchored or already_trained(history, course)
        for course in courses(history, optimizer)
    )


def _jump(course: Course, found: _Stretch) -> float:
    """How many times its start the loss reached in the ten steps after the large updates began; 0 if that is noise."""
    after = course.values[(course.steps > found.first) & (course.steps <= found.first + 10)]
    before = min(course.start, float(course.values[0]))
    if not course.anchored or before <= 0 or not len(after) or after.max() <= before + JUMP * course.noise:
        return 0.0
    return float(after.max() / before)


def _finding(own: Weights, course: Course, found: _Stretch, severity: Severity) -> Finding:
    during = own.grown[(own.steps >= found.first) & (own.steps <= found.last)]
    at = int(np.argmax(np.nan_to_num(during).max(axis=0)))
    how = {
        "burst": "a single step changed the weights",
        "persistent": "step after step changed the weights",
        "together": f"{found.last - found.first + 1} steps together changed the weights",
    }[found.how]
    share = f"{found.ratio:.2g} times" if found.ratio >= 1 else f"{100 * found.ratio:.0f} % of"
    return Finding(
        "update-too-large",
        severity,
        f"{how} by {share} their own size; the loss went from {course.start:.3g} to {course.late:.3g}",
        Location(parameter=own.names[at]),
        found.first,
        found.last,
        {
            "update_ratio": found.ratio,
            "limit": found.limit,
            "loss_at_start": course.start,
            "loss_at_end": course.late,
            "optimizer": own.optimizer,
        },
        cause="The learning rate is too high for this model and these inputs, or it starts without warm-up.",
        remedy=f"Divide the learning rate of {own.optimizer} by 10 and repeat until the update ratio is about 0.001 to "
        "0.01; warm it up if only the first steps are too large.",
    )
