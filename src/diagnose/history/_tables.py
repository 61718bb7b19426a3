"""Bounded series and events: how numbers are kept over a run of any length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import HistoryError
from diagnose.history._names import QUANTITIES, EventKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOSS_ROWS: Final = 1024
RUN_ROWS: Final = 512
DETAIL_ROWS: Final = 64
EVENTS_KEPT: Final = 64
ROWS_WAITING: Final = 64

# A loss is noisy and read as a trend: neighbours are averaged. Other rows are dropped, so that what is
# kept was really measured at its step.
ROWS: Final[Mapping[str, int]] = {
    "loss": LOSS_ROWS,
    "eval_loss": RUN_ROWS,
    "metric": RUN_ROWS,
    "grad_norm": RUN_ROWS,
    "grad_norm_before_clip": RUN_ROWS,
    "lr": RUN_ROWS,
    "step_s": RUN_ROWS,
    "own_s": RUN_ROWS,
}
_AVERAGED: Final = frozenset({"loss"})


class Series(NamedTuple):
    """One quantity of one scope where it was observed: steps of shape (T,), values of shape (T,)."""

    steps: Ints
    values: Floats

    def __len__(self) -> int:  # NamedTuple would say 2
        return len(self.steps)


class Table:
    """The values of one quantity: `steps` of shape (T,), `values` of shape (T, number of scopes).

    When `capacity` rows are reached, the older half is thinned to every second row (or to the means of
    neighbours): the recent past stays dense, the distant past becomes sparse, all of the run is covered.
    """

    def __init__(self, capacity: int, *, averaged: bool = False) -> None:
        if capacity < 4:
            raise HistoryError(f"a table needs room for 4 rows, got {capacity}")
        self.capacity = capacity
        self.averaged = averaged
        self._columns: dict[str, int] = {}
        self._steps = np.zeros(capacity, dtype=np.int64)
        self._values = np.full((capacity, 0), np.nan)
        self._rows = 0
        self._last = -1
        # What is recorded on every step must cost next to nothing: rows wait here until somebody reads.
        self._waiting: list[tuple[int, Mapping[str, float]]] = []

    @property
    def scopes(self) -> tuple[str, ...]:
        self._take_in()
        return tuple(self._columns)

    @property
    def steps(self) -> Ints:
        self._take_in()
        return self._steps[: self._rows]

    @property
    def values(self) -> Floats:
        self._take_in()
        return self._values[: self._rows, : len(self._columns)]

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Adds the values observed at `step`; a second append for the same step joins its row.

        A value that is NaN or infinite is stored as inf: NaN would say that it was not observed.

        Raises:
            HistoryError: `step` lies before the last one.
        """
        if not row:
            return
        if step < self._last:
            raise HistoryError(f"a series got step {step} after step {self._last}: rules read series in order of steps")
        self._last = step
        self._waiting.append((step, row))
        if len(self._waiting) >= ROWS_WAITING:
            self._take_in()

    def _take_in(self) -> None:
        waiting, self._waiting = self._waiting, []
        for step, row in waiting:
            self._put(step, row)

    def _put(self, step: int, row: Mapping[str, float]) -> None:
        if not self._rows or step != self._steps[self._rows - 1]:
            if self._rows == self.capacity:
                self._thin()
            self._steps[self._rows] = step
            self._values[self._rows] = np.nan
            self._rows += 1
        columns = [self._column(scope) for scope in row]
        self._values[self._rows - 1, columns] = [_finite_or_inf(value) for value in row.values()]

    def series(self, scope: str) -> Series:
        """The observed values of `scope`, without gaps; empty if the scope is unknown."""
        self._take_in()
        column = self._columns.get(scope)
        if column is None:
            return Series(np.zeros(0, dtype=np.int64), np.zeros(0))
        values = self._values[: self._rows, column]
        seen = ~np.isnan(values)
        return Series(self.steps[seen], values[seen])

    def restore(self, scopes: Sequence[str], steps: Ints, values: Floats) -> None:
        """Takes over rows that were read from another table of the same capacity.

        Raises:
            ValueError: shapes do not fit together or into the table, or steps are not in order.
        """
        if len(steps) > self.capacity or values.shape != (len(steps), len(scopes)):
            raise ValueError(f"{values.shape} values do not fit {len(steps)} steps of {len(scopes)} scopes")
        if np.any(np.diff(steps) <= 0):
            raise ValueError("steps are not in increasing order")
        self._columns = {scope: column for column, scope in enumerate(scopes)}
        self._values = np.full((self.capacity, len(scopes)), np.nan)
        self._values[: len(steps)] = values
        self._steps[: len(steps)] = steps
        self._rows = len(steps)
        self._last = int(steps[-1]) if len(steps) else -1
        self._waiting = []

    def _column(self, scope: str) -> int:
        column = self._columns.get(scope)
        if column is None:
            column = self._columns[scope] = len(self._columns)
            if column >= self._values.shape[1]:
                wider = np.full((self.capacity, max(8, 2 * column)), np.nan)
                wider[:, :column] = self._values[:, :column]
                self._values = wider
        return column

    def _thin(self) -> None:
        half = self.capacity // 2 // 2 * 2
        older = self._values[:half]
        kept = half // 2
        if self.averaged:
            pairs = older.reshape(kept, 2, -1)
            seen = ~np.isnan(pairs)
            total = np.where(seen, pairs, 0.0).sum(axis=1)
            with np.errstate(invalid="ignore"):
                self._values[:kept] = np.where(seen.any(axis=1), total / seen.sum(axis=1), np.nan)
            self._steps[:kept] = self._steps[1:half:2]
        else:
            self._values[:kept] = older[0:half:2]
            self._steps[:kept] = self._steps[0:half:2]
        newer = self._rows - half
        self._values[kept : kept + newer] = self._values[half : self._rows]
        self._steps[kept : kept + newer] = self._steps[half : self._rows]
        self._rows = kept + newer


@dataclass(frozen=True)
class Event:
    """Something that happened at a step. `scope` says to whom (an optimizer, a layer, ...)."""

    step: int
    kind: EventKind
    scope: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class EventLog:
    """All events of one kind and scope: their number, the first ones and the latest ones."""

    total: int = 0
    first: list[Event] = field(default_factory=list)
    latest: list[Event] = field(default_factory=list)

    def append(self, event: Event) -> None:
        self.total += 1
        if len(self.first) < EVENTS_KEPT // 2:
            self.first.append(event)
            return
        self.latest.append(event)
        if len(self.latest) > EVENTS_KEPT // 2:
            del self.latest[0]


def new_table(quantity: str) -> Table:
    if quantity not in QUANTITIES:
        raise HistoryError(f"unknown quantity {quantity!r}; history/_names.py lists them")
    return Table(ROWS.get(quantity, DETAIL_ROWS), averaged=quantity in _AVERAGED)


def _finite_or_inf(value: float) -> float:
    return value if value - value == 0.0 else float("inf")
