"""Whether labels dissent from what near examples and the network say: some rows are kept, and compared at the end.

Labels that are wrong, and classes that overlap, both make labels dissent. They differ in where: see stats/dissent.py.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.reading import Unseen, readable, spread_columns
from diagnose.history import DissentFacts
from diagnose.stats.dissent import Ints, agreement, dissent, times_of_one_mind, vote

ROWS_KEPT: Final = 2048
ROWS_OF_A_BATCH: Final = 256
COLUMNS_KEPT: Final = 256
CLASSES_MOST: Final = 100
LOSSES_KEPT: Final = 4
REGIONS_KEPT: Final = 100
_FEWEST: Final = 64
_ODDS: Final = frozenset({"cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"})


@dataclass(eq=False)
class _Rows:
    """Rows of one batch: what they hold, their labels, and the two best guesses of the network.

    Attributes:
        features: shape (N, D), float32.
        top, certainty: the two guesses, shape (N, 2), and by how much the first is ahead of the second, shape (N,).
        are_images: whether all columns are of one kind, as pixels are.
    """

    step: int
    features: Tensor
    labels: Tensor
    top: Tensor
    certainty: Tensor
    are_images: bool


@dataclass(eq=False)
class _Call:
    """A loss call of this interval."""

    file: str | None
    line: int | None
    output: weakref.ref[Tensor]
    rows: _Rows


class DissentCollector(Collector):
    """Fills `history.dissents`, for each loss call that is given one class per example, when the watch ends.

    Only of models with one floating point input: an image, a series or a row of a table. Kept of a batch are at most
    256 examples, of an example at most 256 values, evenly spread; where 2,048 rows are kept, every second batch of
    every call is dropped. Memory: 2 MiB for each of at most 4 loss calls; in the end some 30 MiB for a moment, and 0.2
    seconds.
    """

    name: ClassVar[str] = "dissent"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        # One for each model that ran, None if it cannot be compared.
        self._inputs: list[tuple[Tensor, bool] | None] = []
        self._calls: list[_Call] = []
        self._kept: dict[str, list[_Rows]] = {}
        self._places: dict[str, tuple[str, str | None, int | None]] = {}
        self._turn = -1
        self._stride = 1
        self._reads = True
        self._mixed: set[tuple[str | None, int | None]] = set()

    def interval_begins(self, stepped: object, follows: bool) -> None:
        self._inputs.clear()
        self._calls.clear()
        self._turn += 1
        self._reads = self._turn % self._stride == 0

    def backward_begins(self, loss: Loss | None) -> None:
        self._inputs.clear()

    def model_ran(self, run: ModelRun) -> None:
        if not self._reads or not run.training or len(self._inputs) >= 2:
            return
        tensors = [t for t in (*run.args, *run.kwargs.values()) if isinstance(t, Tensor)]
        # A loss module, or a head that is given what another module made, is no model of the data.
        if any(t.requires_grad for t in tensors) or next(run.module.parameters(), None) is None:
            return
        if len(tensors) == 1 and readable(tensors[0]) and tensors[0].dim() in (2, 3, 4):
            with Unseen():
                self._inputs.append((_features(self._part(tensors[0].detach())), tensors[0].dim() == 4))
        else:
            self._inputs.append(None)

    def loss_called(self, call: LossCall) -> None:
        # With several models it is not known which of them this loss is about.
        if not call.training or len(self._inputs) != 1 or len(self._calls) >= LOSSES_KEPT:
            return
        given, labels = self._inputs[0], call.class_labels
        if given is None or labels is None or not readable(call.input) or len(labels) != len(call.input):
            return
        with Unseen():
            labels = self._part(labels)
            if len(labels) != len(given[0]):
                return
            top, certainty = _guesses(call.name, self._part(call.input.detach()))
            rows = _Rows(0, given[0], labels.to(torch.int64, copy=True), top, certainty, given[1])
            self._note(_Call(call.file, call.line, weakref.ref(call.input), rows))

    def step_ends(self, step: Step) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            scope = f"{step.name}@{call.file}:{call.line}"
            if scope not in self._kept and len(self._kept) >= LOSSES_KEPT:
                continue
            self._places[scope] = step.name, call.file, call.line
            with Unseen():
                self._keep(self._kept.setdefault(scope, []), call.rows, step.number)

    def finish(self) -> None:
        for scope, kept in self._kept.items():
            optimizer, file, line = self._places[scope]
            if kept and (file, line) not in self._mixed:
                facts = _compare(kept)
                if facts is not None:
                    facts.optimizer, facts.file, facts.line = optimizer, file, line
                    self.history.dissents[scope] = facts
        self._kept = {}

    def _part(self, tensor: Tensor) -> Tensor:
        """At most ROWS_OF_A_BATCH rows in a row; of a larger batch others from turn to turn."""
        windows = -(-len(tensor) // ROWS_OF_A_BATCH)
        if windows <= 1:
            return tensor
        start = min(self.shared.turn % windows * ROWS_OF_A_BATCH, len(tensor) - ROWS_OF_A_BATCH)
        return tensor[start : start + ROWS_OF_A_BATCH]

    def _note(self, new: _Call) -> None:
        """Two losses of the same outputs with different labels are a mixture of examples, as mixup makes."""
        for call in self._calls:
            if call.output() is new.output() and not torch.equal(call.rows.labels, new.rows.labels):
                self._mixed |= {(call.file, call.line), (new.file, new.line)}
        if all((call.file, call.line) != (new.file, new.line) for call in self._calls):
            self._calls.append(new)

    def _keep(self, kept: list[_Rows], rows: _Rows, step: int) -> None:
        features, labels, top, certainty = (t.cpu() for t in (rows.features, rows.labels, rows.top, rows.certainty))
        new = _Rows(step, features, labels, top, certainty, rows.are_images)
        if kept and kept[0].features.shape[1] != new.features.shape[1]:
            return
        kept.append(new)
        if sum(len(each.labels) for each in kept) > ROWS_KEPT:
            self._stride *= 2
            for each_kept in self._kept.values():
                del each_kept[1::2]


def _features(rows: Tensor) -> Tensor:
    """A copy as float32, shape (N, D), D at most COLUMNS_KEPT: of images a smaller one, else evenly spread values."""
    side = math.isqrt(COLUMNS_KEPT // rows.shape[1]) if rows.dim() == 4 else 0
    if side and max(rows.shape[2:]) > side:
        height, width = (min(side, size) for size in rows.shape[2:])
        return F.adaptive_avg_pool2d(rows.to(torch.float32), (height, width)).reshape(len(rows), -1)
    return spread_columns(rows.reshape(len(rows), -1), COLUMNS_KEPT).to(torch.float32, copy=True)


def _guesses(loss: str, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The two best classes of each row, and by how much the better one is ahead, on any increasing scale."""
    outputs = outputs.to(torch.float32)
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        score = outputs.reshape(-1) - (0.0 if loss in _ODDS else 0.5)
        first = (score > 0).to(torch.int64)
        return torch.stack([first, 1 - first], dim=1), score.abs()
    if loss in _ODDS:
        outputs = outputs.log_softmax(dim=1)
    best = outputs.topk(2, dim=1)
    return best.indices, best.values[:, 0] - best.values[:, 1] if loss not in _ODDS else best.values[:, 0]


