"""What layers show over their windows of batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnose.history import Floats, History, Ints, Quantity
from diagnose.stats.curves import trailing_run


@dataclass(frozen=True, eq=False)
class Lasting:
    """A share of units that stayed above a limit until the end.

    Attributes:
        steps, values: shape (T,), all finite observations.
        since: index from which on all values reach the limit.
    """

    steps: Ints
    values: Floats
    since: int

    @property
    def first_step(self) -> int:
        return int(self.steps[self.since])

    @property
    def last_step(self) -> int:
        return int(self.steps[-1])

    @property
    def from_the_start(self) -> bool:
        return self.since == 0

    @property
    def value(self) -> float:
        """The smallest share since then: what can be said of all of these windows."""
        return float(self.values[self.since :].min())


def lasting(
    history: History, quantity: Quantity, scope: str, limit: float, *, before: float, samples: int
) -> Lasting | None:
    """The stretch at the end in which `quantity` of `scope` is at least `limit`; None if shorter than `samples`."""
    steps, values = history.series(quantity, scope)
    usable = np.isfinite(values) & (steps < before)
    steps, values = steps[usable], values[usable]
    since = trailing_run(values >= limit)
    if len(values) - since < samples:
        return None
    return Lasting(steps, values, since)
