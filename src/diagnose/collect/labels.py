"""Which classes the batches are made of, as the loss functions are told."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.reading import Unseen
from diagnose.collect.targets import BY_INDEX
from diagnose.history import LabelFacts

BATCHES_KEPT: Final = 64
LABELS_READ: Final = 1024
LOSSES_KEPT: Final = 16


class LabelCollector(Collector):
    """Keeps, for each loss call, the class counts of at most 64 batches; when full, every second one is dropped.

    Only labels of whole examples count: one per row of what the model was given, not those of tokens or pixels, nor of
    a stream over which the model carries its state.
    """

    name: ClassVar[str] = "labels"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sizes: set[int] = set()
        self._carries_state = False
        self._pending: dict[tuple[str | None, int | None], list[list[int]]] = {}
        self._stride: dict[str, int] = {}
        self._met: dict[str, int] = {}

    def backward_ends(self) -> None:
        self._sizes.clear()
        self._carries_state = False

    def model_ran(self, run: ModelRun) -> None:
        if run.training:
            tensors = [value for value in (*run.args, *run.kwargs.values()) if isinstance(value, Tensor)]
            self._sizes.update(value.shape[0] for value in tensors if value.dim())
            self._carries_state |= _carries_state(run)

    def loss_called(self, call: LossCall) -> None:
        if not call.training or self._carries_state:
            return
        labels = call.class_labels
        if labels is None or (self._sizes and len(labels) not in self._sizes):
            return
        key = call.file, call.line
        if key in self._pending or len(self._pending) < LOSSES_KEPT:
            # Only the composition of a batch counts, so any of its examples will do: spread over all of it.
            labels = labels[:: -(-len(labels) // LABELS_READ)]
            self._pending.setdefault(key, []).append(known_labels(labels, call).tolist())

    def step_ends(self, step: Step) -> None:
        pending, self._pending = self._pending, {}
        for (file, line), parts in pending.items():
            counts = Counter(label for part in parts for label in part)
            scope = f"{step.name}@{file}:{line}"
            facts = self.history.labels.get(scope)
            if facts is None:
                if len(self.history.labels) >= LOSSES_KEPT:
                    continue
                facts = self.history.labels[scope] = LabelFacts(step.name, file, line)
            # Neighbours in time are what shows long runs: they are thinned in pairs.
            turn = self._met[scope] = self._met.get(scope, -1) + 1
            if (turn // 2) % self._stride.setdefault(scope, 1) == 0 and counts:
                facts.batches.append((step.number, list(counts), list(counts.values())))
                if len(facts.batches) > BATCHES_KEPT:
                    self._stride[scope] *= 2
                    facts.batches = [b for i, b in enumerate(facts.batches) if (i // 2) % 2 == 0]


def _carries_state(run: ModelRun) -> bool:
    """Whether the model is given a state of the form of one that it returns: then its batches are a stream in order."""
    returned = run.output[1:] if isinstance(run.output, tuple) else ()
    given = (*run.args[1:], *run.kwargs.values())
    shapes, forms = (
        {part.shape for value in values for part in (value if isinstance(value, tuple | list) else (value,))
         if isinstance(part, Tensor)}
        for values in (returned, given)
    )  # fmt: skip
    return bool(shapes & forms)


def known_labels(labels: Tensor, call: LossCall) -> NDArray[np.int64]:
    """The labels on the host, without those that the loss ignores."""
    with Unseen():
        values: NDArray[np.int64] = labels.to("cpu", torch.int64).numpy().copy()
    if call.name in BY_INDEX:
        values = values[values != call.options.get("ignore_index", -100)]
    return values