def _compare(kept: list[_Rows]) -> DissentFacts | None:
    features = _joined([rows.features for rows in kept])
    labels: Ints = _joined([rows.labels for rows in kept])
    top = _joined([rows.top for rows in kept])
    certainty = _joined([rows.certainty for rows in kept]).astype(np.float64)
    steps = np.concatenate([np.full(len(rows.labels), rows.step) for rows in kept])
    good = np.isfinite(features).all(axis=1) & np.isfinite(certainty) & (labels >= 0)
    features, labels, top, certainty, steps = (a[good] for a in (features, labels, top, certainty, steps))
    classes = len(np.unique(labels))
    if len(labels) < _FEWEST or not 2 <= classes <= CLASSES_MOST or labels.max() >= 10 * CLASSES_MOST:
        return None
    said = vote(features, labels, alike=kept[0].are_images)
    agree = said.winner == top[:, 0]
    times = times_of_one_mind(agree)
    # An example that was met several times counts once, as it was first met in that time.
    _, first = np.unique(features[times.asked], axis=0, return_index=True)
    asked = np.flatnonzero(times.asked)[np.sort(first)]
    judged = asked[agree[asked]]
    found = dissent(said.winner[judged], labels[judged], top[judged, 1], said.share[judged], certainty[judged])
    return DissentFacts(
        first_step=int(steps[asked].min()),
        last_step=int(steps[asked].max()),
        classes=classes,
        agreement=agreement(said.winner[times.best], top[times.best, 0]),
        regions=_regions(said.winner[judged], labels[judged]),
        **found._asdict(),
    )


def _regions(expected: Ints, labels: Ints) -> list[tuple[int, int, int, int, int]]:
    regions = []
    for region in np.unique(expected)[:REGIONS_KEPT]:
        given = labels[expected == region]
        others, counts = np.unique(given[given != region], return_counts=True)
        other, most = (int(others[counts.argmax()]), int(counts.max())) if len(others) else (-1, 0)
        regions.append((int(region), len(given), int(counts.sum()), other, most))
    return regions


def _joined(parts: list[Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).numpy()
    return joined
