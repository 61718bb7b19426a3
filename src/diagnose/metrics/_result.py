"""What a metric returns: a value with its interval, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from diagnose.findings import json_safe
from diagnose.stats.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Attributes:
        name: what was measured, with what belongs to it ("recall of class 3").
        value: nan where it is not defined for these data: see `reason`.
        low, high: the ends of its confidence interval; nan where there is none.
        confidence: of the interval.
        n: how many independent observations it rests on.
        unit: what these are ("examples", "positives").
        method: how the interval was made.
        reason: why the value is not defined; None if it is.
        note: what should be known about the value; "" if nothing.
        details: further numbers by name.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    confidence: float = CONFIDENCE
    n: int = 0
    unit: str = "examples"
    method: str = ""
    reason: str | None = None
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, interval: Interval, n: int, **more: Any) -> Metric:
        """The metric with the value and the ends of `interval`."""
        return cls(name, interval.value, interval.low, interval.high, interval.confidence, n, **more)

    @classmethod
    def undefined(cls, name: str, reason: str, n: int, **more: Any) -> Metric:
        """A metric that these data do not define: its value is nan."""
        return cls(name, math.nan, n=n, reason=reason, **more)

    @property
    def interval(self) -> Interval:
        return Interval(self.value, self.low, self.high, self.confidence)

    def __float__(self) -> float:
        return self.value

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; nan is the string "nan"."""
        data: dict[str, Any] = json_safe(asdict(self))
        return data

    def __str__(self) -> str:
        if self.reason is not None:
            return f"{self.name}: not defined: {self.reason}"
        ends = f" [{self.low:.4g}, {self.high:.4g}]" if not math.isnan(self.low) else ""
        how = f"{100 * self.confidence:g} %, {self.method}; " if ends and self.method else ""
        note = f"\n  {self.note}" if self.note else ""
        return f"{self.name} {self.value:.4g}{ends} ({how}n = {self.n} {self.unit}){note}"
