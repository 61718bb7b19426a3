"""Evaluation losses, each with the training that went on between the evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from diagnose.findings import Location
from diagnose.history import Floats, History, Series
from diagnose.rules.loss._course import Course, main_course
from diagnose.stats.curves import finite_prefix

_LOGGED = re.compile(r"(val|test|eval).*(loss|error)", re.IGNORECASE)

SAME_UNITS: Final = 4.0
"""Evaluation and training loss that differ by no more than this factor at first are one measure; else one of them
is a sum, or is scaled, or is another function."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation stream: its finite part.

    Attributes:
        scope: its name in the history.
        where: where the loss is computed, if that is known.
        series: steps and values.
        training: the course of the training loss of the same optimizer.
    """

    scope: str
    where: Location
    series: Series
    training: Course

    def training_around(self, low: float, high: float) -> Floats:
        """The training losses in the steps (`low`, `high`], but at least the 3 that end nearest to `high`."""
        steps = self.training.steps
        end = max(int(np.searchsorted(steps, high, side="right")), min(3, len(steps)))
        begin = int(np.searchsorted(steps, low, side="right"))
        return self.training.values[max(min(begin, end - 3), 0) : end]


def evaluations(history: History) -> Iterator[Evaluation]:
    """All streams of evaluation losses for whose optimizer a training loss was seen.

    A loss that was given to `watch.log(val_loss=...)` counts: its name must begin with val, test or eval and hold
    "loss" or "error". It is taken to belong to the optimizer that made most steps.
    """
    for scope in history.scopes("eval_loss"):
        facts = history.evaluations.get(scope)
        optimizer = facts.optimizer if facts is not None else ""
        where = Location(file=facts.file, line=facts.line) if facts is not None else Location()
        yield from _evaluation(history, scope, where, history.series("eval_loss", scope), optimizer)
    for scope in history.scopes("metric"):
        if _LOGGED.match(scope):
            yield from _evaluation(history, scope, Location(), history.series("metric", scope), "")


def _evaluation(history: History, scope: str, where: Location, series: Series, optimizer: str) -> Iterator[Evaluation]:
    if optimizer not in history.optimizers:
        optimizer = max(history.optimizers, key=lambda name: history.optimizers[name].steps, default="")
    course = main_course(history, optimizer) if optimizer else None
    finite = finite_prefix(series.values)
    if course is not None and len(course) and finite:
        yield Evaluation(scope, where, Series(series.steps[:finite], series.values[:finite]), course)
