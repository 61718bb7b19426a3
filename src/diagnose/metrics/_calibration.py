"""Whether probabilities are what they say: reliability, expected calibration error, Brier score, log loss."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from diagnose.errors import MetricError
from diagnose.findings import json_safe
from diagnose.metrics._inputs import Floats, Ints, array, check_range, class_numbers, probabilities
from diagnose.metrics._plot import axes_in
from diagnose.metrics._result import Metric
from diagnose.stats.bootstrap import bootstrap
from diagnose.stats.intervals import CONFIDENCE, mean_interval, wilson

Binning: TypeAlias = Literal["equal-mass", "equal-width"]

_DRAWS: Final = 1000
_MANY: Final = 50_000
"""From this many examples on, the share that comes true in a bin is taken to be normal."""
_SMALLEST: Final = 1e-15
"""A probability of 0 for what happened would be an infinite loss: it counts as this, as scikit-learn did."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Examples of about the same probability.

    Attributes:
        low, high: the smallest and the largest probability in it.
        n: how many examples.
        predicted: their mean probability.
        observed: the share of which it came true, with Wilson's interval.
    """

    low: float
    high: float
    n: int
    predicted: float
    observed: Metric


@dataclass(frozen=True)
class Calibration:
    """What `calibration` returns.

    Attributes:
        ece: the expected calibration error as it is usually computed; its interval is of the error in data without end.
        unbiased: the same less its estimated bias, at least 0.
        if_calibrated: what the error would be for these probabilities if they were right: its mean, because a bin of
            finite size is never hit exactly.
        ceiling: what it would then exceed with a chance of 1 - confidence only.
        brier: mean squared error of the probabilities.
        log_loss: mean negative log probability of what happened, in nats.
        bins: the reliability table.
        of: what the probabilities are of ("class 1", "the predicted class").
        n: how many examples.
    """

    ece: Metric
    unbiased: float
    if_calibrated: float
    ceiling: float
    brier: Metric
    log_loss: Metric
    bins: tuple[ReliabilityBin, ...]
    of: str
    n: int

    @property
    def is_off(self) -> bool:
        """Whether the probabilities are further from the truth than chance explains."""
        return self.ece.value > self.ceiling

    @property
    def overconfidence(self) -> float:
        """Mean probability less the share that came true: above 0 if the model is too sure of itself."""
        return sum(part.n * (part.predicted - part.observed.value) for part in self.bins) / self.n

    def plot(self, where: Any) -> None:
        """Draws the reliability diagram into matplotlib axes or a file.

        Raises:
            MetricError: matplotlib is missing, or the file cannot be written.
        """
        with axes_in(where, size=(4.5, 4.5)) as axes:
            predicted = [part.predicted for part in self.bins]
            observed = [part.observed.value for part in self.bins]
            below = [part.observed.value - part.observed.low for part in self.bins]
            above = [part.observed.high - part.observed.value for part in self.bins]
            axes.plot([0, 1], [0, 1], ":", color="0.5", label="calibrated")
            axes.errorbar(predicted, observed, (below, above), fmt="o-", markersize=4, capsize=2, label=f"{self.of}")
            axes.set(xlabel="probability", ylabel="share that came true", xlim=(0, 1.02), ylim=(0, 1.02))
            axes.legend()

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data: dict[str, Any] = json_safe({**asdict(self), "overconfidence": self.overconfidence})
        return data

    def __str__(self) -> str:
        off = self.overconfidence
        verdict = (
            f"more than chance explains: on average they are {abs(off):.4f} too {'high' if off > 0 else 'low'}"
            if self.is_off
            else "no more than chance explains"
        )
        lines = [
            str(self.ece),
            f"  {verdict} (calibrated, it would be {self.if_calibrated:.4f}, up to {self.ceiling:.4f})",
            str(self.brier),
            str(self.log_loss),
            f"probability of {self.of}   examples  predicted  came true",
        ]
        for part in self.bins:
            ends = f"[{part.observed.low:.3f}, {part.observed.high:.3f}]"
            # A mark where even the interval of the bin does not hold the mean probability.
            mark = "" if part.observed.low <= part.predicted <= part.observed.high else "  *"
            lines.append(
                f"  {part.low:.4f} to {part.high:.4f}  {part.n:12d}  {part.predicted:9.4f}  {part.observed.value:.4f} "
                f"{ends}{mark}"
            )
        return "\n".join(lines)


def calibration(
    scores: Any,
    labels: Any,
    *,
    bins: int = 15,
    binning: Binning = "equal-mass",
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Calibration:
    """Whether probabilities can be believed: reliability table, expected calibration error, Brier score, log loss.

    The expected calibration error (ECE) is the mean of |mean probability - share that came true| over bins. It is too
    large by what chance adds to each bin, the more so the more bins and the fewer examples: so it comes with what it
    would be for a calibrated model (labels are drawn from the probabilities themselves), and with an interval that is
    above 0 only if the error is more than that.

    Args:
        scores: probabilities of class 1, shape (N,), or of K classes, (N, K). Of more than two classes, the probability
            of the predicted one is looked at ("confidence calibration").
        labels: class numbers, shape (N,).
        bins: how many; fewer if there are fewer than ten examples for each.
        binning: bins of as many examples each, whose error is smaller, or of the same width, as in Guo et al.
        from_logits: scores are logits.
        confidence: of the intervals.
        seed: of the draws; no random state of the program is touched.

    Raises:
        MetricError: the arguments do not fit each other, hold NaN, or scores are no probabilities.

    Source:
        Guo et al., "On calibration of modern neural networks", 2017; Nixon et al., "Measuring calibration in deep
        learning", 2019 (bins of equal mass); Bröcker & Smith, "Increasing the reliability of reliability diagrams",
        2007 (labels drawn from the forecast); Roelofs et al., "Mitigating bias in calibration error estimation", 2022.
    """
    if binning not in get_args(Binning):
        raise MetricError(f"binning is {binning!r}, and has to be one of {', '.join(get_args(Binning))}.")
    if bins < 1:
        raise MetricError(f"bins is {bins}, and has to be at least 1.")
    chances, numbers = _checked(scores, labels, from_logits)
    claimed, came_true, of = _claims(chances, numbers)
    place = _places(claimed, bins, binning)
    count = len(claimed)
    gaps = np.zeros((count, int(place.max()) + 1))
    gaps[np.arange(count), place] = claimed - came_true
    found = bootstrap(gaps, lambda sums: np.abs(sums).sum(1) / count, seed=seed)
    draws = _if_calibrated(claimed, place, seed)
    ceiling = float(np.quantile(draws, confidence))
    _, high = found.reflected(confidence)
    ece = Metric(
        "expected calibration error",
        found.value,
        # By the triangle inequality, chance adds at most what it would show of a calibrated model.
        max(found.value - ceiling, 0.0),
        # Without bias the error may be below the usual value, which is kept inside.
        max(high, found.value),
        confidence,
        count,
        method=f"bootstrap, {int(place.max()) + 1} bins",
    )
    return Calibration(
        ece=ece,
        unbiased=max(found.value - found.bias, 0.0),
        if_calibrated=float(draws.mean()),
        ceiling=ceiling,
        brier=_brier(chances, numbers, confidence),
        log_loss=_log_loss(chances, numbers, confidence),
        bins=_table(claimed, came_true, place, confidence),
        of=of,
        n=count,
    )


def brier(scores: Any, labels: Any, *, from_logits: bool = False, confidence: float = CONFIDENCE) -> Metric:
    """The Brier score: the mean squared error of the probabilities, summed over classes; 0 is best.

    Of two classes it is that of class 1 alone, as usual, so from 0 to 1; of more classes from 0 to 2. In `details`,
    "skill" is 1 less its ratio to that of the class frequencies: 0 for a model that knows only these.

    Arguments and errors: as for `calibration`.

    Source:
        Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    return _brier(*_checked(scores, labels, from_logits), confidence)


