"""Answering only where the model is confident: coverage, the error-coverage curve, the threshold for an accuracy."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MetricError
from diagnose.findings import json_safe
from diagnose.metrics._inputs import Floats, array, check_range, class_numbers, probabilities
from diagnose.metrics._plot import axes_in
from diagnose.metrics._promise import optimistic_choice, ordered_by_confidence, promised, why_none
from diagnose.metrics._result import Metric
from diagnose.stats.intervals import CONFIDENCE, wilson, wilson_ends

Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Coverage:
    """How much is answered at a threshold, and how well.

    Attributes:
        coverage: the share of examples that are answered; 0 where no threshold can be promised.
        accuracy: of the answers; nan where nothing is answered. It has an interval if the threshold was given.
        threshold: answer if the confidence is at least this; inf where nothing is to be answered.
        wanted: the accuracy that was asked for; None if the threshold was given.
        confidence: that the accuracy at `threshold` really is at least `wanted`.
        optimistic: (threshold, coverage) at which these very data reach `wanted`, which promises nothing; None if none.
        reason: why no threshold can be promised; None if one can.
    """

    coverage: Metric
    accuracy: Metric
    threshold: float
    wanted: float | None = None
    confidence: float = CONFIDENCE
    optimistic: tuple[float, float] | None = None
    reason: str | None = None

    @property
    def value(self) -> float:
        """The coverage."""
        return self.coverage.value

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data: dict[str, Any] = json_safe(asdict(self))
        return data

    def __str__(self) -> str:
        if self.wanted is None:
            return f"{self.coverage}\n  {self.accuracy}"
        lines = []
        if self.reason is not None:
            lines.append(f"coverage at {100 * self.wanted:g} % accuracy: none that can be promised: {self.reason}")
        else:
            lines += [
                f"{self.coverage}",
                f"  answer where the confidence is at least {self.threshold:.6g}",
                f"  {self.accuracy}",
                f"  for new data at least {self.wanted:g}, with {100 * self.confidence:g} % confidence, "
                "the choice of the threshold included",
            ]
        if self.optimistic is not None and self.optimistic[1] > self.coverage.value:
            threshold, share = self.optimistic
            lines.append(
                f"  (these data alone reach it up to a coverage of {share:.4g}, at {threshold:.6g}: no promise)"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class CoverageCurve:
    """The error rate of what is answered, at each coverage.

    Attributes:
        thresholds: shape (T,), falling.
        coverage, error: shape (T,): the share answered, rising, and the share of the answers that is wrong.
        low, high: shape (T,), ends of Wilson's interval of `error`, each for itself.
        area: the mean error over all coverages; `best_area`, what an order that knew the mistakes would reach.
        n: how many examples.
    """

    thresholds: Floats
    coverage: Floats
    error: Floats
    low: Floats
    high: Floats
    area: float
    best_area: float
    n: int

    def at(self, coverage: float) -> tuple[float, float]:
        """The threshold that answers at least this share, and the error rate there."""
        if not 0 < coverage <= 1:
            raise MetricError(f"coverage is {coverage}, and has to be in (0, 1].")
        place = int(np.searchsorted(self.coverage, coverage - 1e-12))
        return float(self.thresholds[place]), float(self.error[place])

    def plot(self, where: Any) -> None:
        """Draws error against coverage, with its interval, into matplotlib axes or a file.

        Raises:
            MetricError: matplotlib is missing, or the file cannot be written.
        """
        with axes_in(where) as axes:
            axes.fill_between(self.coverage, self.low, self.high, alpha=0.2, linewidth=0)
            axes.plot(self.coverage, self.error)
            axes.set(xlabel="coverage", ylabel="error rate of the answers", xlim=(0, 1))
            # The ends of the first few answers would fill the picture.
            shown = self.high[self.coverage >= 0.1]
            axes.set_ylim(0, 1.05 * float(shown.max() if len(shown) else 1.0))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, at up to 1000 thresholds."""
        picked = np.unique(np.linspace(0, len(self.coverage) - 1, 1000).astype(int))
        names = ("thresholds", "coverage", "error", "low", "high")
        return {
            "n": self.n,
            "area": self.area,
            "best_area": self.best_area,
            **{name: getattr(self, name)[picked].tolist() for name in names},
        }

    def __str__(self) -> str:
        lines = [f"error by coverage (n = {self.n}), mean {self.area:.4g}, at best {self.best_area:.4g}"]
        for share in (0.5, 0.8, 0.9, 0.95, 1.0):
            threshold, error = self.at(share)
            place = int(np.searchsorted(self.coverage, share - 1e-12))
            ends = f"[{self.low[place]:.4f}, {self.high[place]:.4f}]"
            lines.append(f"  coverage {self.coverage[place]:7.2%}: error {error:.4f} {ends}, threshold {threshold:.6g}")
        return "\n".join(lines)


