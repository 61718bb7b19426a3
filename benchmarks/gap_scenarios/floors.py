"""Advisors that any other must beat, with the signature of `diagnose.diagnose_gap`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnose.gap._recommendation import Code, Recommendation


@dataclass(frozen=True)
class Advice:
    """As much of a diagnosis as the judge reads."""

    verdict: str
    recommendations: tuple[Recommendation, ...]


def always_more_data(source: object = None, **_: Any) -> Advice:
    """More data, whatever the trouble."""
    return _advice("not looked at", "more-data")


def textbook(source: object = None, *, train_error: float, test_error: float, target_error: float, **_: Any) -> Advice:
    """Goodfellow et al., chapter 11.3, in five lines."""
    if test_error <= target_error:
        return _advice("target met", "target-met")
    if train_error > target_error:
        return _advice("underfitting", "more-capacity")
    return _advice("overfitting", "more-data")


def _advice(verdict: str, code: Code) -> Advice:
    return Advice(verdict, (Recommendation(code, "A rule of thumb."),))
