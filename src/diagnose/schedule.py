"""When to sample: which optimizer steps are looked at in detail.

The user states a time budget, not a frequency. A sampled step costs a fixed amount, a plain one next to
nothing, so the spacing of samples follows from how long the user's own steps take.
"""

from __future__ import annotations

import math
import random
from typing import Final, Protocol

DENSE_STEPS: Final = 8
"""The first steps are all sampled: most faults show at once, and users look at short runs first."""

GROWTH: Final = 1 / 8
UNSEEN: Final = 1 / 2
"""Where the budget would leave a run unseen until it has grown by UNSEEN, it is sampled whenever it has grown by
GROWTH instead, as long as the allowance lasts: a run of 10^n steps gets about 20 n samples, so a short one is seen
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

    def next_after(self, step: int) -> int:
        """The next step to sample. Asked at the start (0), when a sampled step has ended, and after an alarm."""
        ...

    def spent(self, *, own_s: float, wall_s: float, step: int) -> None:
        """Told when a sampled step has ended: our own seconds and wall seconds since the watch began."""
        ...

    def alarm(self, step: int) -> bool:
        """An always-on signal jumped after `step`; whether `next_after` is to be asked anew because of it."""
        ...

    def restart(self, step: int) -> bool:
        """A new phase of training began after `step`, as with a new optimizer; returns as `alarm` does."""
        ...


class EveryStep:
    """Samples every step. Uses no clock: for tests, and to see everything."""

    def next_after(self, step: int) -> int:
        return step + 1

    def spent(self, *, own_s: float, wall_s: float, step: int) -> None:
        pass

    def alarm(self, step: int) -> bool:
        return False

    def restart(self, step: int) -> bool:
        return False


class SeededSteps:
    """Samples densely at the start, then at geometrically growing, jittered distances.

    Uses no clock and no global random state, so that all ranks of a distributed run, and two runs of a
    test, sample the same steps. The jitter keeps it from always meeting the same phase of a periodic loop.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def next_after(self, step: int) -> int:
        if step < DENSE_STEPS:
            return step + 1
        return step + max(1, round(step * GROWTH * self._random.uniform(0.75, 1.25)))

    def spent(self, *, own_s: float, wall_s: float, step: int) -> None:
        pass

    def alarm(self, step: int) -> bool:
        return False

    def restart(self, step: int) -> bool:
        return False


class BudgetSteps:
    """Samples as often as a time budget allows; see the constants of this module.

    Args:
        budget: share of the run's own time that watching may take, in (0, 1].

    Attributes:
        companions: how many steps in a row make one sample. With several optimizers that take turns, one step
            each is needed, or the sample would always meet the same one.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.companions = 1
        self._in_a_row = 0
        self._step = 0
        self._own_s = 0.0
        self._wall_s = 0.0
        self._charged_s = 0.0
        self._allowed_s = 0.0
        self._on_allowance = False
        self._cost_s = 0.0
        self._origin = 0
        self._alarmed_until = 0
        self._last_alarm = -ALARM_SPACING

    def next_after(self, step: int) -> int:
        self._in_a_row += 1
        age = step - self._origin
        if age < DENSE_STEPS or step < self._alarmed_until or self._in_a_row < self.companions:
            return step + 1
        self._in_a_row = 0
        by_budget = self._affordable_after(step)
        is_allowed = self._allowed_s + self.companions * self._cost_s <= ALLOWANCE_S
        self._on_allowance = is_allowed and by_budget - step > age * UNSEEN
        return step + max(1, math.ceil(age * GROWTH)) if self._on_allowance else by_budget

    def _affordable_after(self, step: int) -> int:
        """The step by which the run will have earned the next sample; at the latest when it has doubled."""
        earned_s = (self._wall_s - self._own_s) * self.budget * SAMPLING_SHARE
        missing_s = self._charged_s + self.companions * self._cost_s - earned_s
        if missing_s <= 0:
            return step + 2
        return step + min(step, max(2, math.ceil(missing_s * step / earned_s))) if earned_s > 0 else 2 * step

    def spent(self, *, own_s: float, wall_s: float, step: int) -> None:
        delta_s = own_s - self._own_s
        if step == self._step + 1 or not self._cost_s:  # this sample, and nothing else
            # The first sample pays for imports and warm caches; a slow mean forgets it.
            self._cost_s = min(delta_s, 0.8 * self._cost_s + 0.2 * delta_s) if self._cost_s else delta_s
        if step > DENSE_STEPS:
            if self._on_allowance:
                self._allowed_s += delta_s
            else:
                self._charged_s += delta_s
        self._own_s, self._wall_s, self._step = own_s, wall_s, step

    def alarm(self, step: int) -> bool:
        if step - self._last_alarm < ALARM_SPACING:
            return False
        self._last_alarm = step
        self._alarmed_until = step + ALARM_STEPS
        return True

    def restart(self, step: int) -> bool:
        # A program that makes a new optimizer every few steps is not to be watched more closely for it.
        dense_s = DENSE_STEPS * self._cost_s
        if step - self._origin < 4 * DENSE_STEPS or self._allowed_s + dense_s > ALLOWANCE_S / 2:
            return False
        self._origin, self._on_allowance = step, True
        return True