def log_loss(scores: Any, labels: Any, *, from_logits: bool = False, confidence: float = CONFIDENCE) -> Metric:
    """The mean negative log probability of what happened, in nats (cross entropy).

    A probability below 1e-15 counts as 1e-15, and `note` says of how many. `details["uniform"]` is ln K.

    Arguments and errors: as for `calibration`.
    """
    return _log_loss(*_checked(scores, labels, from_logits), confidence)


# ---------------------------------------------------------------------- parts


def _checked(scores: Any, labels: Any, from_logits: bool) -> tuple[Floats, Ints]:
    """Probabilities of all classes, shape (N, K), and class numbers."""
    chances = probabilities(scores, from_logits=from_logits)
    numbers = class_numbers(array(labels, "labels"), "labels")
    if len(numbers) != len(chances):
        raise MetricError(f"There are {len(chances)} scores and {len(numbers)} labels.")
    if chances.ndim == 1:
        chances = np.stack([1 - chances, chances], 1)
    check_range(numbers, chances.shape[1])
    return chances, numbers


def _claims(chances: Floats, numbers: Ints) -> tuple[Floats, Floats, str]:
    if chances.shape[1] == 2:
        return chances[:, 1], (numbers == 1).astype(np.float64), "class 1"
    predicted = chances.argmax(1)
    return chances.max(1), (predicted == numbers).astype(np.float64), "the predicted class"


