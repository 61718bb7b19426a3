"""All scenarios, in the order in which they were written."""

from __future__ import annotations

from benchmarks.gap_scenarios import (
    balance,
    capacity,
    convolution,
    evaluation,
    labels,
    met,
    optimization,
    overfitting,
    regularization,
)
from benchmarks.gap_scenarios.scenario import Scenario

_PARTS = (capacity, convolution, optimization, regularization, overfitting, labels, evaluation, balance, met)


def scenarios() -> list[Scenario]:
    """Every scenario of the bank."""
    return sorted((scenario for part in _PARTS for scenario in part.SCENARIOS), key=lambda scenario: scenario.order)
