"""When to sample: which optimizer steps are looked at in detail.

The user states a time budget, not a frequency. A sampled step costs a fixed amount, a plain one next to
nothing, so the spacing of samples follows from how long the user's own steps take.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

DENSE_STEPS: Final = 8
"""The first steps are all sampled: most faults show at once, and users look at short runs first."""

GROWTH: Final = 1 / 8
"""After that a step is due when the run has grown by this share since the last sample, whatever the budget
says and as long as the allowance lasts: a run of 10^n steps gets about 20 n samples, so a short one is seen
from start to end and none is flooded."""

ALLOWANCE_S: Final = 1.0
"""Seconds that sampling may take beyond the budget over a whole run: a second that nobody feels, without
which a run of a few hundred one-millisecond steps would not be seen at all."""

SAMPLING_SHARE: Final = 0.5
"""Share of the budget that sampling may use. The rest is for what the clock of a sample does not see:
always-on signals, snapshots, colder caches."""

ALARM_STEPS: Final = 3
ALARM_SPACING: Final = 32
"""A jump of an always-on signal has the next ALARM_STEPS steps sampled, once in ALARM_SPACING steps."""


class Schedule(Protocol):
    """Decides which steps are sampled. Steps are counted from 1, over all optimizers of the watch."""

    def wants(self, step: int) -> bool:
        """Whether `step`, which is about to begin, is to be sampled."""
        ...

    def spent(self, *, own_s: float, wall_s: float, sampled: bool) -> None:
        """Told after each step: our own seconds and wall seconds since the watch began."""
        ...

    def alarm(self, step: int) -> None:
        """An always-on signal jumped at `step`: look closely soon."""
        ...


class EveryStep:
    """Samples every step. Uses no clock: for tests, and to see everything."""

    def wants(self, step: int) -> bool:
        return True

    def spent(self, *, own_s: float, wall_s: float, sampled: bool) -> None:
        pass

    def alarm(self, step: int) -> None:
        pass


class SeededSteps:
    """Samples densely at the start, then at geometrically growing, jittered distances.

    Uses no clock and no global random state, so that all ranks of a distributed run, and two runs of a
    test, sample the same steps. The jitter keeps it from always meeting the same phase of a periodic loop.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._next = 1

    def wants(self, step: int) -> bool:
        if step < self._next:
            return False
        gap = max(1.0, step * GROWTH) if step >= DENSE_STEPS else 1.0
        self._next = step + max(1, round(gap * self._random.uniform(0.75, 1.25)))
        return True

    def spent(self, *, own_s: float, wall_s: float, sampled: bool) -> None:
        pass

    def alarm(self, step: int) -> None:
        pass


class BudgetSteps:
    """Samples as often as a time budget allows; see the constants of this module.

    Args:
        budget: share of the run's own time that watching may take, in (0, 1].
        companions: how many steps in a row make one sample. With several optimizers that take turns,
            one step each is needed, or the sample would always meet the same one.
    """

    def __init__(self, budget: float, companions: int = 1) -> None:
        self.budget = budget
        self.companions = companions
        self._last = 0
        self._in_a_row = 0
        self._own_s = 0.0
        self._wall_s = 0.0
        self._beyond_s = 0.0
        self._cost_s = 0.0
        self._alarmed_until = 0
        self._last_alarm = -ALARM_SPACING

    def wants(self, step: int) -> bool:
        wanted = self._due(step)
        if wanted and step - self._last > 1:
            self._in_a_row = 0
        if wanted:
            self._last = step
            self._in_a_row += 1
        return wanted

    def _due(self, step: int) -> bool:
        if step <= DENSE_STEPS or step <= self._alarmed_until:
            return True
        if step - self._last == 1 and self._in_a_row % self.companions:
            return True
        affordable = (self._wall_s - self._own_s) * self.budget * SAMPLING_SHARE
        if self._own_s - self._beyond_s + self._cost_s <= affordable:
            return step - self._last >= 2
        if step - self._last >= step * GROWTH and self._beyond_s + self._cost_s <= ALLOWANCE_S:
            self._beyond_s += self._cost_s
            return True
        return False

    def spent(self, *, own_s: float, wall_s: float, sampled: bool) -> None:
        if sampled:
            cost_s = own_s - self._own_s
            # The first sample pays for imports and warm caches; a slow mean forgets it.
            self._cost_s = cost_s if not self._cost_s else min(cost_s, 0.8 * self._cost_s + 0.2 * cost_s)
            if self._last <= DENSE_STEPS:
                self._beyond_s = own_s
        self._own_s, self._wall_s = own_s, wall_s

    def alarm(self, step: int) -> None:
        if step - self._last_alarm >= ALARM_SPACING:
            self._last_alarm = step
            self._alarmed_until = step + ALARM_STEPS