def _places(claimed: Floats, bins: int, binning: Binning) -> Ints:
    """The bin of each probability, numbered without gaps; equal probabilities are in one bin."""
    number = max(min(bins, len(claimed) // 10), 1)
    if binning == "equal-width":
        inner = np.linspace(0, 1, bins + 1)[1:-1]
    else:
        inner = np.unique(np.quantile(claimed, np.linspace(0, 1, number + 1)[1:-1]))
    _, place = np.unique(np.searchsorted(inner, claimed, side="left"), return_inverse=True)
    return place.astype(np.int64)


def _if_calibrated(claimed: Floats, place: Ints, seed: int) -> Floats:
    """The error in draws of labels that come true with the claimed probabilities, shape (draws,)."""
    draw = np.random.default_rng(seed)
    bins = int(place.max()) + 1
    if len(claimed) > _MANY:
        spread = np.sqrt(np.bincount(place, claimed * (1 - claimed), minlength=bins))
        draws: Floats = np.abs(draw.standard_normal((_DRAWS, bins)) * spread).sum(1) / len(claimed)
        return draws
    errors = np.empty(_DRAWS)
    expected = np.bincount(place, claimed, minlength=bins)
    for number in range(_DRAWS):
        came_true = draw.random(len(claimed)) < claimed
        errors[number] = np.abs(np.bincount(place, came_true, minlength=bins) - expected).sum() / len(claimed)
    return errors


def _table(claimed: Floats, came_true: Floats, place: Ints, confidence: float) -> tuple[ReliabilityBin, ...]:
    rows = []
    for number in range(int(place.max()) + 1):
        inside = place == number
        count = int(inside.sum())
        observed = wilson(float(came_true[inside].sum()), count, confidence=confidence)
        values = claimed[inside]
        metric = Metric.of("came true", observed, count, method="Wilson")
        rows.append(ReliabilityBin(float(values.min()), float(values.max()), count, float(values.mean()), metric))
    return tuple(rows)


def _brier(chances: Floats, numbers: Ints, confidence: float) -> Metric:
    truth = np.eye(chances.shape[1])[numbers]
    columns = slice(1, 2) if chances.shape[1] == 2 else slice(None)
    errors = ((chances - truth)[:, columns] ** 2).sum(1)
    constant = float(((truth.mean(0) - truth)[:, columns] ** 2).sum(1).mean())
    details = {"skill": 1 - float(errors.mean()) / constant} if constant > 0 else {}
    return _mean("Brier score", errors, confidence, 1.0 if chances.shape[1] == 2 else 2.0, details=details)


def _log_loss(chances: Floats, numbers: Ints, confidence: float) -> Metric:
    happened = chances[np.arange(len(numbers)), numbers]
    impossible = int((happened < _SMALLEST).sum())
    note = f"{impossible} examples had a probability below {_SMALLEST:g}, and count as that" if impossible else ""
    losses = -np.log(np.maximum(happened, _SMALLEST))
    details = {"uniform": math.log(chances.shape[1])}
    return _mean("log loss", losses, confidence, math.inf, note=note, details=details)


def _mean(name: str, values: Floats, confidence: float, most: float, **more: Any) -> Metric:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    ends = mean_interval(len(values), float(values.mean()), deviation, confidence=confidence)
    low, high = max(ends.low, 0.0), min(ends.high, most)
    return Metric(name, ends.value, low, high, confidence, len(values), method="Student", **more)
