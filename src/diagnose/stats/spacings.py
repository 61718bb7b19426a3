"""Outliers of heavy-tailed numbers: values that a gap separates from all others."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Side = Literal["low", "high"]
SIDES: Final[tuple[Side, ...]] = ("low", "high")


class Gap(NamedTuple):
    """A few values far from the rest.

    Attributes:
        rows: which values they are, the farthest first.
        ratio: how many times as far from the median the nearest of them is as the farthest of the rest.
        chance: how likely a gap as wide as this one is anywhere in the tail, if there are no outliers.
    """

    rows: NDArray[np.int64]
    ratio: float
    chance: float


def far_from_rest(
    values: NDArray[np.floating], side: Side, *, chance: float = 1e-4, ratio: float = 2.0, share: float = 0.05
) -> Gap | None:
    """The values on one side of the median that a gap separates from the rest; None if there are none.

    Robust z-scores with a fixed limit call the tail of every heavy-tailed column outlying. Here the tail is taken to be
    as heavy as a power law: then with distances z_1 >= z_2 >= ... from the median, i * log(z_i / z_(i+1)) are
    independent and exponential with one mean (Rényi), which is Hill's estimate. A lighter tail (normal, exponential)
    has wider gaps further inside, so that the test errs on the side of silence. The ratio of one spacing to the mean of
    k others is above t with probability (1 + t / k) ** -k.

    Values of few kinds (categories, counts with many zeros) have no tail in this sense, and no outliers.

    Args:
        values: shape (N,). Those that are not finite are no outliers and do not count.
        chance: for the tail as a whole. Divide by the number of tails that are looked at.
        ratio: outliers are at least so many times as far from the median as all others. Judgement: a gap may be
            beyond chance, and yet too small to matter.
        share: outliers are at most this share of the values; more are a group, not outliers.

    Source:
        Rényi, "On the theory of order statistics", 1953; Hill, "A simple general approach to inference about the tail
        of a distribution", 1975.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 20:
        return None
    numbers = values[known].astype(np.float64)
    signed = (numbers - np.median(numbers)) * (1 if side == "high" else -1)
    order = np.argsort(-signed, kind="stable")
    tail = signed[order]
    most = max(1, int(share * len(known)))
    # The reference: a tenth of the tail beyond the outliers that there may be at most, at least some thirty values.
    reference = max(30, most)
    tail = tail[: min(len(tail) // 2, most + reference + 1)]
    tail = tail[tail > 0]
    if len(tail) < 10:
        return None
    places = np.arange(1, len(tail))
    spacings = places * np.log(tail[:-1] / tail[1:])
    for count in range(min(most, len(spacings) - 8), 0, -1):
        if tail[count - 1] < ratio * tail[count]:
            continue
        rest = spacings[count : count + reference]
        if len(np.unique(tail[count : count + reference + 1])) <= len(rest) / 2:
            continue
        size = len(rest)
        found = float(np.exp(-size * np.log1p(spacings[count - 1] / max(rest.mean(), 1e-3) / size)))
        # Few outliers are more usual than many: they get more of the allowance, 1/2 + 1/6 + 1/12 + ... = 1.
        found *= count * (count + 1)
        if found < chance:
            return Gap(known[order[:count]], float(tail[count - 1] / tail[count]), found)
    return None
