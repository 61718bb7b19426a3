"""Do inputs tell anything about labels? Whether each row has the label of the row nearest to it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.curves import Floats

Ints = NDArray[np.int64]


class Agreement(NamedTuple):
    """How many rows have the label of their nearest neighbour.

    Attributes:
        rows: rows that have a neighbour.
        share: those that agree with it, as a share.
        by_chance: the share that would if labels were permuted: sum over the classes of their squared frequencies.
        sigmas: (share - by_chance) in standard deviations of a binomial; 0 where all labels are the same.
    """

    rows: int
    share: float
    by_chance: float
    sigmas: float


def nearest(features: Floats) -> Ints:
    """For each row the index of the nearest other row that is not equal to it; -1 where there is none.

    Distances are Euclidean, each column first brought to unit variance, constant ones left out: a measure that needs
    no learning (Cover & Hart, "Nearest neighbor pattern classification", 1967).

    Args:
        features: shape (N, D). Rows that are not finite have no neighbours and are none.
    """
    rows, found = len(features), np.full(len(features), -1, dtype=np.int64)
    good = np.flatnonzero(np.isfinite(features).all(axis=1))
    if rows < 2 or len(good) < 2:
        return found
    known = features[good]
    spread = known.std(axis=0)
    known = ((known - known.mean(axis=0)) / np.where(spread > 0, spread, 1.0))[:, spread > 0]
    squares = (known**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * known @ known.T, 0.0)
    # What rounding leaves of the distance of equal rows is no distance: they are one example met twice.
    distances[distances <= 1e-9 * (1.0 + squares[:, None])] = np.inf
    best = distances.argmin(axis=1)
    has_one = np.isfinite(distances[np.arange(len(good)), best])
    found[good[has_one]] = good[best[has_one]]
    return found


def agreement(labels: Ints, neighbours: Ints) -> Agreement:
    """How often a row's label is that of its neighbour.

    Args:
        labels: shape (N,).
        neighbours: as `nearest` returns them.
    """
    has_one = neighbours >= 0
    rows = int(has_one.sum())
    if not rows:
        return Agreement(0, math.nan, math.nan, 0.0)
    _, counts = np.unique(labels, return_counts=True)
    by_chance = float(((counts / len(labels)) ** 2).sum())
    share = float((labels[has_one] == labels[neighbours[has_one]]).mean())
    deviation = math.sqrt(by_chance * (1 - by_chance) / rows)
    return Agreement(rows, share, by_chance, (share - by_chance) / deviation if deviation else 0.0)
