"""Confidence intervals of statistics that have no formula of their own, from resampled examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.intervals import CONFIDENCE, z_of

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]

RESAMPLES: Final = 2000
LARGEST_SAMPLE: Final = 4000
"""More examples than this are put into as many random blocks, and blocks are resampled: the variance of a sum of
independent examples is that of the sum of the blocks. It is estimated to 1 / sqrt(2 * 4000), about 1 %."""


@dataclass(frozen=True)
class Bootstrap:
    """What a statistic is in resampled data.

    Attributes:
        value: of the data themselves.
        replicates: shape (B,), of the resamples in which it is defined, sorted.
    """

    value: float
    replicates: Floats

    @property
    def is_blind(self) -> bool:
        """Whether the resamples cannot show any uncertainty: they all agree, as where no example is a mistake."""
        values = self.replicates
        return len(values) < 2 or bool(values[-1] - values[0] <= 1e-12 * max(abs(float(values[0])), 1e-300))

    @property
    def bias(self) -> float:
        """By how much the statistic is expected to be too large, because the sample is finite; NaN if unknown."""
        return float(self.replicates.mean() - self.value) if len(self.replicates) else float("nan")

    def percentiles(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The interval between quantiles of the replicates; (nan, nan) if there are none.

        It does not depend on how the statistic is scaled, and stays where the statistic can be.
        """
        z_of(confidence)
        if not len(self.replicates):
            return float("nan"), float("nan")
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.replicates, [tail, 1 - tail])
        return float(low), float(high)

    def reflected(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The basic interval, 2 * value minus the quantiles: for a biased statistic, whose bias it takes away.

        The bias of replicates against the value is what the bias of the value is against the truth, to first order;
        percentiles would be off by it twice.
        """
        low, high = self.percentiles(confidence)
        return 2 * self.value - high, 2 * self.value - low


def bootstrap(
    features: NDArray[np.floating],
    statistic: Statistic,
    *,
    strata: NDArray[np.integer] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bootstrap:
    """A statistic of sums over examples, with what it is if examples are drawn again with replacement.

    Many are of that kind: a ratio of counts, a correlation, R2. Each resample then costs one sum.

    Args:
        features: shape (N, F), one row per independent example.
        statistic: maps sums of rows, shape (B, F), to shape (B,); NaN where it is undefined. A resample has N rows.
        strata: shape (N,), numbers of groups whose sizes are not left to chance, classes for instance.
        resamples: how many.
        seed: of a generator of its own: no random state of the program is touched.

    Raises:
        ValueError: there are no examples.

    Source:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16 (strata: chapter 8).
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"features of shape {rows.shape} are no examples")
    draw = np.random.default_rng(seed)
    groups = np.zeros(len(rows), np.int64) if strata is None else np.asarray(strata)
    sums = np.zeros((resamples, rows.shape[1]))
    for group in np.unique(groups):
        sums += _resampled_sums(_blocks(rows[groups == group], draw), resamples, draw)
    replicates = statistic(sums)
    value = float(statistic(rows.sum(0, keepdims=True))[0])
    return Bootstrap(value, np.sort(replicates[np.isfinite(replicates)]))


def _blocks(rows: Floats, draw: np.random.Generator) -> Floats:
    """The rows, or sums of LARGEST_SAMPLE random blocks of them of nearly equal sizes."""
    if len(rows) <= LARGEST_SAMPLE:
        return rows
    sums = np.zeros((LARGEST_SAMPLE, rows.shape[1]))
    np.add.at(sums, draw.permutation(len(rows)) % LARGEST_SAMPLE, rows)
    return sums


def _resampled_sums(rows: Floats, resamples: int, draw: np.random.Generator) -> Floats:
    count = len(rows)
    sums = np.empty((resamples, rows.shape[1]))
    for begin in range(0, resamples, 200):  # bounds the memory: 200 * LARGEST_SAMPLE numbers
        part = min(200, resamples - begin)
        picked = draw.integers(count, size=(part, count)) + count * np.arange(part)[:, None]
        times = np.bincount(picked.ravel(), minlength=part * count).reshape(part, count)
        sums[begin : begin + part] = times @ rows
    return sums
