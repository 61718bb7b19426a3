"""Answering only where the model is confident: coverage, the error-coverage curve, the threshold for an accuracy.

The threshold is chosen on data of which the same promise is to hold, so its choice has to be paid for. Chosen as the
lowest one at which the observed accuracy is high enough, it would be too low about half the time. Here thresholds
are tested one after the other, from the most confident examples on, each at the risk that is at hand, until one
fails: whatever comes after the first one that is truly too low is tested only if that one is let through, so the risk
is taken once and not once per threshold ("fixed sequence testing"). Because the few most confident examples prove
little, and may hold a mistake, there are several places to begin, which share the risk; what one of them has not lost
is handed on ("fallback").

Why it holds: let t be the lowest threshold at which the true accuracy is high enough, and let examples just below t
be right no more often than is wanted, as they are where accuracy rises with confidence. Of the k most confident
examples, when more than those above t, no more are right than of k draws at the wanted accuracy, so a binomial test
lets them through with at most its risk; and the risks of all places to begin sum to 1 - confidence. Tests are exact
(Clopper-Pearson), because Wilson's interval falls short of its promise for shares near 1, which is where these are.
Tests in tests/metrics/test_coverage.py measure how often the promise is kept, on models that are not monotone too.

Source: Wiens & Dmitrienko, "The fallback procedure for evaluating a single family of hypotheses", 2005; Angelopoulos et
al., "Learn then test: calibrating predictive algorithms to achieve risk control", 2021; Geifman & El-Yaniv, "Selective
classification for deep neural networks", 2017, take a Bonferroni bound in its place.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MetricError
from diagnose.findings import json_safe
from diagnose.metrics._inputs import Floats, array, check_range, class_numbers, probabilities
from diagnose.metrics._plot import axes_in
from diagnose.metrics._result import Metric
from diagnose.stats.intervals import CONFIDENCE, binomial_cdf, wilson, wilson_ends

Bools: TypeAlias = NDArray[np.bool_]

_STEPS: Final = 100
"""Thresholds that are tried: one for each percent of coverage."""
_STARTS: Final = 8
_MISTAKES_PER_START: Final = 10
"""A place to begin has to have data enough: one for each ten mistakes that the wanted accuracy allows, at most 8."""


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
    ordered, good, last = _ordered(sure, right)
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
    is promised). How, and why: the head of this module. It needs examples: for 98 %, at least 149 answers without a
    mistake, more with one. The data must not have been used for training or for choosing the model.

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
    ordered, good, last = _ordered(sure, right)
    optimistic = _optimistic(ordered, good, last, accuracy)
    name = f"coverage at {100 * accuracy:g} % accuracy"
    answered = _promised(good, last, accuracy, 1 - confidence)
    if not answered:
        reason = _why_none(good, last, accuracy, confidence)
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


# ---------------------------------------------------------------------- the choice


def _ordered(sure: Floats, right: Bools) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Confidences falling, right ones among the first k + 1, and the last place of each group of equal confidences."""
    order = np.argsort(-sure, kind="stable")
    ordered = sure[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return ordered, np.cumsum(right[order]), last


def _promised(good: NDArray[np.int64], last: NDArray[np.int64], wanted: float, risk: float) -> int:
    """How many of the most confident examples can be answered; 0 for none."""
    tried, begins = _plan(len(good), wanted, risk)
    # Equal confidences are answered together.
    ends = last[np.searchsorted(last, tried - 1)] + 1
    at_hand, best = 0.0, 0
    for number, answered in zip(tried.tolist(), ends.tolist(), strict=True):
        at_hand += risk / len(begins) if number in begins else 0.0
        if at_hand and _chance_of_so_few_mistakes(answered, int(good[answered - 1]), wanted) <= at_hand:
            best = answered
        else:
            at_hand = 0.0
    return best


def _plan(count: int, wanted: float, risk: float) -> tuple[NDArray[np.int64], set[int]]:
    """Which numbers of answers are tested, and where a share of the risk is brought in.

    It depends on nothing in the data but how many there are.
    """
    starts = int(min(max(count * (1 - wanted) / _MISTAKES_PER_START, 1), _STARTS))
    least = fewest_answers(wanted, risk / starts)
    if least > count:
        return np.zeros(0, np.int64), set()
    tried = np.unique(np.append(np.arange(least, count, max(count // _STEPS, 1)), count))
    places = [least + (count - least) * part / starts for part in range(starts)]
    return tried, {int(tried[np.searchsorted(tried, place)]) for place in places}


def _chance_of_so_few_mistakes(answered: int, right: int, wanted: float) -> float:
    """The chance that so many or more answers are right if the accuracy is only the wanted one."""
    return float(binomial_cdf(answered, 1 - wanted, answered - right)[-1])


def fewest_answers(wanted: float, risk: float) -> int:
    """How many answers without a mistake prove an accuracy."""
    return math.ceil(math.log(risk) / math.log(wanted))


def _optimistic(
    ordered: Floats, good: NDArray[np.int64], last: NDArray[np.int64], wanted: float
) -> tuple[float, float] | None:
    enough = np.flatnonzero(good[last] >= wanted * (last + 1))
    if not len(enough):
        return None
    place = last[enough[-1]]
    return float(ordered[place]), float(place + 1) / len(ordered)


def _why_none(good: NDArray[np.int64], last: NDArray[np.int64], wanted: float, confidence: float) -> str:
    tried, _ = _plan(len(good), wanted, 1 - confidence)
    if not len(tried):
        least = fewest_answers(wanted, 1 - confidence)
        return f"that takes at least {least} answers without a mistake, and there are {len(good)} examples"
    first = int(last[np.searchsorted(last, tried[0] - 1)]) + 1
    wrong = first - int(good[first - 1])
    return (
        f"{wrong} of the {first} most confident answers are wrong, and no larger number that was tried has "
        "so few mistakes that it proves the accuracy"
    )


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
