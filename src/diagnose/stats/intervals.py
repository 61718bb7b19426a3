"""Confidence intervals of shares: of one, and of the difference of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        value: the estimate itself.
        low, high: the ends; low <= value <= high.
        confidence: how often an interval made in this way holds the true number.
    """

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def wilson(successes: float, trials: float, *, confidence: float = CONFIDENCE) -> Interval:
    """A share with Wilson's score interval: right for few trials, and for shares of 0 and 1.

    Args:
        successes: how often it happened, between 0 and `trials`; need not be whole (weighted examples, say).
        trials: how often it could have.
        confidence: in (0, 1).

    Raises:
        ValueError: `trials` is not above 0, or `successes` not within 0 and `trials`.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not trials > 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share")
    z = z_of(confidence)
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # In exact arithmetic the interval holds the share, and touches 0 or 1 where the share does.
    low = 0.0 if successes == 0 else min(max(middle - half, 0.0), share)
    high = 1.0 if successes == trials else max(min(middle + half, 1.0), share)
    return Interval(share, low, high, confidence)


def newcombe(
    successes: float, trials: float, other_successes: float, other_trials: float, *, confidence: float = CONFIDENCE
) -> Interval:
    """The difference of two shares of independent samples, the first minus the other, with Newcombe's interval.

    Raises:
        ValueError: as `wilson`.

    Source:
        Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    first = wilson(successes, trials, confidence=confidence)
    other = wilson(other_successes, other_trials, confidence=confidence)
    difference = first.value - other.value
    low = difference - math.hypot(first.value - first.low, other.high - other.value)
    high = difference + math.hypot(first.high - first.value, other.value - other.low)
    return Interval(difference, low, high, confidence)


def z_of(confidence: float) -> float:
    """How many standard deviations to either side hold `confidence` of a normal distribution.

    Raises:
        ValueError: it is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
