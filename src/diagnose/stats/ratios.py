"""Ratios of updates, gradients and parameters, over many parameters and many steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.curves import theil_sen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LAYERS_FITTED = 64


def bulk(values: Floats, sizes: Floats) -> Floats:
    """What the bulk of the elements reaches: in each row, the largest value that half of them have or exceed.

    A parameter counts as often as it has elements, so a thousand small biases do not outvote the matrix that
    does the work.

    Args:
        values: shape (T, P); NaN where a parameter was not observed.
        sizes: shape (P,), elements of each parameter, positive.

    Returns:
        Shape (T,); NaN in rows where less than half of the elements were observed, and if P is 0.
    """
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), axis=1, kind="stable")
    reached = np.cumsum(sizes[order], axis=1)
    half = np.argmax(reached >= sizes.sum() / 2, axis=1)
    rows = np.arange(len(values))
    result: Floats = values[rows, order[rows, half]]
    return result


def path_length(steps: Ints, values: Floats, first: int, last: int) -> float:
    """Sum over the steps `first` to `last` of what was sampled at `steps`.

    Between samples it is interpolated linearly, before the first and after the last it stays as it was
    there. The sum of relative updates bounds how far a parameter can have moved, because steps may also
    undo one another.

    Args:
        steps: shape (T,), increasing.
        values: shape (T,), finite and not negative.

    Returns:
        NaN without samples, 0 if `last` lies before `first`.
    """
    if not len(steps):
        return math.nan
    every = np.arange(first, last + 1)
    return float(np.interp(every, steps, values).sum())


def elasticity(gradient_norm: Floats, parameter_norm: Floats, loss: float) -> Floats:
    """|gradient| * |parameters| / |loss|: by how many per cent the loss may change if the parameters do by one.

    It is the same for a summed and a mean loss, and for any learning rate.

    Args:
        gradient_norm, parameter_norm: shape (T,).
        loss: the level to compare with.

    Returns:
        Shape (T,); inf if the loss is 0.
    """
    if loss == 0:
        return np.full(len(gradient_norm), np.inf)
    with np.errstate(over="ignore"):
        result: Floats = gradient_norm * parameter_norm / abs(loss)
    return result


def decades_lost(values: Floats) -> float:
    """How many powers of ten the values lose from the last one to the first, by a robust line through log10.

    Args:
        values: shape (L,), one per layer in the order of execution; those that are not positive and
            finite are left out.

    Returns:
        Negative if they grow towards the first; NaN if fewer than 3 are left.
    """
    ranks = np.flatnonzero(np.isfinite(values) & (values > 0))
    if len(ranks) < 3:
        return math.nan
    # All pairs of a thousand layers are half a million; the line through 64 of them is the same.
    some = ranks[np.linspace(0, len(ranks) - 1, min(len(ranks), _LAYERS_FITTED)).round().astype(np.int64)]
    return theil_sen(some, np.log10(values[some])) * float(len(values) - 1)
