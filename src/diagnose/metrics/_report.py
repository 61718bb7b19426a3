"""All that fits the task, in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MetricError
from diagnose.metrics._calibration import calibration
from diagnose.metrics._class_table import table_of
from diagnose.metrics._classes import Average, Kind, measured, share_right
from diagnose.metrics._coverage import coverage_at_accuracy, coverage_curve
from diagnose.metrics._inputs import Answers, answers, array
from diagnose.metrics._ranking import average_precision, precision_recall_curve, roc_auc
from diagnose.metrics._regression import regression_errors
from diagnose.metrics._result import Metric
from diagnose.stats.intervals import CONFIDENCE

ReportTask: TypeAlias = Literal["binary", "multiclass", "multilabel", "regression"]


class Part(Protocol):
    """What a report is made of: metrics, tables, curves."""

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Report:
    """What `report` returns.

    Attributes:
        task: what was taken to be asked.
        parts: metrics, tables and curves, by name.
    """

    task: ReportTask
    parts: dict[str, Part]

    def __getitem__(self, name: str) -> Part:
        if name not in self.parts:
            raise MetricError(f"The report has no {name!r}; it has {', '.join(self.parts)}.")
        return self.parts[name]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {"task": self.task, **{name: part.to_json() for name, part in self.parts.items()}}

    def __str__(self) -> str:
        single = [str(part) for part in self.parts.values() if isinstance(part, Metric)]
        others = [str(part) for part in self.parts.values() if not isinstance(part, Metric)]
        return "\n\n".join([f"{self.task}\n" + "\n".join(single) if single else self.task, *others])


def report(
    predictions: Any,
    labels: Any,
    *,
    task: ReportTask | None = None,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    accuracy: float = 0.98,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Report:
    """All metrics that fit, to print or to look up.

    Classes and labels: accuracy beside that of the most frequent class, precision, recall, F1, the table of the
    classes. Of scores, too: average precision, ROC AUC, calibration, coverage. Numbers: `regression_errors`.

    Args:
        predictions, labels, threshold, from_logits: as for `accuracy`; or numbers and targets of a regression.
        task: what is asked. By default: multilabel if labels have shape (N, K), or regression if they are not whole;
            regression if labels are not whole or have float predictions of shape (N,) and are not all 0 and 1;
            else binary or multiclass.
        names: of the classes.
        accuracy: for which coverage is reported.
        confidence: of the intervals.
        seed: of the resampling.

    Raises:
        MetricError: as for the single metrics.
    """
    if task is not None and task not in get_args(ReportTask):
        raise MetricError(f"task is {task!r}, and has to be one of {', '.join(get_args(ReportTask))}.")
    given, right = array(predictions, "predictions"), array(labels, "labels")
    if task == "regression" or (task is None and _are_amounts(given, right)):
        return Report("regression", {"errors": regression_errors(given, right, confidence=confidence, seed=seed)})
    said = answers(given, right, threshold=threshold, from_logits=from_logits, names=names)
    if task is not None and said.task != task:
        raise MetricError(f"task is {task!r}, and predictions {given.shape} with labels {right.shape} are {said.task}.")
    parts = dict(_decisions(said, confidence))
    if given.dtype.kind == "f" and not (given.ndim == 1 and said.task == "multiclass"):
        parts |= _scores(given, right, said, accuracy, from_logits, confidence, seed)
    return Report(said.task, parts)


def _are_amounts(given: NDArray[Any], right: NDArray[Any]) -> bool:
    if bool((right != np.floor(right)).any()):
        return True
    is_binary = bool(((right == 0) | (right == 1)).all())
    return given.dtype.kind == "f" and given.shape == right.shape and not is_binary and not _are_whole(given)


def _are_whole(values: NDArray[Any]) -> bool:
    return bool((values == np.floor(values)).all())


def _decisions(said: Answers, confidence: float) -> Iterator[tuple[str, Part]]:
    yield "accuracy", share_right(said, confidence)
    if said.task != "multilabel":
        most = int(np.bincount(said.labels).argmax())
        constant = Answers(said.task, said.labels, np.full_like(said.labels, most), said.names)
        known = share_right(constant, confidence)
        yield "constant", Metric.of(f"accuracy of always saying {said.names[most]}", known.interval, len(said))
    by_task: dict[str, tuple[Average, ...]] = {"binary": ("binary",), "multiclass": ("macro",)}
    hows = by_task.get(said.task, ("macro", "micro"))
    for how in hows:
        for kind in get_args(Kind):
            key = "f1" if kind == "f" else kind
            yield key if how != "micro" else f"micro_{key}", measured(said, kind, 1.0, how, None, confidence)
    yield "classes", table_of(said, confidence)


def _scores(
    given: NDArray[Any],
    right: NDArray[Any],
    said: Answers,
    accuracy: float,
    from_logits: bool,
    confidence: float,
    seed: int,
) -> dict[str, Part]:
    one = said.task == "binary"
    parts: dict[str, Part] = {
        "average_precision": average_precision(given, right, from_logits=from_logits, confidence=confidence),
        "roc_auc": roc_auc(given, right, from_logits=from_logits, confidence=confidence),
    }
    if one:
        parts["precision_recall"] = precision_recall_curve(given, right, from_logits=from_logits, confidence=confidence)
        del parts["average_precision"]  # the curve has it
    if said.task == "multilabel":
        return parts
    parts["calibration"] = calibration(given, right, from_logits=from_logits, confidence=confidence, seed=seed)
    parts["coverage"] = coverage_at_accuracy(
        given, right, accuracy=accuracy, from_logits=from_logits, confidence=confidence
    )
    parts["coverage_curve"] = coverage_curve(given, right, from_logits=from_logits, confidence=confidence)
    return parts
