"""What a noisy curve did: its level, its noise, whether it fell, whether it rose.

Training losses are noisy, their noise is autocorrelated (momentum, one epoch after the other) and now
and then a batch is an outlier. So levels are medians, errors of means come from batch means, and trends
are judged on the order of block levels instead of on a fitted line. Every function takes arrays of shape
(T,) that are finite; `finite_prefix` says how far a curve is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.float64] | NDArray[np.int64]

# The standard deviation of a normal distribution over its median absolute deviation.
_MAD_TO_SIGMA = 1.4826


def finite_prefix(values: Floats) -> int:
    """How many values, from the first on, are finite: the length of the part that can be judged."""
    bad = np.flatnonzero(~np.isfinite(values))
    return int(bad[0]) if len(bad) else len(values)


def noise(values: Floats) -> float:
    """Standard deviation of one value around the curve, from the differences of neighbours.

    A trend changes neighbours by little, so it does not count; an outlier counts as any other value.
    Noise that neighbours share (autocorrelation) is not seen: use `mean_and_error` for that.

    Returns:
        NaN for fewer than 3 values.

    Source: the mean square successive difference (von Neumann, 1941), with the median absolute deviation
    in place of the mean square.
    """
    if len(values) < 3:
        return math.nan
    differences = np.diff(values)
    spread = np.median(np.abs(differences - np.median(differences)))
    return float(_MAD_TO_SIGMA * spread / math.sqrt(2))


def mean_and_error(values: Floats) -> tuple[float, float]:
    """The mean, and its standard error if neighbours are correlated.

    The values are cut into about sqrt(T) batches; the scatter of the batch means is the error, because a
    batch is longer than the correlation. A remainder that fills no batch is left out of the error.

    Returns:
        (NaN, NaN) for no values; the error is inf for fewer than 4, where there is nothing to see it
        from.

    Source: the method of batch means (Conway, 1963), with the batch size of Flegal & Jones, "Batch means
    and spectral variance estimators in Markov chain Monte Carlo", 2010.
    """
    if not len(values):
        return math.nan, math.nan
    if len(values) < 4:
        return float(np.mean(values)), math.inf
    batches = math.isqrt(len(values))
    size = len(values) // batches
    means = values[len(values) - batches * size :].reshape(batches, size).mean(axis=1)
    return float(np.mean(values)), float(np.std(means, ddof=1) / math.sqrt(batches))


@dataclass(frozen=True)
class Fall:
    """How far a mean fell from one stretch of a curve to another; negative if it rose.

    Attributes:
        before, after: the means.
        error: standard error of their difference; inf if a stretch is too short to tell.
    """

    before: float
    after: float
    error: float

    @property
    def size(self) -> float:
        return self.before - self.after

    def at_most(self, sigmas: float = 2.0) -> float:
        """The largest fall that the noise does not rule out; with 2 sigmas, 97.5 % sure."""
        return self.size + sigmas * self.error


def fall(before: Floats, after: Floats) -> Fall:
    """Compares two stretches of a curve; NaN means and error if one is empty."""
    mean_before, error_before = mean_and_error(before)
    mean_after, error_after = mean_and_error(after)
    return Fall(mean_before, mean_after, math.hypot(error_before, error_after))


def block_levels(values: Floats, blocks: int, shortest: int = 3) -> Floats:
    """Medians of equally long consecutive blocks: shape (at most `blocks`,), in order.

    There are fewer blocks if they would hold fewer than `shortest` values each: a median of less than 3 is no
    protection against an outlier. Empty for fewer than `shortest` values.
    """
    blocks = min(blocks, len(values) // shortest)
    if blocks < 1:
        return np.zeros(0)
    return np.array([np.median(block) for block in np.array_split(values, blocks)])


def running_median(values: Floats, width: int = 5) -> Floats:
    """Each value replaced by the median of the `width` (odd) values around it: shape (T,).

    At the ends the first and the last value are repeated. Outliers, even (width - 1) / 2 in a row, leave no trace; a
    step stays as sharp and where it is.
    """
    if not len(values):
        return values
    padded = np.pad(values, width // 2, mode="edge")
    result: Floats = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return result


def trend(values: Floats) -> float:
    """How surely the values rise (positive) or fall (negative), in standard deviations of pure chance.

    Only the order of the values counts, so an outlier or a rescaled curve changes nothing. Give it block
    levels: it takes neighbours for independent.

    Returns:
        0 for fewer than 3 values, or if all are equal.

    Source: Mann, "Nonparametric tests against trend", 1945, with the correction for ties.
    """
    n = len(values)
    if n < 3:
        return 0.0
    later_minus_earlier = np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)]
    score = float(later_minus_earlier.sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance <= 0 or score == 0:
        return 0.0
    return (score - math.copysign(1.0, score)) / math.sqrt(variance)


def theil_sen(x: Numbers, y: Floats) -> float:
    """Slope of y over x: the median of the slopes between all pairs of points.

    Up to 29 % of the points may be anything without changing it much.

    Args:
        x: shape (T,), finite; pairs with equal x are left out.
        y: shape (T,), finite.

    Returns:
        NaN if no two points differ in x.

    Source: Theil, 1950; Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
    """
    first, second = np.triu_indices(len(x), 1)
    run = np.asarray(x, dtype=np.float64)[second] - np.asarray(x, dtype=np.float64)[first]
    rise = y[second] - y[first]
    usable = run != 0
    return float(np.median(rise[usable] / run[usable])) if usable.any() else math.nan


def trailing_run(flags: NDArray[np.bool_]) -> int:
    """Index at which the last unbroken run of True begins that lasts to the end; len(flags) if there is none."""
    broken = np.flatnonzero(~flags)
    return int(broken[-1]) + 1 if len(broken) else 0


def longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and end (exclusive) of the longest run of True, the first of equals; (0, 0) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    if not len(edges):
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