def coverage(
    scores: Any,
    labels: Any = None,
    *,
    threshold: float,
    correct: Any = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Coverage:
    """The share of examples that are answered at a threshold, and the accuracy of the answers.

    Args:
        scores: probabilities of the classes, (N, K), or of class 1, (N,): the confidence is that of the predicted
            class. With `correct`: the confidence itself, (N,), any numbers.
        labels: class numbers, shape (N,).
        threshold: answer if the confidence is at least this. It has to be chosen on other data.
        correct: whether each answer is right, (N,), in place of labels: where answers are more than classes.
        from_logits: scores are logits, and the confidence is the probability they stand for.

    Raises:
        MetricError: the arguments do not fit each other, hold NaN, or scores are no probabilities.
    """
    sure, right = confidences(scores, labels, correct, from_logits)
    if math.isnan(threshold):
        raise MetricError("threshold is nan.")
    return _at(sure, right, threshold, confidence, "coverage")


def coverage_curve(
    scores: Any,
    labels: Any = None,
    *,
    correct: Any = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> CoverageCurve:
    """The error rate of the answers at each coverage: what refusing to answer buys.

    Arguments and errors: as for `coverage`.

    Source:
        El-Yaniv & Wiener, "On the foundations of noise-free selective classification", 2010 (risk-coverage curve).
    """
    sure, right = confidences(scores, labels, correct, from_logits)
    ordered, good, last = ordered_by_confidence(sure, right)
    answered = last + 1
    wrong = (answered - good[last]).astype(np.float64)
    low, high = wilson_ends(wrong, answered.astype(np.float64), confidence=confidence)
    number = np.arange(1, len(sure) + 1)
    mistakes = len(sure) - int(good[-1])
    # Within a tie all orders are alike, so each place has the mean of its group.
    error = wrong / answered
    sizes = np.diff(answered, prepend=0)
    best = np.maximum(number - (len(sure) - mistakes), 0) / number
    return CoverageCurve(
        thresholds=ordered[last],
        coverage=answered / len(sure),
        error=error,
        low=low,
        high=high,
        area=float((error * sizes).sum() / len(sure)),
        best_area=float(best.mean()),
        n=len(sure),
    )


def coverage_at_accuracy(
    scores: Any,
    labels: Any = None,
    *,
    accuracy: float = 0.98,
    correct: Any = None,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Coverage:
    """The largest coverage at which the wanted accuracy can be promised, and the threshold for it.

    The promise includes the choice of the threshold: if this is done for many models, in at least a share `confidence`
    of them the answers to new examples of the same kind, from `threshold` on, have the wanted accuracy (or no threshold
    is promised). How, and why: the head of metrics/_promise.py. It needs examples: for 98 %, at least 149 answers
    without a mistake, more with one. The data must not have been used for training or for choosing the model.

    Args:
        scores, labels, correct, from_logits: as for `coverage`.
        accuracy: the wanted one, in (0, 1).
        confidence: of the promise.

    Returns:
        A coverage of 0 and a threshold of inf, with a reason, if there is none that can be promised.

    Raises:
        MetricError: as for `coverage`.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", sections 11.1 and 11.6: coverage at the accuracy of people.
    """
    if not 0 < accuracy < 1:
        raise MetricError(f"accuracy is {accuracy}, and has to be in (0, 1): no data can promise more.")
    if not 0 < confidence < 1:
        raise MetricError(f"confidence is {confidence}, and has to be in (0, 1).")
    sure, right = confidences(scores, labels, correct, from_logits)
    ordered, good, last = ordered_by_confidence(sure, right)
    optimistic = optimistic_choice(ordered, good, last, accuracy)
    name = f"coverage at {100 * accuracy:g} % accuracy"
    answered = promised(good, last, accuracy, 1 - confidence)
    if not answered:
        reason = why_none(good, last, accuracy, confidence)
        none = wilson(0, len(sure), confidence=confidence)
        return Coverage(
            coverage=Metric.of(name, none, len(sure), method="Wilson"),
            accuracy=Metric.undefined("accuracy of the answers", "nothing is answered", 0, unit="answers"),
            threshold=math.inf,
            wanted=accuracy,
            confidence=confidence,
            optimistic=optimistic,
            reason=reason,
        )
    # Between the last answered and the next, so that rounding changes nothing.
    below = ordered[min(answered, len(ordered) - 1)]
    threshold = float(ordered[answered - 1] + below) / 2
    found = _at(sure, right, threshold, confidence, name)
    # Wilson's interval of the accuracy would be of a threshold that was fixed before.
    right_share = replace(found.accuracy, low=math.nan, high=math.nan, method="")
    return Coverage(found.coverage, right_share, threshold, accuracy, confidence, optimistic)


def confidences(scores: Any, labels: Any, correct: Any, from_logits: bool) -> tuple[Floats, Bools]:
    """How sure each answer is, shape (N,), and whether it is right.

    Raises:
        MetricError: as for `coverage`.
    """
    if (labels is None) == (correct is None):
        raise MetricError("Give labels, or correct: whether each answer is right. One of them, not both.")
    if correct is not None:
        sure, right = array(scores, "scores").astype(np.float64), array(correct, "correct")
        if sure.ndim != 1 or right.shape != sure.shape:
            raise MetricError(
                f"with correct, scores are one confidence for each answer: both have shape (N,), not {sure.shape} "
                f"and {right.shape}."
            )
        if bool(((right != 0) & (right != 1)).any()):
            raise MetricError("correct says of each answer whether it is right: True or False, 1 or 0.")
        return sure, right.astype(bool)
    chances = probabilities(scores, from_logits=from_logits)
    numbers = class_numbers(array(labels, "labels"), "labels")
    if len(numbers) != len(chances):
        raise MetricError(f"There are {len(chances)} scores and {len(numbers)} labels.")
    check_range(numbers, chances.shape[1] if chances.ndim == 2 else 2)
    if chances.ndim == 1:
        return np.maximum(chances, 1 - chances), (chances >= 0.5) == (numbers == 1)
    return chances.max(1), chances.argmax(1) == numbers


def _at(sure: Floats, right: Bools, threshold: float, confidence: float, name: str) -> Coverage:
    answered = sure >= threshold
    number, count = int(answered.sum()), len(sure)
    share = Metric.of(name, wilson(number, count, confidence=confidence), count, method="Wilson")
    title = "accuracy of the answers"
    if not number:
        none = Metric.undefined(title, f"no confidence reaches {threshold:g}", 0, unit="answers")
        return Coverage(share, none, threshold, confidence=confidence)
    good = wilson(int(right[answered].sum()), number, confidence=confidence)
    return Coverage(
        share, Metric.of(title, good, number, unit="answers", method="Wilson"), threshold, confidence=confidence
    )
