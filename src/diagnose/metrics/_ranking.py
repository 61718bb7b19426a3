"""Metrics of scores that put examples in an order: precision-recall curve, average precision, ROC AUC."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.errors import MetricError
from diagnose.metrics._inputs import (
    Floats,
    Ints,
    array,
    binary_pair,
    check_range,
    class_names,
    class_numbers,
    probabilities,
)
from diagnose.metrics._packages import needed
from diagnose.metrics._plot import axes_in
from diagnose.metrics._result import Metric
from diagnose.stats.intervals import CONFIDENCE, mann_whitney, wilson


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and recall at each threshold, and the average precision.

    Attributes:
        thresholds: shape (T,), rising: scores from which on an example is predicted positive.
        precision, recall: shape (T,), at these.
        average_precision: the area under the steps of the curve.
        base_rate: the share of positives, which is the precision of scores that know nothing.
        n: how many examples.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats
    average_precision: Metric
    base_rate: float
    n: int
    confidence: float = CONFIDENCE

    def at_recall(self, recall: float) -> tuple[float, float]:
        """The highest threshold that finds at least this share of the positives, and the precision there.

        Both are of these data: a threshold that is chosen on them looks better here than it will be.
        """
        return self._at(np.flatnonzero(self.recall >= recall), self.precision, "recall", recall)

    def at_precision(self, precision: float) -> tuple[float, float]:
        """The lowest threshold at which at least this share of the detections is right, and the recall there.

        For a promise that holds for data to come, use `coverage_at_accuracy`: this is of these data.
        """
        places = np.flatnonzero(self.precision >= precision)[::-1]
        return self._at(places, self.recall, "precision", precision)

    def _at(self, places: Ints, other: Floats, name: str, wanted: float) -> tuple[float, float]:
        if not 0 <= wanted <= 1:
            raise MetricError(f"{name} is {wanted}, and has to be in [0, 1].")
        if not len(places):
            return math.nan, math.nan
        return float(self.thresholds[places[-1]]), float(other[places[-1]])

    def plot(self, where: Any) -> None:
        """Draws the curve, with the precision of a guess, into matplotlib axes or a file.

        Raises:
            MetricError: the curve is not defined, matplotlib is missing, or the file cannot be written.
        """
        if self.average_precision.reason:
            raise MetricError(f"There is nothing to plot: {self.average_precision.reason}.")
        with axes_in(where) as axes:
            ends = np.append(self.recall, 0.0), np.append(self.precision, 1.0)
            axes.step(*ends, where="post", label=f"average precision {self.average_precision.value:.3f}")
            axes.axhline(self.base_rate, linestyle=":", color="0.5", label=f"a guess, {self.base_rate:.3g}")
            axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.03))
            axes.legend()

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, at up to 1000 thresholds."""
        picked = np.unique(np.linspace(0, max(len(self.thresholds) - 1, 0), 1000).astype(int))[: len(self.thresholds)]
        return {
            "average_precision": self.average_precision.to_json(),
            "base_rate": self.base_rate,
            "n": self.n,
            "thresholds": self.thresholds[picked].tolist(),
            "precision": self.precision[picked].tolist(),
            "recall": self.recall[picked].tolist(),
        }

    def __str__(self) -> str:
        lines = [str(self.average_precision)]
        if self.average_precision.reason is None:
            lines.append(f"  a guess has {self.base_rate:.4g}")
            for wanted in (0.5, 0.9, 0.99):
                threshold, precision = self.at_recall(wanted)
                lines.append(f"  recall {wanted:.0%}: precision {precision:.3f}, at a threshold of {threshold:.4g}")
        return "\n".join(lines)


