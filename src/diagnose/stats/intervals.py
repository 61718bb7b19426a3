"""Confidence intervals of shares, of differences and means of them, and of what else has a formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

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


def mean_share(mean: float, smoothed: float, variance: float, *, confidence: float = CONFIDENCE) -> Interval:
    """A mean of shares that are estimated from different examples: the recall of the average class, say.

    It has Wilson's interval for as many trials as give a single share of this size the same variance. So it is right
    where each share rests on few examples, or all of them are 1 and resampling would see no uncertainty.

    Args:
        mean: of the shares, in [0, 1].
        smoothed: the same, of shares from `smoothed_shares`, in (0, 1).
        variance: of the mean, computed from these.

    Source:
        Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
        from survey data", 1998 (effective number of trials).
    """
    trials = smoothed * (1 - smoothed) / variance
    return wilson(mean * trials, trials, confidence=confidence)


def smoothed_shares(shares: Floats, trials: Floats) -> Floats:
    """Shares, shape (K,), each with one trial more, at the share of all: a share of 1 then has a variance, too.

    Args:
        shares, trials: shape (K,), trials above 0.
    """
    common = (float((shares * trials).sum()) + 0.5) / (float(trials.sum()) + 1)
    smooth: Floats = (shares * trials + common) / (trials + 1)
    return smooth


def mean_interval(count: int, mean: float, deviation: float, *, confidence: float = CONFIDENCE) -> Interval:
    """The mean of independent numbers, with Student's interval; it is infinite for a single number.

    For a loss with a long tail it is too short, as every interval is that knows only what was drawn.

    Args:
        count: how many numbers.
        mean, deviation: of them; the deviation with `count - 1` in its denominator.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError("no numbers have no mean")
    if count == 1:
        return Interval(mean, -math.inf, math.inf, confidence)
    half = student(confidence, count - 1) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, confidence)


def student(confidence: float, freedom: float) -> float:
    """Quantile of Student's t for a two-sided interval; exact for 1 and 2 degrees of freedom.

    From 3 on, four terms of its expansion in 1 / freedom: good to 1 % for a confidence of up to .95, and to 4 % of .99.

    Source:
        Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z = z_of(confidence)
    if freedom == 1:
        return math.tan(math.pi * confidence / 2)
    if freedom == 2:
        return confidence * math.sqrt(2 / (1 - confidence**2))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def order_statistics(count: int, share: float, *, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Ranks, counted from 0, of the sorted values between which a quantile lies, whatever the distribution.

    Ranks of -1 and `count` mean that too few values were drawn to bound it on that side.

    Args:
        count: of independent values.
        share: of the values that are below the quantile, in (0, 1).

    Source:
        The number of values below a quantile is binomial (David & Nagaraja, "Order Statistics", section 7.1).
    """
    tail = (1 - confidence) / 2
    below = binomial_cdf(count, share)
    # The value of rank r, from 0, is below the quantile if more than r values are.
    low = int(np.searchsorted(below, tail, side="right")) - 1
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return low, min(high, count)


def binomial_cdf(trials: int, share: float, most: int | None = None) -> Floats:
    """Shape (most + 1,): the chances of at most 0, 1, ... `most` successes; of up to `trials` by default."""
    most = trials if most is None else most
    if share <= 0 or share >= 1:
        certain = 0 if share <= 0 else trials
        return (np.arange(most + 1) >= certain).astype(np.float64)
    successes = np.arange(1, most + 1)
    ratios = np.log((trials - successes + 1) / successes) + math.log(share) - math.log1p(-share)
    logs = trials * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(ratios)])
    chances: Floats = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return chances


def wilson_ends(successes: Floats, trials: Floats, *, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """The ends of `wilson` for many shares at once; shapes as given, all `trials` above 0."""
    z = z_of(confidence)
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = np.where(successes == 0, 0.0, np.minimum(np.maximum(middle - half, 0.0), share))
    high = np.where(successes == trials, 1.0, np.maximum(np.minimum(middle + half, 1.0), share))
    return low, high


def mann_whitney(positive: Floats, negative: Floats, *, confidence: float = CONFIDENCE) -> Interval:
    """The chance that a positive example has a higher score than a negative one (ROC AUC), with its interval.

    The interval holds all values from which the area is not further away than z standard errors, as Wilson's does for a
    share; so it is right for few examples and for an area of 1. The standard error is Hanley and McNeil's for this
    value, which takes scores for exponential, and where the data show that it is larger (DeLong), it is scaled up.

    Args:
        positive, negative: scores, shapes (P,) and (N,), at least one each; ties count one half.

    Source:
        Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic", part 2, 2006,
        method 5; DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves", 1988.
        Measured with 10 positives and 90 negatives: 96 % of these hold for normal scores, 97 % near an area of 1, 84 %
        for positives in two clusters far apart (78 % without the scaling); of bootstrap intervals 88, 76 and 88 %.
    """
    count, other = len(positive), len(negative)
    above = _placements(positive, negative)
    area = float(above.mean())
    size = (count + other) / 2 - 1
    z = z_of(confidence)

    def variance(candidate: float) -> float:
        spread = 1 + size * (1 - candidate) / (2 - candidate) + size * candidate / (1 + candidate)
        return candidate * (1 - candidate) * spread / (count * other)

    seen = 0.0
    if min(count, other) > 1:
        seen = float(above.var(ddof=1)) / count + float(_placements(negative, positive).var(ddof=1)) / other
    expected = variance(area)
    scale = max(seen / expected, 1.0) if expected > 0 else 1.0

    def end(outside: float) -> float:
        inside = area
        for _ in range(60):
            middle = (inside + outside) / 2
            is_too_far = (area - middle) ** 2 > z**2 * scale * variance(middle)
            inside, outside = (inside, middle) if is_too_far else (middle, outside)
        return inside

    return Interval(area, end(0.0), end(1.0), confidence)


def _placements(scores: Floats, others: Floats) -> Floats:
    """Of each score, the share of others that are below it; equal ones count one half."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, scores, side="left"), np.searchsorted(ordered, scores, side="right")
    shares: Floats = (below + not_above) / (2 * len(others))
    return shares
