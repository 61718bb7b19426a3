"""Hyperparameters that give a model more capacity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from diagnose.gap._advice import Weighted, lower
from diagnose.gap._capacity import TABLE
from diagnose.gap._hyperparameters import Hyperparameter
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation
from diagnose.gap._values import larger, padding_for

_ENOUGH_UNITS: Final = 64
MANY_UNITS: Final = 256
_TINY: Final = 8
"""Units below which a layer is narrow for any data with more than a few features: the width, not the rate, is the
likelier limit. From `MANY_UNITS` on it is not likely to be the limit at all for small data."""


def is_tiny(situation: Situation) -> bool:
    """Whether a layer is so narrow, a kernel so small, or the model so flat, that it can hardly do more."""
    known = situation.hyperparameters
    units, kernel, layers = known.first("hidden-units"), known.first("kernel-width"), known.first("depth")
    return (
        (units is not None and units.value <= _TINY)
        or (kernel is not None and kernel.value == 1)
        or (layers is not None and layers.value == 0)
    )


def larger_model(situation: Situation) -> Iterator[Weighted]:
    """Each hyperparameter that gives capacity, the one that is furthest below what is usual first."""
    known = situation.hyperparameters
    found = False
    for units in known.of("hidden-units"):
        found = True
        weight = 50 + min(max(3 * math.log2(_ENOUGH_UNITS / max(units.value, 1)), 0), 11)
        weight = 36 if units.value >= 2 * MANY_UNITS else 44 if units.value >= MANY_UNITS else weight
        yield weight, _wider(units, f"{units.name} is {units.value}")
    kernel = known.first("kernel-width")
    if kernel is not None:
        found = True
        alone = " and sees a single place" if kernel.value == 1 else ""
        weight = 62 if kernel.value == 1 else 50.5 if kernel.value == 2 else 43
        yield weight, _wider(kernel, f"{kernel.name} is {kernel.value}{alone}")
    padding = known.first("zero-padding")
    if padding is not None and padding.value == 0 and (kernel is None or kernel.value > 1):
        found = True
        lost = "" if kernel is None else f", so each convolution takes {int(kernel.value) - 1} rows and columns away"
        layers = known.first("depth")
        many = layers is not None and kernel is not None and (kernel.value - 1) * layers.value >= 8
        wide = kernel is not None and kernel.value >= 5
        one = lower(
            "more-capacity",
            f"{padding.name} is 0{lost}: {TABLE['zero-padding'].reason}",
            padding,
            "zero-padding",
            padding_for(kernel),
        )
        yield (57 if many else 52 if wide else 44.5), one
    layers = known.first("depth")
    if layers is not None:
        found = True
        yield (63 if layers.value == 0 else 47), _wider(layers, f"{layers.name} is {layers.value}")
    if not found:
        reason = "the training error is too high, and nothing speaks against the optimisation"
        yield 50, lower("more-capacity", f"{reason}: {TABLE['hidden-units'].reason}", None, "hidden-units", None)


def _wider(one: Hyperparameter, reason: str) -> Recommendation:
    return lower("more-capacity", f"{reason}: {TABLE[one.kind].reason}", one, one.kind, larger(one))
