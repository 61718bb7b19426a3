"""Regularisation that may keep a model from fitting its training examples."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.gap._advice import Weighted, lower
from diagnose.gap._hyperparameters import drop_of
from diagnose.gap._optimizing import SOME
from diagnose.gap._situation import Situation
from diagnose.gap._values import is_decoupled, less_regularized


def regularized(situation: Situation) -> Iterator[Weighted]:
    """Less dropout, and less weight decay, the more of it there is the likelier."""
    yield from _dropout(situation)
    yield from _decay(situation)


def _dropout(situation: Situation) -> Iterator[Weighted]:
    limits, one = situation.limits, situation.hyperparameters.first("dropout")
    dropped = None if one is None else drop_of(one)
    ratio = situation.train_mode
    suggested = None if one is None else less_regularized(one)
    if dropped is not None and one is not None and dropped >= limits.strong_dropout:
        weight = 85 + 3 * dropped
        reason = f"{one.name} drops {dropped:.0%} of the units"
        yield weight, lower("less-dropout", reason, one, "dropout", suggested)
    elif ratio is not None and ratio > limits.train_mode_ratio and (dropped is None or dropped >= 0.3):
        reason = f"the training loss is {ratio:.2g} times as large in training mode as in evaluation"
        # Without a dropout that is known of, augmentation or smoothed labels may be what makes the difference.
        yield (80 if dropped is not None else 54), lower("less-dropout", reason, one, "dropout", suggested)
    elif dropped is not None and one is not None and dropped >= 0.5:
        reason = f"{one.name} drops {dropped:.0%} of the units, and the training error is too high"
        yield 51, lower("less-dropout", reason, one, "dropout", suggested)
    elif dropped is not None and one is not None and dropped >= 0.2:
        reason = f"{one.name} drops {dropped:.0%} of the units: while the training error is too high, it is not needed"
        yield 41, lower("less-dropout", reason, one, "dropout", suggested)


def _decay(situation: Situation) -> Iterator[Weighted]:
    limits, known = situation.limits, situation.hyperparameters
    one = known.first("weight-decay")
    if one is None or one.value <= 0:
        return
    decoupled = is_decoupled(known)
    limit = limits.strong_decoupled_decay if decoupled else limits.strong_decay
    suggested = less_regularized(one)
    if one.value >= limit:
        # At the limit itself an optimizer that nobody named may be AdamW, where it is the default.
        weight = 55.0 if one.value == limit and not known.optimizer else 84 + min(math.log10(one.value / limit), 3)
        course = situation.course
        falls = course.known and course.second_half >= limits.still_falling and course.last < (1 - SOME) * course.first
        if falls:
            # Decay makes a loss settle early, or keeps it where it began; one that still falls is held back by others.
            weight = min(weight, 69)
        reason = (
            f"{one.name} is {one.value:g}, where {limit:g} is much{' even for decoupled decay' if decoupled else ''}"
        )
        yield weight, lower("less-weight-decay", reason, one, "weight-decay", suggested)
    elif one.value >= limit / 30:
        reason = f"{one.name} is {one.value:g}: while the training error is too high, it is not needed"
        yield 40, lower("less-weight-decay", reason, one, "weight-decay", suggested)
