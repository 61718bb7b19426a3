"""Histograms of samples, for people to look at; no rule reads them.

`numpy.histogram` takes 60 us for 4,096 values, mostly to place values that lie within rounding of an edge.
A picture does not need that: here such a value may be counted in the neighbouring bin; it takes 25 us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in equal bins; the statistics are of the finite values only.

    Attributes:
        counts: shape (bins,), values per bin.
        edges: shape (bins + 1,), strictly increasing; a bin contains its lower edge, the last one both.
        minimum, maximum: NaN if there are no finite values.
        number: how many finite values there are.
        total, total_of_squares: their sums, in float64; the squares of huge values may add up to inf.
        nonfinite: how many values were NaN or infinite.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    minimum: float
    maximum: float
    number: int
    total: float
    total_of_squares: float
    nonfinite: int


def histogram(values: NDArray[Any], bins: int = 64) -> Histogram:
    """The histogram of `values` between their least and their greatest finite value.

    Values that are all equal (or closer together than float64 can divide into `bins`) are put in the middle
    of a range as wide as their size. No values: all counts are 0 and the edges run from 0 to 1.

    Args:
        values: any shape, any real dtype; not changed.
        bins: at least 1.

    Raises:
        ValueError: `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"a histogram needs at least 1 bin, got {bins}")
    finite = np.asarray(values).reshape(-1).astype(np.float64)
    nonfinite = 0
    minimum, maximum = _range(finite)
    if not (math.isfinite(minimum) and math.isfinite(maximum)):
        everything = len(finite)
        finite = finite[np.isfinite(finite)]
        nonfinite = everything - len(finite)
        minimum, maximum = _range(finite)
    if not len(finite):
        edges = np.arange(bins + 1) / bins
        nothing = np.zeros(bins, dtype=np.int64)
        return Histogram(nothing, edges, math.nan, math.nan, 0, 0.0, 0.0, nonfinite)

    low, high = _edges_around(minimum, maximum, bins)
    # Halves where the distance between two huge values is not a float64.
    huge = high - low == math.inf
    position = finite / 2 - low / 2 if huge else finite - low
    position /= (high / 2 - low / 2) if huge else (high - low)
    position *= bins
    # One bin too many takes the values that equal the upper edge; it is folded into the last one.
    counts = np.bincount(position.astype(np.intp), minlength=bins + 1)
    counts[bins - 1] += counts[bins]
    share = np.arange(bins + 1) / bins
    edges = low * (1 - share) + high * share if huge else low + share * (high - low)
    edges[-1] = high
    with np.errstate(over="ignore", invalid="ignore"):
        total, total_of_squares = float(finite.sum()), float(finite.dot(finite))
    return Histogram(counts[:bins], edges, minimum, maximum, len(finite), total, total_of_squares, nonfinite)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest value; NaN if there is a NaN or nothing at all."""
    if not len(values):
        return math.nan, math.nan
    return float(values.min()), float(values.max())


def _edges_around(minimum: float, maximum: float, bins: int) -> tuple[float, float]:
    """The outer edges: the range itself, or a wider one if float64 cannot tell the bins apart in it."""
    largest = max(abs(minimum), abs(maximum))
    if maximum / 2 - minimum / 2 >= 2 * bins * math.ulp(largest):
        return minimum, maximum
    middle = minimum / 2 + maximum / 2
    margin = max(largest / 2, 4 * bins * math.ulp(largest)) if largest else 0.5
    limit = float(np.finfo(np.float64).max)
    return max(middle - margin, -limit), min(middle + margin, limit)
