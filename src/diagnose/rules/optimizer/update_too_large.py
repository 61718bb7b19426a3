"""update-too-large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import Floats, History
from diagnose.rules._base import rule
from diagnose.rules.loss._course import Course, courses, horizon, main_course, opponents
from diagnose.rules.optimizer._weights import Weights, weights
from diagnose.stats.curves import longest_run


@rule(
    "update-too-large",
    needs=("update_ratio", "param_rms"),
    explains=("loss-diverging", "loss-not-decreasing"),
)
def update_too_large(
    history: History,
    *,
    limit: float = 0.1,
    patience: int = 10,
    overwriting: float = 1.0,
    unlearned: float = 0.8,
    jump: float = 1.5,
    recovered: float = 0.1,
) -> Iterator[Finding]:
    """The optimizer changes the weights by a large share of their own size, and training suffers.

    ## What it does
    Compares rms(update) / rms(weight), the *update ratio*, of the bulk of the weights (what at least half of all
    their elements reach) with two limits:

    - `limit` = 0.1 in at least `patience` = 10 sampled steps in a row, or in the last two before something became
      non-finite;
    - `overwriting` = 1 in a single step: that step replaced the weights by its own size.

    It speaks only if the loss shows harm. For the first limit: the loss became non-finite, kept more than
    `unlearned` = 80 % of its start, or ended above its start. For the second, more telling one: it kept more than
    half, or it jumped to `jump` = 1.5 times its start and kept more than `recovered` = 10 %; without harm, the
    second limit gives an `info`.
    ## Why it matters
    Gradient descent trusts a straight line. After a step of 10 % of the weights that line no longer holds: the
    step overshoots, the initialisation is lost, ReLU units are thrown to where they never fire again and tanh
    units to where they are flat. Often the damage is done in the first ten steps, and what follows, a loss that
    stays at the level of guessing, shows no large update any more.
    ## How to fix
    Lower the learning rate of the named optimizer, first by 10, until the ratio is about 0.001 to 0.01; or warm it up
    over the first few hundred steps. With SGD on inputs or targets that are not scaled, scale them first.
    ## Limits
    Weights that start at zero or far below the usual initialisation (smaller than 0.1 / sqrt(fan-in)) count only
    once they have grown to that size, biases, scales and embeddings not at all. A ratio above the limit while the
    loss falls is not a fault: small networks stand it. Needs a loss.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5: the update of a minibatch should be about 1 % of the
    parameter. CS231n course notes, "Ratio of weights:updates": about 1e-3. The limit of 0.1 is ten times the former,
    and the upper end of the range of Braiek & Khomh, *TheDeepChecker* (log10 of the ratio between -4 and -1). At 1 the
    update is as large as what it changes, whatever the optimizer.
    """
    for optimizer in history.optimizers:
        until = horizon(history, optimizer)
        course = main_course(history, optimizer)
        own = weights(history, optimizer, before=until)
        if course is None or not len(course) or not len(own.steps):
            continue
        ratio = own.bulk(own.grown)
        found = _burst(own, ratio, overwriting) or _persistent(own, ratio, limit, patience, until)
        if found is None:
            continue
        harmed = (
            until < math.inf
            or not _keeps_learning(history, optimizer, 0.5 if found.overwrites else unlearned)
            or (
                found.overwrites
                and _peak(course, found) >= jump * course.start
                and not _keeps_learning(history, optimizer, recovered)
            )
        )
        if harmed or found.overwrites:
            yield _finding(
                own, course, found, limit=overwriting if found.overwrites else limit, harmed=harmed
            )


@dataclass(frozen=True)
class _Stretch:
    """Steps with large updates; `ratio` is the largest of a burst, the smallest of a long stretch."""

    first: int
    last: int
    ratio: float
    overwrites: bool


def _burst(own: Weights, ratio: Floats, limit: float) -> _Stretch | None:
    above = np.flatnonzero(ratio >= limit)
    if not len(above):
        return None
    return _Stretch(
        int(own.steps[above[0]]), int(own.steps[above[-1]]), float(np.nanmax(ratio)), True
    )


def _persistent(
    own: Weights, ratio: Floats, limit: float, patience: int, until: float
) -> _Stretch | None:
    begin, end = longest_run(ratio > limit)
    ends_broken = until < math.inf and end == len(ratio) and end - begin >= 2
    if end - begin < patience and not ends_broken:
        return None
    return _Stretch(
        int(own.steps[begin]), int(own.steps[end - 1]), float(ratio[begin:end].min()), False
    )


def _keeps_learning(history: History, optimizer: str, share: float) -> bool:
    """Whether some loss of the optimizer ends below `share` of what it would be without learning.

    True where the loss cannot tell, because another optimizer plays against this one.
    """
    return bool(opponents(history, optimizer)) or any(
        course.keeps(1 - share) if course.anchored else course.fell()
        for course in courses(history, optimizer)
    )


def _peak(course: Course, stretch: _Stretch) -> float:
    """The highest of the losses that came right after the large updates."""
    after = course.values[(course.steps > stretch.first) & (course.steps <= stretch.last + 3)]
    return float(after.max()) if len(after) else -math.inf


def _finding(
    own: Weights, course: Course, found: _Stretch, *, limit: float, harmed: bool
) -> Finding:
    during = (own.steps >= found.first) & (own.steps <= found.last)
    at = np.nanargmax(np.where(np.isnan(own.grown[during]), -1, own.grown[during]).max(axis=0))
    growth = own.rms[during][-1, at] / max(own.rms[0, at], np.finfo(float).tiny)
    share = f"{found.ratio:.2g} times" if found.ratio >= 1 else f"{100 * found.ratio:.0f} % of"
    how = "a single step changed" if found.overwrites else "step after step changed"
    return Finding(
        "update-too-large",
        Severity.ERROR if harmed else Severity.INFO,
        f"{how} the weights by {share} their own size; the loss went from {course.start:.3g} to {course.late:.3g}",
        Location(parameter=own.names[int(at)]),
        found.first,
        found.last,
        {
            "update_ratio": found.ratio,
            "limit": limit,
            "weight_growth": float(growth),
            "loss_at_start": course.start,
            "loss_at_end": course.late,
            "optimizer": own.optimizer,
        },
        cause="The learning rate is too high for this model and these inputs, or it starts without warm-up.",
        remedy=f"Divide the learning rate of {own.optimizer} by 10 and repeat until the update ratio is about 0.001 to "
        "0.01; warm it up if only the first steps are too large.",
    )
