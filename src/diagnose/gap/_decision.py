"""What a step of `decide` comes to."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Verdict


@dataclass(frozen=True)
class Decision:
    """A verdict with its sentence and advice, the most promising first."""

    verdict: Verdict
    sentence: str
    recommendations: tuple[Recommendation, ...] = ()
