"""Whether the labels follow the inputs: examples and their labels, from the first batches, compared once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.reading import Unseen, spread_columns
from diagnose.history import NeighbourFacts
from diagnose.stats.neighbours import agreement, fitted_agreement, nearest, nearness

ROWS_KEPT: Final = 1024
ROWS_OF_A_BATCH: Final = 128
COLUMNS_KEPT: Final = 256
_SHIFTS: Final = (-3, -2, -1, 1, 2, 3)
_CLASSES_MOST: Final = 100


class NeighbourCollector(Collector):
    """Fills `history.neighbours`, for each loss call that is given one class per example, when it has 1,024 rows.

    Kept of a batch are its first 128 examples in a row, of an example at most 256 values, evenly spread. Memory: 1 MiB
    for each of at most 4 loss calls, until they are compared, which takes some 30 ms, once.
    """

    name: ClassVar[str] = "neighbours"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._inputs: list[NDArray[np.float64]] = []  # one for each model that ran, empty if it cannot be compared
        self._rows: dict[str, list[tuple[NDArray[np.float64], NDArray[np.int64]]]] = {}
        self._facts: dict[str, NeighbourFacts] = {}
        self._pending: list[tuple[str | None, int | None, NDArray[np.float64], NDArray[np.int64]]] = []

    def interval_begins(self, stepped: object, follows: bool) -> None:
        self._inputs.clear()
        self._pending.clear()

    def model_ran(self, run: ModelRun) -> None:
        if not run.training or self._is_done() or len(self._inputs) >= 4:
            return
        tensors = [t for t in (*run.args, *run.kwargs.values()) if isinstance(t, Tensor)]
        # An image or a row of a table can be compared as it is; sequences, graphs and ids need more than a distance.
        if len(tensors) == 1 and tensors[0].dim() in (2, 4) and tensors[0].is_floating_point():
            with Unseen():
                self._inputs.append(_features(tensors[0]))
        else:
            self._inputs.append(np.zeros((0, 1)))

    def loss_called(self, call: LossCall) -> None:
        # With several models it is not known which of them this loss is about.
        if not call.training or len(self._inputs) != 1 or self._is_done() or self._pending:
            return
        features = self._inputs[0]
        labels = call.class_labels
        if labels is None or not len(features) or len(labels[:ROWS_OF_A_BATCH]) != len(features):
            return
        with Unseen():
            values = labels[:ROWS_OF_A_BATCH].to("cpu", torch.int64).numpy().copy()
        self._pending.append((call.file, call.line, features, values))

    def step_ends(self, step: Step) -> None:
        for file, line, features, labels in self._pending:
            scope = f"{step.name}@{file}:{line}"
            if scope not in self._facts:
                if len(self._facts) >= 4:
                    continue
                self._facts[scope] = NeighbourFacts(step.name, file, line)
            batches = self._rows.setdefault(scope, [])
            if scope in self.history.neighbours or (batches and batches[0][0].shape[1] != features.shape[1]):
                continue
            batches.append((features, labels))
            if sum(len(rows) for rows, _ in batches) >= ROWS_KEPT:
                self._compare(scope)
        self._pending.clear()

    def finish(self) -> None:
        for scope in tuple(self._rows):
            if scope not in self.history.neighbours:
                self._compare(scope)

    def _is_done(self) -> bool:
        return bool(self._facts) and all(scope in self.history.neighbours for scope in self._facts)

    def _compare(self, scope: str) -> None:
        batches, self._rows[scope] = self._rows[scope], []
        facts = self._facts[scope]
        self.history.neighbours[scope] = facts
        if not batches:
            return
        rows = np.concatenate([rows for rows, _ in batches])
        neighbours = nearest(rows)
        # An example that was met in several batches counts once.
        counted = {row.tobytes(): index for index, row in reversed(list(enumerate(rows)))}
        again = np.setdiff1d(np.arange(len(rows)), list(counted.values()))
        neighbours[again] = -1
        labels = [labels for _, labels in batches]
        found = agreement(np.concatenate(labels), neighbours)
        near = nearness(rows)
        facts.nearness = near if math.isfinite(near) else 1.0
        facts.classes = len(np.unique(np.concatenate(labels)))
        facts.rows, facts.agree, facts.by_chance, facts.sigmas = found
        if facts.classes > _CLASSES_MOST:
            return
        fitted = fitted_agreement(rows, np.concatenate(labels))
        facts.fitted_agree, facts.fitted_sigmas = fitted.share, fitted.sigmas
        for name, moved in _realigned(labels):
            other = agreement(np.concatenate(moved), neighbours)
            if other.sigmas > facts.moved_sigmas:
                facts.moved, facts.moved_agree, facts.moved_sigmas = name, other.share, other.sigmas


def _features(inputs: Tensor) -> NDArray[np.float64]:
    rows = inputs.detach()[:ROWS_OF_A_BATCH].reshape(min(len(inputs), ROWS_OF_A_BATCH), -1)
    features: NDArray[np.float64] = spread_columns(rows, COLUMNS_KEPT).to("cpu", torch.float64).numpy().copy()
    return features


def _realigned(labels: list[NDArray[Any]]) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """The labels of each batch moved against its inputs, in ways in which a slip of the pen would move them."""
    for shift in _SHIFTS:
        yield f"moved by {shift:+d}", [np.roll(batch, shift) for batch in labels]
    yield "in reverse", [batch[::-1] for batch in labels]
