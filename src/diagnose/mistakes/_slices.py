"""Groups of examples, by what is known about them, whose error is not that of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnose.findings import json_safe
from diagnose.stats.intervals import Interval


@dataclass(frozen=True)
class Slice:
    """Examples that share a value of a column, or values of two.

    Attributes:
        where: column -> value; a range of numbers as "[low, high)".
        size: how many examples it has.
        error: its share of mistakes; for a regression or language model, its mean loss.
        rest: the same number of all other examples.
        p: that a difference as large comes by chance, times the number of slices that were tried (Holm).
        tried: how many slices were tried.
        ids: the examples of the slice that the model is worst at.
    """

    where: dict[str, str]
    size: int
    error: Interval
    rest: float
    p: float
    tried: int
    ids: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        error = {"value": self.error.value, "low": self.error.low, "high": self.error.high}
        return json_safe({**vars(self), "error": error, "ids": list(self.ids)})
