"""An error that was measured: a share of wrong answers or a mean loss, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from diagnose.errors import GapError
from diagnose.stats.intervals import CONFIDENCE, Interval, newcombe, wilson, z_of

ASSUMED: Final = 1_000
"""Examples behind an error where nobody said how many: a small test set. Results say so where it was assumed."""
_SPREAD: Final = math.sqrt(2)
"""Standard deviation over mean of a squared normal residual, taken for losses that come without a standard error."""
_MOST: Final = 10**9


@dataclass(frozen=True)
class Measured:
    """An error rate, or a loss.

    Attributes:
        name: as people call it: "test error".
        value: the share of wrong answers, or the mean loss.
        n: examples it was measured on.
        is_share: whether it is a share; else a loss.
        error: standard error of a loss; None for a share, whose interval comes from `n`.
        assumed: whether `n` or the standard error was assumed, because it was not given.
    """

    name: str
    value: float
    n: float
    is_share: bool = True
    error: float | None = None
    assumed: bool = False

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Wilson's interval of a share, a normal one of a loss."""
        if self.is_share:
            return wilson(self.value * self.n, self.n, confidence=confidence)
        half = z_of(confidence) * (self.error or 0.0)
        return Interval(self.value, self.value - half, self.value + half, confidence)

    def minus(self, other: Measured, confidence: float = CONFIDENCE) -> Interval:
        """The difference with an error of independent examples: Newcombe's interval, or a normal one."""
        if self.is_share and other.is_share:
            return newcombe(self.value * self.n, self.n, other.value * other.n, other.n, confidence=confidence)
        half = z_of(confidence) * math.hypot(self.spread, other.spread)
        difference = self.value - other.value
        return Interval(difference, difference - half, difference + half, confidence)

    @property
    def spread(self) -> float:
        """Its standard error."""
        if self.error is not None:
            return self.error
        return math.sqrt(max(self.value * (1 - self.value), 0.0) / self.n)

    def with_n(self, n: float) -> Measured:
        """The same error, had it been measured on `n` examples."""
        error = None if self.error is None else self.error * math.sqrt(self.n / n)
        return Measured(self.name, self.value, n, self.is_share, error, self.assumed)

    def text(self) -> str:
        """The value with its interval, as people read it: "12.0 % [10.1 %, 14.2 %]"."""
        return shown(self.interval(), self.is_share)


def measured(name: str, value: Any, n: Any, *, is_share: bool, where: str, where_n: str) -> Measured | None:
    """What the user gave as an error: a number, or (mean, standard error); None stays None.

    Raises:
        GapError: it is no number, negative, a share above 1, or `n` is not above 0.
    """
    if value is None:
        return None
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise GapError(f"{where}={value!r} has {len(value)} values: give a number, or (mean, standard error).")
        mean, error = number(value[0], where), number(value[1], where)
        if error < 0:
            raise GapError(f"{where}={value!r}: the standard error {error:g} is negative.")
        count = float(ASSUMED) if n is None else examples(n, where_n)
        return Measured(name, mean, count, is_share=False, error=error)
    mean = number(value, where)
    count = float(ASSUMED) if n is None else examples(n, where_n)
    if mean < 0:
        raise GapError(
            f"{where}={mean:g} is below 0. A loss that can be gets its standard error: (mean, standard error)."
        )
    if is_share and not 0 <= mean <= 1:
        raise GapError(f"{where}={mean:g} is no share of wrong answers: between 0 and 1, not in percent.")
    if is_share:
        return Measured(name, mean, count, assumed=n is None)
    return Measured(name, mean, count, is_share=False, error=_SPREAD * abs(mean) / math.sqrt(count), assumed=True)


def number(value: Any, where: str) -> float:
    """A finite number.

    Raises:
        GapError: it is none.
    """
    if isinstance(value, bool | str):
        raise GapError(f"{where}={value!r} is no number.")
    try:
        made = float(value)
    except (TypeError, ValueError) as error:
        raise GapError(f"{where}={value!r} is no number.") from error
    if not math.isfinite(made):
        raise GapError(
            f"{where} is {made:g}. An error has to be finite; put a training that diverged into "
            'curves={"train_loss": [...]}, where NaN and infinity are evidence.'
        )
    return made


def examples(value: Any, where: str) -> float:
    """A number of examples, above 0.

    Raises:
        GapError: it is none.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise GapError(f"{where}={value!r}: a number of examples is finite.")
    made = number(value, where)
    if made <= 0:
        raise GapError(f"{where}={value!r}: a number of examples is above 0.")
    return made


def smallest_n(settled: Callable[[int], bool], at_least: float) -> int | None:
    """The smallest number of examples, of `at_least` and more, with which `settled` is True; None if none below 1e9."""
    low = max(int(at_least), 1)
    if not settled(_MOST):
        return None
    high = low
    while not settled(high):
        low, high = high, min(2 * high, _MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high


def shown(interval: Interval, is_share: bool) -> str:
    """A number with its interval; shares in percent."""
    value, low, high = (figure(x, is_share) for x in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def figure(value: float, is_share: bool) -> str:
    """A share in percent, with one digit more where it is small; a loss with three."""
    if not is_share:
        return f"{value:.3g}"
    percent = 100 * value
    return f"{percent:.2f} %" if 0 < abs(percent) < 1 else f"{percent:.1f} %"