def precision_recall_curve(
    scores: Any,
    labels: Any,
    *,
    positive: int | None = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> PrecisionRecallCurve:
    """The precision-recall curve of one class, from scikit-learn, with its average precision.

    Args:
        scores: shape (N,), any numbers that are higher for what is more likely positive, logits included; or
            probabilities of K classes, (N, K), of which the column of the positive class is taken.
        labels: shape (N,), class numbers.
        positive: the class that counts as positive, by default 1; has to be given for more than two.
        from_logits: scores of shape (N, K) are logits.
        confidence: of the intervals.

    Returns:
        Empty, with an average precision of nan and a reason, if there are no positives.

    Raises:
        MetricError: the arguments do not fit each other or hold NaN, or scikit-learn is missing.
    """
    ranks, is_positive = _one_class(scores, labels, positive, from_logits)
    metric = _average_precision(ranks, is_positive, "average precision", confidence)
    share = float(is_positive.mean())
    if metric.reason is not None:
        none = np.zeros(0)
        return PrecisionRecallCurve(none, none, none, metric, share, len(ranks), confidence)
    curves = needed("sklearn.metrics", "The precision-recall curve")
    right, found, thresholds = curves.precision_recall_curve(is_positive, ranks)
    return PrecisionRecallCurve(thresholds, right[:-1], found[:-1], metric, share, len(ranks), confidence)


def average_precision(
    scores: Any,
    labels: Any,
    *,
    positive: int | None = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
    names: Sequence[str] | None = None,
) -> Metric:
    """The area under the precision-recall curve: the mean precision at the places of the positives.

    For rare positives, where ROC AUC is high for detectors that are no use.

    Args:
        scores: as for `precision_recall_curve`; of several classes or labels, (N, K), and no `positive`, the macro mean
            is returned, with the value of each in `details`.
        labels: shape (N,), class numbers; or (N, K), 0 or 1.
        names: of the classes, for `details`.

    Interval: Wilson's for the number of positives. It is somewhat too long where there are as many negatives. Of 19
        simulated situations it held in 95 to 100 %, where bootstrap intervals held in 84 to 95 %. Of a macro mean, the
        mean of the ends, as though classes went together entirely: at least as long as it has to be.

    Raises:
        MetricError: as for `precision_recall_curve`.

    Source:
        Boyd, Eng & Page, "Area under the precision-recall curve: point estimates and confidence intervals", 2013.
    """
    return _of_scores(scores, labels, positive, from_logits, confidence, names, "average precision", _average_precision)


def roc_auc(
    scores: Any,
    labels: Any,
    *,
    positive: int | None = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
    names: Sequence[str] | None = None,
) -> Metric:
    """The chance that a positive has a higher score than a negative: the area under the ROC curve.

    Arguments and errors: as for `average_precision`. Several classes are each compared with all others.

    Interval: `stats.intervals.mann_whitney`; of a macro mean as for `average_precision`.
    """
    return _of_scores(scores, labels, positive, from_logits, confidence, names, "ROC AUC", _roc_auc)


# ---------------------------------------------------------------------- one class, and all of them


def _average_precision(scores: Floats, is_positive: Ints, name: str, confidence: float) -> Metric:
    positives = int(is_positive.sum())
    if not positives:
        return Metric.undefined(name, f"no example is positive (of {len(scores)})", 0, unit="positives")
    value = float(needed("sklearn.metrics", name).average_precision_score(is_positive, scores))
    share = wilson(min(value, 1.0) * positives, positives, confidence=confidence)
    details = {"base_rate": positives / len(scores), "negatives": len(scores) - positives}
    return Metric.of(name, share, positives, unit="positives", method="Wilson over positives", details=details)


def _roc_auc(scores: Floats, is_positive: Ints, name: str, confidence: float) -> Metric:
    positives = int(is_positive.sum())
    negatives = len(scores) - positives
    if not positives or not negatives:
        lack = "positive" if not positives else "negative"
        return Metric.undefined(name, f"no example is {lack} (of {len(scores)})", len(scores))
    value = float(needed("sklearn.metrics", name).roc_auc_score(is_positive, scores))
    ends = mann_whitney(scores[is_positive == 1], scores[is_positive == 0], confidence=confidence)
    details = {"positives": positives, "negatives": negatives}
    low, high = min(ends.low, value), max(ends.high, value)  # both areas are the same but for rounding
    return Metric(name, value, low, high, confidence, len(scores), method="Newcombe", details=details)


def _one_class(scores: Any, labels: Any, positive: int | None, from_logits: bool) -> tuple[Floats, Ints]:
    ranks = array(scores, "scores")
    if ranks.ndim == 2 and ranks.shape[1] > 1:
        chances = probabilities(ranks, from_logits=from_logits)
        count = chances.shape[1]
        right = class_numbers(array(labels, "labels"), "labels")
        check_range(right, count)
        if positive is None and count > 2:
            raise MetricError(f"scores are of {count} classes: say which one is positive, as positive=...")
        number = 1 if positive is None else positive
        if not 0 <= number < count:
            raise MetricError(f"positive is {positive}, and classes go from 0 to {count - 1}.")
        return binary_pair(chances[:, number], right, positive=number)
    return binary_pair(ranks, labels, positive=positive)


def _of_scores(
    scores: Any,
    labels: Any,
    positive: int | None,
    from_logits: bool,
    confidence: float,
    names: Sequence[str] | None,
    name: str,
    of_one: Callable[[Floats, Ints, str, float], Metric],
) -> Metric:
    ranks, right = array(scores, "scores"), array(labels, "labels")
    is_multilabel = right.ndim == 2 and right.shape[1] > 1
    if not is_multilabel and (positive is not None or ranks.ndim == 1 or ranks.shape[1] <= 2):
        return of_one(*_one_class(ranks, right, positive, from_logits), name, confidence)
    if is_multilabel:
        if right.shape != ranks.shape:
            raise MetricError(f"scores of shape {ranks.shape} do not fit labels of shape {right.shape}.")
        pairs = [binary_pair(ranks[:, column], right[:, column]) for column in range(ranks.shape[1])]
    else:
        count = ranks.shape[1]
        pairs = [_one_class(ranks, right, number, from_logits) for number in range(count)]
    titles = class_names(names, len(pairs))
    parts = [of_one(*pair, title, confidence) for title, pair in zip(titles, pairs, strict=True)]
    return _macro(name, parts, len(ranks), confidence)


def _macro(name: str, parts: Sequence[Metric], n: int, confidence: float) -> Metric:
    used = [part for part in parts if part.reason is None]
    if not used:
        return Metric.undefined(f"macro {name}", "it is for no class: each lacks positives or negatives", n)
    left = [part.name for part in parts if part.reason is not None]
    value, low, high = (float(np.mean([getattr(part, end) for part in used])) for end in ("value", "low", "high"))
    return Metric(
        f"macro {name}",
        value,
        low,
        high,
        confidence,
        n,
        method=f"mean of {used[0].method} intervals",
        note=f"left out, as it is not defined: {', '.join(left[:8])}" if left else "",
        details={part.name: part.value for part in parts},
    )
