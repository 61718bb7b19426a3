"""The course of a validation curve: its levels, the noise around them, and what of it is more than noise."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.intervals import Interval, z_of

Floats: TypeAlias = NDArray[np.float64]

_FEWEST: Final = 5
"""Of fewer values, the noise of a curve cannot be told from its course."""
_FEWEST_BLOCKS: Final = 6
_DISAGREEMENT: Final = 0.4
"""How often two checkpoints disagree about which examples are wrong, as a share of what independent ones would.
ImageNet models of different people agree on .85 of the test set where independence has .62 (Mania et al., "Model
similarity mitigates test set overuse", 2019): (1 - .85) / (1 - .62). Checkpoints of one training agree more, so the
interval is rather too wide."""


class Course:
    """A validation curve, smaller is better, with its levels and their noise.

    Attributes:
        values: shape (T,); inf where a value is not finite.
        width: of the running mean.
        levels: shape (T,), running means of the finite values; NaN where a value is not finite.
        noise: standard deviation of a value; NaN if it is not measured.
        lowest: the place of the lowest level.
    """

    def __init__(self, values: Floats, confidence: float, n_test: int | None) -> None:
        self.values, self.confidence, self.n_test = values, confidence, n_test
        finite = values[np.isfinite(values)]
        self.is_measured = len(finite) >= _FEWEST
        self.width = 2 * (math.isqrt(len(finite)) // 2) + 1 if self.is_measured else 1
        self.levels, self.counts = _running_mean(values, self.width)
        self.lowest = int(np.nanargmin(self.levels))
        self.noise = _noise(finite) if self.is_measured else math.nan
        self.noise_of_levels = max(self.noise, _shared_noise(finite, self.width)) if self.is_measured else math.nan
        choices = max(len(finite) / self.width, 1.0)
        self.z = student_quantile(1 - (1 - confidence) / choices, len(finite))

    def half_width(self, place: int, *, of_one: bool = False) -> float:
        """Half the interval of the difference between the level at `place` (or its value) and the lowest level."""
        own, other = 1.0 if of_one else self.counts[place], self.counts[self.lowest]
        course = self.noise_of_levels * math.sqrt(1 / own + 1 / other)
        at = self.values[place] if of_one else self.levels[place]
        return math.hypot(self.z * course, self._examples(float(at)))

    def worse_by(self, place: int) -> Interval:
        """By how much `place` is worse than the lowest level."""
        if not math.isfinite(self.values[place]):
            return Interval(math.inf, math.inf, math.inf, self.confidence)
        lowest = self.levels[self.lowest]
        if not self.is_measured:
            difference = float(self.values[place] - lowest)
            if self.n_test is None:
                return Interval(difference, -math.inf, math.inf, self.confidence)
            half = self._examples(float(self.values[place]))
            return Interval(difference, difference - half, difference + half, self.confidence)
        difference = float(self.levels[place] - lowest)
        half = self.half_width(place)
        spike = float(self.values[place] - lowest)
        half_of_one = self.half_width(place, of_one=True)
        if self.values[place] - self.levels[place] > half_of_one and spike - half_of_one > difference - half:
            difference, half = spike, half_of_one
        return Interval(difference, difference - half, difference + half, self.confidence)

    def as_good(self) -> NDArray[np.bool_]:
        """Shape (T,): whether the level cannot be told from the lowest."""
        if not self.is_measured:
            return np.asarray(self.values == self.values.min(), dtype=np.bool_)
        return np.array([not self.worse_by(place).low > 0 for place in range(len(self.values))])

    def onset(self) -> int | None:
        """The place after the lowest level from which on all levels are worse by more than noise; None if none is."""
        if not self.is_measured:
            return None
        worse = [place for place in range(self.lowest + 1, len(self.values)) if not self._is_above(place)]
        first = (worse[-1] if worse else self.lowest) + 1
        return first if first < len(self.values) else None

    def is_falling(self, least: float) -> bool:
        """Whether the last quarter falls to the lowest level, by more than noise and by `least` of the level."""
        tail = self.values[-max(len(self.values) // 4, _FEWEST) :]
        if not self.is_measured or not np.isfinite(tail).all() or len(tail) < _FEWEST or self._is_above(-1):
            return False
        x = np.arange(len(tail)) - (len(tail) - 1) / 2
        slope = float((x * tail).sum() / (x**2).sum())
        fall, error = -slope * (len(tail) - 1), self.noise_of_levels * (len(tail) - 1) / math.sqrt(float((x**2).sum()))
        is_sure = fall > student_quantile(self.confidence, len(self.values)) * error
        return is_sure and fall > least * abs(float(tail.mean()))

    def _is_above(self, place: int) -> bool:
        level = self.levels[place]
        if not math.isfinite(level):
            return True
        return bool(level - self.levels[self.lowest] > self.half_width(place))

    def _examples(self, share: float) -> float:
        """Half the interval of `share` minus the lowest level by the choice of the test examples; 0 if that is unknown.

        Both have the same examples and mostly the same mistakes. Half an example of each kind is added to each.
        """
        if self.n_test is None:
            return 0.0
        variance = 0.0
        for value in (share, float(self.levels[self.lowest])):
            wrong = (abs(value) * self.n_test + 0.5) / (self.n_test + 1)
            variance += wrong * (1 - wrong) / self.n_test
        return z_of(self.confidence) * math.sqrt(_DISAGREEMENT * variance)


def _running_mean(values: Floats, width: int) -> tuple[Floats, Floats]:
    """Means over `width` values around each one, of those that are there and finite, and how many these are."""
    finite = np.isfinite(values)
    sums = np.convolve(np.where(finite, values, 0.0), np.ones(width), mode="full")
    counts = np.convolve(finite.astype(np.float64), np.ones(width), mode="full")
    middle = slice(width // 2, width // 2 + len(values))
    levels = np.where(finite, sums[middle] / np.maximum(counts[middle], 1), np.nan)
    return levels, np.maximum(counts[middle], 1)


def _noise(values: Floats, apart: int = 1) -> float:
    """Standard deviation of a value around a smooth course, from second differences, which a straight line does not
    move.

    Their median, so that a steep beginning and spikes do not count; their mean square where most of them are zero, as
    in a curve of shares that moves by an example now and then.
    """
    second = values[2 * apart :] - 2 * values[apart : len(values) - apart] + values[: -2 * apart]
    if not len(second):
        return 0.0
    median = 1.4826 * float(np.median(np.abs(second))) / math.sqrt(6)
    return median if median > 0 else math.sqrt(float((second**2).mean()) / 6)


def _shared_noise(values: Floats, width: int) -> float:
    """The same where neighbours share a part of it, which does not average out over `width` values.

    From means of so many values in a row; where the curve is too short for six of these, from every other value.
    """
    blocks = len(values) // width
    if blocks >= _FEWEST_BLOCKS:
        return math.sqrt(width) * _noise(values[len(values) - blocks * width :].reshape(blocks, width).mean(axis=1))
    if len(values) < 2 * _FEWEST:
        return 0.0
    return _noise(values, apart=2)


def student_quantile(confidence: float, count: int) -> float:
    """Two-sided, of Student's t: a median of second differences of T values is worth about T / 3 free deviations.

    The first two terms of its expansion.
    """
    z = z_of(confidence)
    freedom = max(count / 3, 2.0)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
