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
        half_of: the stream of which it is a half; None for a whole one.
    """

    scope: str
    where: Location
    series: Series
    training: Course
    half_of: str | None = None

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
        half_of = facts.half_of if facts is not None else None
        yield from _evaluation(history, scope, where, history.series("eval_loss", scope), optimizer, half_of)
    for scope in history.scopes("metric"):
        if _LOGGED.match(scope):
            yield from _evaluation(history, scope, Location(), history.series("metric", scope), "")


def _evaluation(
    history: History, scope: str, where: Location, series: Series, optimizer: str, half_of: str | None = None
) -> Iterator[Evaluation]:
    if optimizer not in history.optimizers:
        optimizer = max(history.optimizers, key=lambda name: history.optimizers[name].steps, default="")
    course = main_course(history, optimizer) if optimizer else None
    finite = finite_prefix(series.values)
    if course is not None and len(course) and finite:
        yield Evaluation(scope, where, Series(series.steps[:finite], series.values[:finite]), course, half_of)


def whole(found: list[Evaluation]) -> list[Evaluation]:
    """The evaluations with those that are halves left out, unless the two halves are two data sets.

    They are if one of them measures the training data: it ends near the training loss, or below it (there is no
    dropout in it), and the other one ends half as high again. Then that one is an evaluation, and the whole is not.
    """
    kept = {each.scope: each for each in found if each.half_of is None}
    for first, second in _pairs(found):
        low, high = sorted((first, second), key=lambda each: _end(each))
        if _end(low) <= 1.25 * low.training.late and _end(high) > 1.5 * _end(low) and _end(low) > 0:
            kept.pop(str(low.half_of), None)
            kept[high.scope] = high
    return list(kept.values())


def _pairs(found: list[Evaluation]) -> Iterator[tuple[Evaluation, Evaluation]]:
    halves: dict[str, list[Evaluation]] = {}
    for each in found:
        if each.half_of is not None:
            halves.setdefault(each.half_of, []).append(each)
    for pair in halves.values():
        if len(pair) == 2 and np.array_equal(pair[0].series.steps, pair[1].series.steps):
            yield pair[0], pair[1]


def _end(each: Evaluation) -> float:
    return float(np.median(each.series.values[-3:]))
