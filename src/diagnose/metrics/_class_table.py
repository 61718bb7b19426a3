"""One row per class: how many examples, how well they are found, and what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.metrics._classes import Counts, confusion_matrix, of_class
from diagnose.metrics._inputs import Answers, Ints, answers
from diagnose.metrics._packages import needed
from diagnose.metrics._result import Metric
from diagnose.stats.intervals import CONFIDENCE

_LARGEST_MATRIX = 2000
"""Classes, beyond which `matrix` is None: it would take more than 32 MB."""
_SHOWN = 40
"""Rows of a printed table; all are in `rows`."""


@dataclass(frozen=True)
class ClassRow:
    """One class, or one label.

    Attributes:
        name: of the class.
        support: how many examples have it.
        predicted: how many are predicted to.
        precision, recall, f1: with their intervals.
        taken_for: classes that its examples are most often taken for, with how many; () for labels.
    """

    name: str
    support: int
    predicted: int
    precision: Metric
    recall: Metric
    f1: Metric
    taken_for: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Confusion:
    """A pair of classes: `count` examples of class `name` are taken for `taken_for`, a share of all of that class."""

    name: str
    taken_for: str
    count: int
    share: float


@dataclass(frozen=True)
class ClassTable:
    """What `per_class` returns.

    Attributes:
        rows: one per class, in order.
        confusions: pairs of classes, most frequent first; () for labels that do not exclude each other.
        matrix: shape (K, K), examples by class and predicted class; None for labels, and for more than 2000 classes.
        n: how many examples.
    """

    rows: tuple[ClassRow, ...]
    confusions: tuple[Confusion, ...]
    matrix: Ints | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            "n": self.n,
            "rows": [
                {
                    "name": row.name,
                    "support": row.support,
                    "predicted": row.predicted,
                    "precision": row.precision.to_json(),
                    "recall": row.recall.to_json(),
                    "f1": row.f1.to_json(),
                    "taken_for": [list(pair) for pair in row.taken_for],
                }
                for row in self.rows
            ],
            "confusions": [vars(pair) for pair in self.confusions],
            "matrix": None if self.matrix is None else self.matrix.tolist(),
        }

    def to_pandas(self) -> Any:
        """A DataFrame with one row per class, indexed by name.

        Raises:
            MetricError: pandas is not installed.
        """
        columns: dict[str, list[Any]] = {
            "support": [row.support for row in self.rows],
            "predicted": [row.predicted for row in self.rows],
        }
        for name in ("precision", "recall", "f1"):
            metrics = [getattr(row, name) for row in self.rows]
            columns[name] = [metric.value for metric in metrics]
            columns[f"{name}_low"] = [metric.low for metric in metrics]
            columns[f"{name}_high"] = [metric.high for metric in metrics]
        columns["taken_for"] = [row.taken_for[0][0] if row.taken_for else "" for row in self.rows]
        return needed("pandas", "to_pandas").DataFrame(columns, index=[row.name for row in self.rows])

    def __str__(self) -> str:
        width = max(len("class"), *(len(_short(row.name)) for row in self.rows))
        last = "most often taken for" if self.confusions else ""
        lines = [f"{'class':{width}}  support  predicted  {'precision':20}{'recall':20}{'F1':20}{last}".rstrip()]
        for row in self.rows[:_SHOWN]:
            cells = "".join(f"{_cell(metric):20}" for metric in (row.precision, row.recall, row.f1))
            confused = f"{_short(row.taken_for[0][0])} ({row.taken_for[0][1]} times)" if row.taken_for else ""
            line = f"{_short(row.name):{width}}  {row.support:7d}  {row.predicted:9d}  {cells}{confused}"
            lines.append(line.rstrip())
        if len(self.rows) > _SHOWN:
            lines.append(f"... and {len(self.rows) - _SHOWN} more classes")
        return "\n".join(lines)


def per_class(
    predictions: Any,
    labels: Any,
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
    most: int = 3,
) -> ClassTable:
    """Support, precision, recall and F1 of each class or label, with intervals, and what classes are taken for.

    Args:
        predictions, labels, threshold, from_logits, confidence: as for `accuracy`.
        names: of the classes, in order of their numbers.
        most: how many classes to name in `taken_for`.

    Raises:
        MetricError: as for `accuracy`.
    """
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits, names=names)
    return table_of(said, confidence, most)


def table_of(said: Answers, confidence: float = CONFIDENCE, most: int = 3) -> ClassTable:
    """The table of checked answers."""
    counts = Counts.of(said)
    has_matrix = said.task != "multilabel" and len(said.names) <= _LARGEST_MATRIX
    confusions = _confusions(said) if said.task != "multilabel" else ()
    taken_for: dict[str, list[tuple[str, int]]] = {}
    for pair in confusions:
        taken_for.setdefault(pair.name, []).append((pair.taken_for, pair.count))
    rows = tuple(
        ClassRow(
            name=name,
            support=int(counts.tp[number] + counts.fn[number]),
            predicted=int(counts.tp[number] + counts.fp[number]),
            precision=of_class(said, counts, number, "precision", 1.0, confidence),
            recall=of_class(said, counts, number, "recall", 1.0, confidence),
            f1=of_class(said, counts, number, "f", 1.0, confidence),
            taken_for=tuple(taken_for.get(name, [])[:most]),
        )
        for number, name in enumerate(said.names)
    )
    return ClassTable(rows, confusions, confusion_matrix(said) if has_matrix else None, len(said))


def _confusions(said: Answers) -> tuple[Confusion, ...]:
    count = len(said.names)
    wrong = said.labels != said.predicted
    places, times = np.unique(said.labels[wrong] * count + said.predicted[wrong], return_counts=True)
    support = np.bincount(said.labels, minlength=count)
    found = []
    for which in np.argsort(-times, kind="stable").tolist():
        row, column = divmod(int(places[which]), count)
        number = int(times[which])
        found.append(Confusion(said.names[row], said.names[column], number, number / int(support[row])))
    return tuple(found)


def _cell(metric: Metric) -> str:
    return f"{metric.value:.3f} [{metric.low:.2f}, {metric.high:.2f}]" if metric.reason is None else "-"


def _short(name: str, width: int = 24) -> str:
    """A name on one line, and not too long for a table."""
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    return line if len(line) <= width else line[: width - 1] + "…"
