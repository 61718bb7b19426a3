"""What the course of the training loss says of the optimisation, and the learning rate beside what is usual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from diagnose.gap._advice import Weighted, advice, lower
from diagnose.gap._hyperparameters import Hyperparameter, drop_of
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation
from diagnose.gap._values import has_headroom, higher_rate, larger, lower_rate, rate_is, usual_rates
from diagnose.gap._widening import is_tiny

_STRAIGHT: Final = 0.35
"""Share of the fall in the second half from which a curve is nearer to a straight line than to one that settles."""
_BENDING: Final = 0.1
"""The same for a curve that bends, but has not settled: weaker evidence, by which a wide model is trained on first."""
SOME: Final = 0.1
"""A network has learned something once its loss is a tenth below the start: less the output bias alone gains."""
_LATE_STEPS: Final = 0.02
"""Share of the sum of all learning rates in the second half of the training, below which that half counts for nothing:
an epoch of the first half weighs as much as all of it if there are fifty."""
_SMOOTH: Final = 0.03
"""A loss that scatters by less than this from epoch to epoch has room for a larger learning rate."""


def broken(situation: Situation) -> Iterator[Weighted]:
    """A loss that became NaN, rose, or jumps."""
    course, limits = situation.course, situation.limits
    rate = situation.hyperparameters.first("learning-rate")
    suggested = None if rate is None else lower_rate(rate)
    if course.broke_at is not None:
        reason = f"the training loss is not finite from epoch {course.broke_at} on"
        yield 97, lower("lower-lr", reason, rate, "learning-rate", suggested)
    if not course.known:
        return
    dropout = situation.hyperparameters.first("dropout")
    unsteady = limits.unsteady * (2 if dropout is not None and drop_of(dropout) >= 0.2 else 1)
    if course.rose_again > 1.3 or (course.rose_again > 1.1 and course.unsteady > unsteady / 2):
        reason = (
            f"the training loss ends at {course.last:.3g}, {course.rose_again:.2g} times its best, {course.best:.3g}"
        )
        yield 82, lower("lower-lr", reason, rate, "learning-rate", suggested)
    elif course.unsteady > unsteady:
        reason = f"the training loss jumps by {course.unsteady:.0%} of its level from epoch to epoch"
        yield 78, lower("lower-lr", reason, rate, "learning-rate", suggested)


def slow(situation: Situation) -> Iterator[Weighted]:
    """A loss that stands still, or still falls; a learning rate that is far from what is usual."""
    course, known = situation.course, situation.hyperparameters
    rate, compared = known.first("learning-rate"), rate_is(known)
    up = None if rate is None else higher_rate(rate)
    down = None if rate is None else lower_rate(rate)
    beside = _compared(situation)
    gone = _rate_gone(situation)
    if gone is not None and course.broke_at is None:
        yield 72, longer(situation, f"{gone}; let it fall more slowly")
        yield 71, lower("higher-lr", gone, rate, "learning-rate", up)
        return
    hardly = course.known and course.last > (1 - SOME) * course.first and compared in ("low", "high")
    if course.known and (hardly or not course.fell) and course.broke_at is None:
        reason = f"the training loss has hardly fallen ({course.first:.3g} at first, {course.last:.3g} at last)"
        if compared == "high":
            yield 76, lower("lower-lr", f"{reason}, and {beside}", rate, "learning-rate", down)
        elif compared == "low":
            yield 76, lower("higher-lr", f"{reason}, and {beside}", rate, "learning-rate", up)
        else:
            yield 75, longer(situation, reason + "; look for what keeps it: `diagnose check`")
            yield 48, lower("lower-lr", f"{reason}: the rate may be far too high", rate, "learning-rate", down)
            yield 46, lower("higher-lr", f"{reason}: the rate may be far too low", rate, "learning-rate", up)
        return
    if course.known and course.falls_still and course.second_half >= situation.limits.still_falling:
        yield from _still_falling(situation, rate, compared, up)
        return
    if course.known and course.falls_still and course.second_half >= _BENDING and course.doubling >= _BENDING * 2:
        reason = (
            f"the training loss has slowed down, but fell by {course.doubling:.0%} over the second half of the epochs"
        )
        yield 52, longer(situation, reason)
    if compared == "high":
        yield 64, lower("lower-lr", beside, rate, "learning-rate", down)
    elif compared == "low":
        # A curve that has settled says that the rate was enough.
        yield (42 if course.known else 64), lower("higher-lr", beside, rate, "learning-rate", up)
    epochs = known.first("epochs")
    if not course.known and epochs is not None and epochs.value <= 3:
        yield 63, longer(situation, f"{epochs.name} is {epochs.value}: the training has hardly begun")


def _rate_gone(situation: Situation) -> str | None:
    """What the recorded learning rate did, if nothing was left of it in the second half of the training.

    The steps of gradient descent add up to the sum of its learning rates: where the second half has hardly any of that
    sum, a loss that stands still there shows that the steps are small, and not that the model can do no better. A
    cosine to zero leaves 18 % to the second half, two steps down by ten times 5 %.
    """
    rates = situation.curves.get("lr")
    if len(rates) < 4 or not np.isfinite(rates).all() or (rates < 0).any() or rates.sum() <= 0:
        return None
    late = float(rates[len(rates) // 2 :].sum() / rates.sum())
    if late >= _LATE_STEPS:
        return None
    return (
        f"the learning rate fell from {rates.max():.2g} to {rates[-1]:.2g}, and the second half of the epochs made "
        f"{late:.2g} of all steps' length: the loss stands still because the steps are tiny"
    )


def _still_falling(situation: Situation, rate: Hyperparameter | None, compared: str, up: object) -> Iterator[Weighted]:
    course = situation.course
    reason = (
        f"the training loss still falls: {course.second_half:.0%} of its whole fall, from {course.first:.3g} to "
        f"{course.last:.3g}, is of the second half"
    )
    tiny = compared == "usual" and is_tiny(situation)
    if course.second_half >= _STRAIGHT and course.last > course.first / 2 and compared != "high" and not tiny:
        # A straight line that has not come half the way needs many times its epochs; the rate is what multiplies.
        yield 71, lower("higher-lr", reason, rate, "learning-rate", up)
        yield 70, longer(situation, reason)
        return
    # A narrow layer makes a loss fall slowly as well. Only a probe can tell; the value of the rate makes one likelier.
    weight = 47.0 if tiny else 70.0
    known = situation.hyperparameters
    has_room = rate is not None and compared != "high" and course.unsteady < _SMOOTH
    if has_room and compared == "low":
        yield weight + 2, lower("higher-lr", f"{reason}, and {_compared(situation)}", rate, "learning-rate", up)
        yield weight, longer(situation, reason)
    else:
        yield weight + 1, longer(situation, reason)
        if compared != "high" and not tiny and has_headroom(known):
            yield weight, lower("higher-lr", f"{reason}, smoothly", rate, "learning-rate", up)


def _compared(situation: Situation) -> str:
    rate = situation.hyperparameters.first("learning-rate")
    if rate is None:
        return "the learning rate is not known"
    low, high = usual_rates(situation.hyperparameters)
    whose = f"for {situation.hyperparameters.optimizer}" if situation.hyperparameters.optimizer else "for any optimizer"
    return f"{rate.name} is {rate.value:g}, where {low:g} to {high:g} is usual {whose}"


def longer(situation: Situation, reason: str) -> Recommendation:
    epochs = situation.hyperparameters.first("epochs")
    return advice(
        "better-optimization",
        f"{reason}: train longer, or tune the learning rate, its schedule and the momentum",
        epochs,
        "epochs",
        suggested=None if epochs is None else larger(epochs),
        train_error="lower",
        test_error="lower",
    )
