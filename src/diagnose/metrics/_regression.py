"""Errors of predicted numbers: mean and median, squared and absolute, relative to what a constant would reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.errors import MetricError
from diagnose.metrics._inputs import Floats, array
from diagnose.metrics._result import Metric
from diagnose.stats.bootstrap import bootstrap
from diagnose.stats.intervals import CONFIDENCE, mean_interval, order_statistics


@dataclass(frozen=True)
class RegressionErrors:
    """What `regression_errors` returns; in the units of the targets where nothing else is said.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error; a few large errors make most of it.
        bias: mean of prediction less target: above 0 if predictions are too high.
        r2: share of the variance of the targets that is explained, at most 1; 0 for the mean of the targets.
        quantiles: of the absolute error, by share: half of the errors are at most `quantiles[0.5]`.
        relative: the sum of the absolute errors over the sum of |target|.
        of_constant: the mean absolute error over that of the median of the targets: below 1 if better than it.
        largest: row numbers of the largest absolute errors, largest first.
        n: how many predictions.
    """

    mae: Metric
    rmse: Metric
    bias: Metric
    r2: Metric
    quantiles: dict[float, Metric]
    relative: Metric
    of_constant: Metric
    largest: tuple[int, ...]
    n: int

    @property
    def metrics(self) -> Iterator[Metric]:
        """All of them, in order."""
        yield from (self.mae, self.rmse, self.bias, self.r2, *self.quantiles.values(), self.relative, self.of_constant)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        names = ("mae", "rmse", "bias", "r2", "relative", "of_constant")
        return {
            "n": self.n,
            **{name: getattr(self, name).to_json() for name in names},
            "quantiles": {str(share): metric.to_json() for share, metric in self.quantiles.items()},
            "largest": list(self.largest),
        }

    def __str__(self) -> str:
        lines = [str(metric) for metric in self.metrics]
        lines.append(f"largest errors in rows {', '.join(map(str, self.largest))}")
        return "\n".join(lines)


def regression_errors(
    predictions: Any,
    targets: Any,
    *,
    quantiles: Sequence[float] = (0.5, 0.9, 0.99),
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> RegressionErrors:
    """Errors of predicted numbers, each with its interval.

    Intervals: Student's of means; of the root mean squared error the root of the one of the mean square; of quantiles,
    order statistics, whatever the distribution; of ratios, percentiles of resampled examples. None of them sees
    errors that are so rare that none was drawn.

    Args:
        predictions, targets: shape (N,), or (N, D) of D numbers each: an example's errors are then averaged over its
            numbers (of squares for `rmse` and `r2`), and quantiles are of these means.
        quantiles: which ones of the absolute error, in (0, 1).
        confidence: of the intervals.
        seed: of the resampling; no random state of the program is touched.

    Raises:
        MetricError: shapes differ, there are no examples, they hold NaN, or a quantile is not in (0, 1).
    """
    wrong = [share for share in quantiles if not 0 < share < 1]
    if wrong:
        raise MetricError(f"quantiles hold {wrong[0]}, and have to be in (0, 1).")
    given, right = _pairs(predictions, targets)
    residuals = given - right
    absolute, squared = np.abs(residuals).mean(1), (residuals**2).mean(1)
    return RegressionErrors(
        mae=_mean("mean absolute error", absolute, confidence, least=0.0),
        rmse=_root(_mean("root mean squared error", squared, confidence, least=0.0)),
        bias=_mean("bias", residuals.mean(1), confidence),
        r2=_r2(right, squared, confidence, seed),
        quantiles={share: _quantile(np.sort(absolute), share, confidence) for share in quantiles},
        relative=_ratio(
            "error relative to the size of the targets",
            absolute,
            np.abs(right).mean(1),
            "all targets are 0",
            confidence,
            seed,
        ),
        of_constant=_ratio(
            "error relative to that of the median",
            absolute,
            np.abs(right - np.median(right, axis=0)).mean(1),
            "all targets are alike",
            confidence,
            seed,
        ),
        largest=tuple(int(row) for row in np.argsort(-absolute, kind="stable")[:5]),
        n=len(right),
    )


def _pairs(predictions: Any, targets: Any) -> tuple[Floats, Floats]:
    """Both with shape (N, D)."""
    given, right = (array(v, n).astype(np.float64) for v, n in ((predictions, "predictions"), (targets, "targets")))
    # (N, 1) against (N,) would be broadcast to (N, N): told apart here, and not an error.
    flat = [part[:, 0] if part.ndim == 2 and part.shape[1] == 1 else part for part in (given, right)]
    if flat[0].shape != flat[1].shape or flat[0].ndim not in (1, 2):
        raise MetricError(
            f"predictions of shape {given.shape} do not fit targets of shape {right.shape}: both (N,) or (N, D)."
        )
    return flat[0].reshape(len(given), -1), flat[1].reshape(len(right), -1)


def _mean(name: str, values: Floats, confidence: float, least: float = -math.inf) -> Metric:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    ends = mean_interval(len(values), float(values.mean()), deviation, confidence=confidence)
    return Metric(name, ends.value, max(ends.low, least), ends.high, confidence, len(values), method="Student")


def _root(square: Metric) -> Metric:
    roots = (math.sqrt(square.value), math.sqrt(square.low), math.sqrt(square.high))
    return Metric(square.name, *roots, square.confidence, square.n, method=square.method)


def _r2(right: Floats, squared: Floats, confidence: float, seed: int) -> Metric:
    count, width = right.shape
    centred = right - right.mean(0)
    if not (centred**2).sum() > 0:
        return Metric.undefined("R2", "all targets are alike, so there is no variance to explain", count)
    features = np.concatenate([squared[:, None] * width, centred, (centred**2).sum(1)[:, None]], 1)

    def statistic(sums: Floats) -> Floats:
        variance = sums[:, -1] - (sums[:, 1:-1] ** 2).sum(1) / count
        explained: Floats = 1 - np.divide(sums[:, 0], variance, out=np.full(len(sums), np.nan), where=variance > 0)
        return explained

    return _resampled("R2", features, statistic, confidence, seed)


def _ratio(name: str, above: Floats, below: Floats, lack: str, confidence: float, seed: int) -> Metric:
    if not below.sum() > 0:
        return Metric.undefined(name, lack, len(above))
    return _resampled(name, np.stack([above, below], 1), _quotient, confidence, seed)


def _quotient(sums: Floats) -> Floats:
    ratio: Floats = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
    return ratio


def _resampled(
    name: str, features: Floats, statistic: Callable[[Floats], Floats], confidence: float, seed: int
) -> Metric:
    found = bootstrap(features, statistic, seed=seed)
    low, high = found.percentiles(confidence)
    return Metric(name, found.value, low, high, confidence, len(features), method="bootstrap")


def _quantile(ordered: Floats, share: float, confidence: float) -> Metric:
    low, high = order_statistics(len(ordered), share, confidence=confidence)
    value = float(np.quantile(ordered, share))
    return Metric(
        f"{100 * share:g} % quantile of the absolute error",
        value,
        min(float(ordered[low]), value) if low >= 0 else 0.0,
        max(float(ordered[high]), value) if high < len(ordered) else math.inf,
        confidence,
        len(ordered),
        method="order statistics",
        note="too few examples to bound it from above" if high >= len(ordered) else "",
    )
