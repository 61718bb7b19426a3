"""Where a learning curve goes with more data: an average over power laws, as far as they fit, and a range of sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from diagnose.errors import GapError
from diagnose.findings import json_safe
from diagnose.stats.intervals import Interval

Floats: TypeAlias = NDArray[np.float64]

TRUSTED: Final = 4.0
"""Beyond so many times the data, a prediction is called a guess: see `Outlook`."""
_FARTHEST: Final = 1e4
"""Times the data; what is not reached there is not reached by data."""

# The prior. Exponents: .07 to .35 for large networks (Hestness et al. 2017), .3 to .9 in Rosenfeld et al. 2020, and 1/2
# or 1 in theory, for learners that are limited by the variance of an estimate. A log-normal whose middle 95 % is .1 to
# 2.4.
_EXPONENTS: Final = np.geomspace(0.05, 2.0, 18)
_MEDIAN_EXPONENT: Final = 0.5
_SIGMA_EXPONENT: Final = 0.8
# The asymptote, as a share of the last error: any of them is as likely, for noise of labels may be most of an error.
_ASYMPTOTES: Final = np.linspace(0.0, 1.0, 18)
# Examples beyond those measured that the power law begins with, as a share of the largest size: curves begin with a
# plateau near chance (Hestness et al., figure 6), which a shift bends down; no shift is as likely as all others
# together.
_SHIFTS: Final = np.array([0.0, 0.03, 0.1, 0.3])
_SHIFT_WEIGHTS: Final = np.array([0.5, 0.2, 0.2, 0.1])
# How far a curve strays from its power law, as a share of the error, in each doubling away from the largest size.
_STRAYINGS: Final = np.array([0.02, 0.05, 0.1, 0.2])
_STRAY_AT_ONCE: Final = 0.02
UNKNOWN_NOISE: Final = 0.05
"""Of an error whose noise is not known: as a share of it. So much differs between seeds, or little more."""


@dataclass(frozen=True)
class DataNeeded:
    """How many examples a target takes.

    Attributes:
        target: the test error wanted.
        low, high: the range of n. `low` is the first size at which the target is within what is to be expected, `high`
            the first at which all of that is at or below it. `high` is inf where no size is sure to do, `low` where
            none does.
        size: the largest size measured.
        is_reached: whether the curve is at or below the target already, beyond its noise.
        is_reachable: False where the curve flattens out above the target: 10,000 times the data are not expected to do.
        is_guess: whether the range goes beyond 4 times the data measured, where curves have been seen to do anything.
        confidence: of what is to be expected.
    """

    target: float
    low: float
    high: float
    size: int
    is_reached: bool
    is_reachable: bool
    is_guess: bool
    confidence: float

    def __str__(self) -> str:
        if self.is_reached:
            return f"An error of {self.target:.4g} is reached with the {self.size} examples there are."
        if not self.is_reachable:
            return (
                f"An error of {self.target:.4g} is not reachable by data alone on this curve, not with "
                f"{_FARTHEST:,.0f} times the {self.size} examples there are: change the model, its "
                "regularisation, or the quality of the data."
            )
        bounds = f"at least {_rounded(self.low)}" if math.isinf(self.high) else self._range()
        text = f"An error of {self.target:.4g} takes {bounds} examples ({self.confidence:.0%} sure)"
        if self.low > TRUSTED * self.size:
            text += f". That is more than {TRUSTED:g} times the {self.size} measured: a guess"
        elif self.is_guess:
            text += f". What goes beyond {TRUSTED:g} times the {self.size} measured is a guess"
        first = min(2 * self.size, self.low if self.low > self.size else 2 * self.size)
        return f"{text}. Collect in rounds: go to about {_rounded(first)}, then measure again."

    def _range(self) -> str:
        low, high = _rounded(self.low), _rounded(self.high)
        return f"about {low}" if low == high else f"{low} to {high}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        names = ("target", "low", "high", "size", "is_reached", "is_reachable", "is_guess", "confidence")
        data: dict[str, Any] = json_safe({name: getattr(self, name) for name in names} | {"summary": str(self)})
        return data


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of more data.

    An average over curves a + b (n + d)^-c, each weighted by how well it fits and by its prior, for four reasons. A
    curve of five or six noisy points does not tell a, b and c from each other, and the best fit alone is off by up to a
    factor of 12 in n (Jain et al. 2023). What the literature knows of exponents is worth more than one more parameter.
    Noise is known, from repeats and from the number of test examples, so it is in the likelihood. And no curve is a
    power law: each strays from it, the more the farther from the largest size, by an amount that is averaged over too;
    so small sizes count less, and the interval grows with the distance.

    About one curve in seven is ill-behaved (Mohr, Viering, Loog & van Rijn, LCDB, 2022; LCDB 1.1, 2025): it rises, or
    has a peak. No extrapolation sees that coming, and so beyond 4 times the data everything is called a guess.

    Attributes:
        size, level: the largest size measured, and about the error there, which all else is relative to.
        weights, asymptotes, slopes, variances, exponents, shifts, strayings: shape (G,), one curve each; slopes b are
            in units of the last error at the largest size.
        test_error: standard error of the last value by the choice of its test examples.
        is_share: errors are within [0, 1].
    """

    size: int
    level: float
    weights: Floats
    asymptotes: Floats
    slopes: Floats
    variances: Floats
    exponents: Floats
    shifts: Floats
    strayings: Floats
    test_error: float
    is_share: bool

    @classmethod
    def of(
        cls,
        sizes: Sequence[int],
        errors: Sequence[float],
        noise: Sequence[float],
        *,
        test_error: float = 0.0,
        is_share: bool = False,
    ) -> Outlook:
        """Weighs all curves by what was measured.

        Args:
            sizes: shape (K,), K at least 1, in any order.
            errors: shape (K,), at least 0.
            noise: shape (K,), standard error of each; NaN where it is unknown.
            test_error: as the attribute; it is part of `noise`.

        Raises:
            GapError: an error is negative, or the last one is 0: a power law of errors says nothing there.
        """
        order = np.argsort(np.asarray(sizes))
        n, y = np.asarray(sizes, dtype=np.float64)[order], np.asarray(errors, dtype=np.float64)[order]
        if (y < 0).any() or not y[-1] > 0:
            worst = "negative" if (y < 0).any() else "0 with all data"
            raise GapError(f"The test error is {worst}: there is no power law to extrapolate. Give an error above 0.")
        level = float(y[-1])
        sigma = np.asarray(noise, dtype=np.float64)[order] / level
        y = y / level
        sigma = np.where(np.isfinite(sigma), sigma, UNKNOWN_NOISE * y)
        a, c, d, t = (part.ravel() for part in np.meshgrid(_ASYMPTOTES, _EXPONENTS, _SHIFTS, _STRAYINGS, indexing="ij"))
        doublings = np.log2(n[-1] / n)
        # Shape (G, K) from here on. In units of the largest size, every curve is at a + b there.
        x = ((n / n[-1] + d[:, None]) / (1 + d[:, None])) ** -c[:, None]
        strays = (_STRAY_AT_ONCE**2 + (t[:, None] * doublings) ** 2) * np.maximum(y, 0.1) ** 2
        precision = 1 / (sigma**2 + strays)
        information = (precision * x**2).sum(1)
        b = np.maximum((precision * x * (y - a[:, None])).sum(1) / information, 0.0)
        residual = y - a[:, None] - b[:, None] * x
        evidence = 0.5 * (np.log(precision).sum(1) - (precision * residual**2).sum(1) - np.log(information))
        logs = evidence + _log_prior(c, d)
        weights = np.exp(logs - logs.max())
        keep = weights > 1e-4
        return cls(
            int(n[-1]),
            level,
            weights[keep] / weights[keep].sum(),
            a[keep],
            b[keep],
            1 / information[keep],
            c[keep],
            d[keep],
            t[keep],
            test_error,
            is_share,
        )

    def predict(self, size: float, *, confidence: float = 0.9) -> Interval:
        """The median of the test error with `size` examples, and an interval for what would be measured on a test set
        alike.

        Raises:
            GapError: `size` is less than the largest size measured.
        """
        if size < self.size:
            raise GapError(f"{size} examples are less than the {self.size} measured: read the curve itself.")
        tail = (1 - confidence) / 2
        low, middle, high = (self._quantiles(np.array([size / self.size]), p)[0] for p in (tail, 0.5, 1 - tail))
        return Interval(float(middle), float(low), float(high), confidence)

    def data_needed(self, target: float, *, confidence: float = 0.8) -> DataNeeded:
        """See `LearningCurve.data_needed`."""
        if not target > 0 or not math.isfinite(target):
            raise GapError(f"target is {target}, and has to be an error above 0.")
        times = np.geomspace(1.0, _FARTHEST, 400)
        tail = (1 - confidence) / 2
        chance = self._chance_below(np.full(len(times), target), *self._spread_at(times))
        low, high = (_first(times, chance >= least) * self.size for least in (tail, 1 - tail))
        return DataNeeded(
            target=target,
            low=low,
            high=high,
            size=self.size,
            is_reached=high <= self.size,
            is_reachable=math.isfinite(low),
            is_guess=high > TRUSTED * self.size,
            confidence=confidence,
        )

    def _quantiles(self, times: Floats, probability: float) -> Floats:
        """The error with so many times the data that is not exceeded with `probability`: shape as `times`."""
        means, deviations = self._spread_at(times)
        low, high = (np.log(means) + sign * 8 * deviations for sign in (-1, 1))
        low, high = low.min(1), high.max(1)
        for _ in range(40):
            middle = (low + high) / 2
            below = self._chance_below(np.exp(middle) * self.level, means, deviations)
            low, high = np.where(below < probability, middle, low), np.where(below < probability, high, middle)
        found: Floats = np.exp((low + high) / 2) * self.level
        return np.asarray(np.minimum(found, 1.0)) if self.is_share else found

    def _spread_at(self, times: Floats) -> tuple[Floats, Floats]:
        """Of each curve, with so many times the data: its error in units of the last one, and the standard deviation of
        the logarithm of what would be measured. Shapes (M, G).
        """
        x = ((times[:, None] + self.shifts) / (1 + self.shifts)) ** -self.exponents
        means = np.maximum(self.asymptotes + self.slopes * x, 1e-12)
        strays = _STRAY_AT_ONCE**2 + (self.strayings * np.log2(times)[:, None]) ** 2
        examples = (self.test_error / self.level) ** 2 / means  # the variance of a share falls with the share
        return means, np.sqrt(self.variances * x**2 / means**2 + strays + examples)

    def _chance_below(self, errors: Floats, means: Floats, deviations: Floats) -> Floats:
        """The chance of at most `errors`, shape (M,): an average over all curves."""
        far = (np.log(errors / self.level)[:, None] - np.log(means)) / deviations
        chance: Floats = torch.special.ndtr(torch.from_numpy(far)).numpy() @ self.weights
        return chance


def _log_prior(c: Floats, d: Floats) -> Floats:
    exponent = -0.5 * (np.log(c / _MEDIAN_EXPONENT) / _SIGMA_EXPONENT) ** 2
    shift = np.log(_SHIFT_WEIGHTS[np.searchsorted(_SHIFTS, d)])
    prior: Floats = exponent + shift
    return prior


def _first(times: Floats, holds: NDArray[np.bool_]) -> float:
    """The first of `times` for which it holds; inf if there is none."""
    return float(times[int(np.argmax(holds))]) if holds.any() else math.inf


def _rounded(number: float) -> str:
    """Two digits: more would promise what nobody knows."""
    if math.isinf(number):
        return "any number of"
    digits = max(len(str(round(number))) - 2, 0)
    return f"{round(number, -digits):,.0f}"
