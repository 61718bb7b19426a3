"""What the network says about each training example, over the whole training: its margin in the training forward pass.

The margin of an example is the probability of its label minus that of the best other class. It is taken from what the
loss keeps for its backward (answers.py), so the model is never run for it. On every step only references are kept;
the arithmetic is done for some dozens of steps together.

Examples are named by their position in the data set (batches.py), verified by their labels; without a DataLoader by a
hash of the row that the first layer is given.

Two means are kept, and neither needs all margins. A network learns right labels before wrong ones, which it learns
by heart later, so late epochs say less:

- with an evaluation: the mean up to twice the time of the best one. A mean over a window stands for its middle, which
  is then the best evaluation itself.
- without: the k-th time that an example is met counts 1/k. That is the mean over windows of all lengths, each doubling
  counting alike: what to assume where the scale of a time is unknown (Jeffreys).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.collect.answers import SOFT, Answer, AnswerReader
from diagnose.collect.batches import Batch, Batches, Ints, Table, names_of
from diagnose.collect.graph import Node
from diagnose.collect.reading import Unseen, accessible

Floats: TypeAlias = NDArray[np.float32]
Window: TypeAlias = Literal["validation", "logarithmic"]

STEPS_KEPT: Final = 32
BYTES_KEPT: Final = 16 * 2**20
STREAMS_KEPT: Final = 4
TABLES_KEPT: Final = 4
EXAMPLES_MOST: Final = 20_000_000
_NODES: Final = 4096
_ROW_VALUES: Final = 4096
_AS_INTEGERS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}

# Reasons; see also answers.py.
UNMATCHED: Final = "the labels of the loss are not those of a batch of a DataLoader"
NO_ROWS: Final = "examples cannot be told apart: there is no DataLoader, and the input of the model is not seen"


@dataclass(eq=False)
class TrackedRows:
    """What is known about the examples of one data set, those that were met; N of them.

    Attributes:
        ids: shape (N,), positions in the data set; in order of first appearance where `hashed`.
        hashes: shape (N,), of the rows; None where positions are known.
        names: file names of all examples of the data set; () if it has none.
        size: of the data set; 0 if unknown.
        times: shape (N,), how often each was met.
        margin: shape (N,), the mean that `window` says.
        margin_all: shape (N,), the plain mean over all times.
        given, predicted, loss: shape (N,), of the last time.
        window: "validation" or "logarithmic"; see the head of this module.
        until: up to how many passes over the examples `margin` is a mean.
        passes: how many there were in all.
        changed: how many times an example had another label than before.
        classes: how many there are.
    """

    ids: Ints
    hashes: NDArray[np.int64] | None
    names: tuple[str, ...]
    size: int
    times: Ints
    margin: Floats
    margin_all: Floats
    given: Ints
    predicted: Ints
    loss: Floats
    window: Window
    until: float
    passes: float
    changed: int
    classes: int


@dataclass(eq=False)
class _Stream:
    """One evaluation that is made again and again: its best value, when that was, and what was known a while later."""

    best: float = math.inf
    at: int = 0
    number: int = 0
    sums: Floats | None = None
    counts: Ints | None = None
    views: int = 0


@dataclass(eq=False)
class _Sums:
    """Running sums, one slot per example; they grow."""

    table: Table | None
    slots: dict[int, int] = field(default_factory=dict)
    views: int = 0
    changed: int = 0
    classes: int = 0
    streams: dict[str, _Stream] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.table.size if self.table is not None else 0
        self.count = np.zeros(size, dtype=np.int32)
        self.sum = np.zeros(size, dtype=np.float32)
        self.fading = np.zeros(size, dtype=np.float32)
        self.given = np.full(size, -1, dtype=np.int32)
        self.predicted = np.full(size, -1, dtype=np.int32)
        self.loss = np.full(size, np.nan, dtype=np.float32)

    def room(self, size: int) -> None:
        grow = max(size, 2 * len(self.count)) - len(self.count) if size > len(self.count) else 0
        if grow:
            for name, filling in _FILLINGS.items():
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.full(grow, filling, dtype=array.dtype)]))

    def take_in(self, parts: list[tuple[Ints, _Numbers]]) -> None:
        """Of several batches, together if no example is met twice in them."""
        self.classes = max(self.classes, *(numbers.classes for _, numbers in parts))
        per_row = [(rows, numbers.per_example(len(rows))) for rows, numbers in parts]
        joined = np.concatenate([rows for rows, _ in per_row])
        if len(per_row) > 1 and len(np.unique(joined)) == len(joined):
            columns = [[getattr(each, name) for _, each in per_row] for name in _COLUMNS]
            self._add(joined, *(np.concatenate(column) for column in columns))
            return
        for rows, each in per_row:
            self._add(rows, each.margin, each.loss, each.given, each.predicted)

    def _add(self, rows: Ints, margin: Floats, loss: Floats, given: Ints, predicted: Ints) -> None:
        good = np.isfinite(margin)
        if not good.all():
            rows, margin, loss = rows[good], margin[good], loss[good]
            given, predicted = given[good], predicted[good]
        if not len(rows):
            return
        self.room(int(rows.max()) + 1)
        before = self.given[rows]
        self.changed += int(((before >= 0) & (before != given)).sum())
        np.add.at(self.count, rows, 1)
        np.add.at(self.sum, rows, margin)
        np.add.at(self.fading, rows, margin / self.count[rows])
        self.given[rows], self.predicted[rows], self.loss[rows] = given, predicted, loss
        self.views += len(rows)

    def look(self) -> None:
        """Keeps the sums of the time that is twice that of the best evaluation, when it has come."""
        for stream in self.streams.values():
            if stream.sums is None and stream.at and self.views >= 2 * stream.at:
                stream.sums, stream.counts, stream.views = self.sum.copy(), self.count.copy(), self.views


_COLUMNS: Final = ("margin", "loss", "given", "predicted")
_FILLINGS: Final = {"count": 0, "sum": 0, "fading": 0, "given": -1, "predicted": -1, "loss": np.nan}


@dataclass(eq=False, slots=True)
class _Waiting:
    answer: Answer
    batches: tuple[Batch, ...]
    rows: Tensor | None
    rows_version: int


class ExampleTracker:
    """Takes in losses and batches, on every step; gives out `TrackedRows`. Memory: 24 bytes per example, 8 more for
    each of at most 4 evaluations; references to the labels and outputs of 32 steps, at most 16 MiB.
    """

    def __init__(self) -> None:
        self.batches = Batches()
        self.reasons: dict[str, int] = {}
        self._reader = AnswerReader()
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._sums: list[_Sums] = []
        self._copies = False
        self._inputs: dict[str, tuple[int, ...] | None] = {}
        self._factors: dict[int, tuple[Tensor | None, Tensor]] = {}

    # -- on every step ----------------------------------------------------------------------------------

    def loss_seen(self, loss: Tensor) -> None:
        """A backward from `loss` begins."""
        answer = self._reader.read(loss)
        if isinstance(answer, str):
            self._complain(answer)
            return
        batches = self.batches.recent
        rows = None
        if not batches:
            rows = self._rows_of(answer)
            if rows is None:
                self._complain(self.batches.reason or NO_ROWS)
                return
        answer.node = None  # it would keep the whole graph alive
        if self._copies:
            answer.outputs, answer.labels = answer.outputs.clone(), answer.labels.clone()
            answer.versions = (answer.outputs._version, answer.labels._version)
        answer_bytes = answer.outputs.nbytes + (rows.nbytes if rows is not None else 0)
        self._waiting.append(_Waiting(answer, tuple(batches), rows, rows._version if rows is not None else 0))
        self._bytes += answer_bytes
        if len(self._waiting) >= STEPS_KEPT or self._bytes >= BYTES_KEPT:
            self.flush()

    def evaluated(self, stream: str, value: float) -> None:
        """An evaluation has come out as `value`; less is better."""
        self.flush()
        for sums in self._sums:
            if not sums.views:
                continue
            known = sums.streams.get(stream)
            if known is None:
                if len(sums.streams) >= STREAMS_KEPT:
                    continue
                known = sums.streams[stream] = _Stream()
            known.number += 1
            if value < known.best:
                known.best, known.at, known.sums, known.counts = value, sums.views, None, None

    # -- some dozens of steps together --------------------------------------------------------------------

    def flush(self) -> None:
        """Takes in what waits; nothing while a dispatch mode of the user's would see it."""
        if torch._C._len_torch_dispatch_stack():
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        whole = [each for each in waiting if each.answer.is_intact]
        if len(whole) < len(waiting):
            self._copies = True  # outputs or labels are buffers that are written again
        if not whole:
            return
        with Unseen():
            judged = _judge([each.answer for each in whole])
            named: dict[int, list[tuple[Ints, _Numbers]]] = {}
            for each, numbers in zip(whole, judged, strict=True):
                if numbers is None:
                    self._complain(SOFT)
                elif (found := self._name(each, numbers)) is not None:
                    named.setdefault(self._sums.index(found[1]), []).append((found[0], numbers))
        for index, parts in named.items():
            self._sums[index].take_in(parts)
        for sums in self._sums:
            sums.look()

    def _name(self, waiting: _Waiting, numbers: _Numbers) -> tuple[Ints, _Sums] | None:
        """Which examples the numbers are about."""
        if waiting.rows is not None:
            if waiting.rows._version != waiting.rows_version:
                return None
            rows, sums = self._hashed(waiting.rows, numbers)
        else:
            matched = self._matched(waiting)
            if matched is None:
                self._complain(UNMATCHED)
                return None
            batch, start, count = matched
            rows, sums = batch.rows[start : start + count], self._sums_of(batch.table)
        if sums is None or not len(rows) or len(numbers.margin) % len(rows):
            return None
        return rows, sums

    def _matched(self, waiting: _Waiting) -> tuple[Batch, int, int] | None:
        """The batch that these labels came with, newest first; and which of its examples they are of."""
        labels = waiting.answer.labels.cpu()
        for batch in reversed(waiting.batches):
            for place, candidate in batch.candidates.items():
                found = _part_of(labels, candidate, batch)
                if found is None:
                    continue
                start, count = found
                batch.used = start + count
                self.batches.place = place
                return batch, start, count
        return None

    def _sums_of(self, table: Table | None) -> _Sums | None:
        for sums in self._sums:
            if sums.table is table:
                return sums
        if len(self._sums) >= TABLES_KEPT or (table is not None and table.size > EXAMPLES_MOST):
            return None
        self._sums.append(_Sums(table))
        return self._sums[-1]

    def _complain(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    # -- without a DataLoader -------------------------------------------------------------------------------

    def _rows_of(self, answer: Answer) -> Tensor | None:
        """What the first layer was given, of as many rows as there are labels; None if it cannot be found."""
        count = len(answer.labels)
        node = answer.node
        if node is None:
            return None
        key = node.name()
        path = self._inputs.get(key)
        found = _input_at(node, path) if path else None
        if found is None:
            path, found = _find_input(node, count)
            self._inputs[key] = path
        return found if found is not None and accessible(found) and len(found) == count else None

    def _hashed(self, rows: Tensor, numbers: _Numbers) -> tuple[Ints, _Sums | None]:
        sums = self._sums_of(None)
        if sums is None:
            return np.zeros(0, np.int64), None
        hashes = self.hashes(rows).tolist()
        slots = sums.slots
        if len(slots) + len(hashes) > EXAMPLES_MOST:
            return np.zeros(0, np.int64), None
        return np.array([slots.setdefault(value, len(slots)) for value in hashes], dtype=np.int64), sums

    def hashes(self, rows: Tensor) -> NDArray[np.int64]:
        """One number per row, shape (N,): the same bytes give the same number."""
        flat = rows.detach().reshape(len(rows), -1)
        width = flat.shape[1]
        if width not in self._factors:
            numbers = np.random.Generator(np.random.PCG64(width))  # our own: not the user's random state
            picked = None
            if width > _ROW_VALUES:
                picked = torch.from_numpy(np.sort(numbers.choice(width, _ROW_VALUES, replace=False)))
            factors = numbers.integers(-(2**62), 2**62, size=min(width, _ROW_VALUES)) * 2 + 1
            self._factors[width] = picked, torch.from_numpy(factors)
        picked, weights = self._factors[width]
        if picked is not None:
            flat = flat.index_select(1, picked.to(flat.device))
        if flat.is_floating_point():
            flat = flat.contiguous().view(_AS_INTEGERS.get(flat.element_size(), torch.int8))
        mixed = flat.to(torch.int64)
        # Spread before the sum: values of few different bits would give sums of few different ones.
        mixed = (mixed ^ (mixed >> 15)) * weights.to(flat.device)[: mixed.shape[1]]
        return np.asarray((mixed ^ (mixed >> 31)).sum(dim=1).cpu().numpy(), dtype=np.int64)

    # -- results ------------------------------------------------------------------------------------------

    def result(self) -> TrackedRows | None:
        """What is known by now about the data set that was trained on most; None if nothing is."""
        self.flush()
        sums = max(self._sums, key=lambda each: each.views, default=None)
        return _rows_of(sums) if sums is not None and sums.views else None

    @property
    def reason(self) -> str:
        """Why nothing, or not everything, is tracked: the most frequent reason; "" if there is none."""
        return max(self.reasons, key=lambda each: self.reasons[each], default="")


# -- arithmetic -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Numbers:
    """Of M labels; `margin` is NaN where none counts."""

    margin: Floats
    loss: Floats
    given: Ints
    predicted: Ints
    classes: int

    def per_example(self, count: int) -> _Numbers:
        """Of `count` examples with equally many labels each: mean margin and loss, the classes of the worst one."""
        if len(self.margin) == count:
            return self
        margin = self.margin.reshape(count, -1)
        counts = np.isfinite(margin)
        number = np.maximum(counts.sum(axis=1), 1)
        mean = np.where(counts, margin, 0).sum(axis=1) / number
        loss = np.where(counts, self.loss.reshape(count, -1), 0).sum(axis=1) / number
        worst = np.where(counts, margin, np.inf).argmin(axis=1)
        pick = (np.arange(count), worst)
        return _Numbers(
            np.where(counts.any(axis=1), mean, np.nan).astype(np.float32),
            loss.astype(np.float32),
            self.given.reshape(count, -1)[pick],
            self.predicted.reshape(count, -1)[pick],
            self.classes,
        )


def _judge(answers: list[Answer]) -> list[_Numbers | None]:
    """The margins of each; None where labels are soft. Answers that fit together are computed and read together."""
    groups: dict[Any, list[int]] = {}
    for index, answer in enumerate(answers):
        outputs = answer.outputs
        width = outputs.shape[1] if answer.scale in ("log", "probability") else 0
        groups.setdefault((answer.scale, width, answer.ignored, outputs.device, outputs.dtype), []).append(index)
    judged: list[_Numbers | None] = [None] * len(answers)
    for (scale, width, ignored, *_), members in groups.items():
        flat = [_flat(answers[index], width) for index in members]
        outputs, labels = torch.cat([each[0] for each in flat]), torch.cat([each[1] for each in flat])
        compute = _judge_classes if width else _judge_binary
        table = compute(outputs, labels, scale, ignored).cpu().numpy()
        start = 0
        for index, (_, its_labels) in zip(members, flat, strict=True):
            part = table[:, start : start + len(its_labels)]
            start += len(its_labels)
            if not np.isinf(part[0]).any():
                margin, loss = part[:2].astype(np.float32)
                given, predicted = part[2:].astype(np.int64)
                judged[index] = _Numbers(margin, loss, given, predicted, width or 2)
    return judged


def _flat(answer: Answer, width: int) -> tuple[Tensor, Tensor]:
    """Outputs of shape (M, K), or (M,) of binary labels; labels of shape (M,). An example's places lie side by side."""
    outputs = answer.outputs
    if width and outputs.dim() > 2:
        outputs = outputs.movedim(1, -1)
    outputs = outputs.reshape(-1, width) if width else outputs.reshape(-1)
    return outputs, answer.labels.reshape(-1)


def _judge_classes(outputs: Tensor, labels: Tensor, scale: str, ignored: int | None) -> Tensor:
    """Shape (4, M): margin, loss, given, predicted."""
    log = outputs.to(torch.float32) if scale == "log" else outputs.to(torch.float32).clamp_min(1e-38).log()
    counts = (labels >= 0) & (labels < log.shape[1])
    if ignored is not None:
        counts &= labels != ignored
    given = torch.where(counts, labels, 0).to(torch.int64)
    own = log.gather(1, given[:, None])
    best, other = log.scatter(1, given[:, None], -math.inf).max(dim=1)
    margin = own[:, 0].exp() - best.exp()
    margin = torch.where(counts, margin, math.nan)
    predicted = torch.where(own[:, 0] >= best, given, other)
    return torch.stack([margin.double(), -own[:, 0].double(), given.double(), predicted.double()])


def _judge_binary(outputs: Tensor, labels: Tensor, scale: str, ignored: int | None) -> Tensor:
    """As `_judge_classes`; the margin of a label that is neither 0 nor 1 is inf."""
    probability = outputs.to(torch.float32)
    probability = probability.sigmoid() if scale == "odds" else probability
    hard = (labels == 0) | (labels == 1)
    own = torch.where(labels == 1, probability, 1 - probability)
    margin = torch.where(hard, 2 * own - 1, math.inf)
    loss = -own.clamp_min(1e-38).log()
    return torch.stack([margin.double(), loss.double(), labels.double(), (probability > 0.5).double()])


def _part_of(labels: Tensor, candidate: Tensor, batch: Batch) -> tuple[int, int] | None:
    """Which examples of a batch (the first, how many) have these labels by `candidate`; None if they are not its."""
    if candidate.is_floating_point() and not labels.is_floating_point():
        return None
    total, per_example = candidate.numel(), candidate.numel() // len(batch.rows)
    flat, its = labels.reshape(-1), candidate.detach().cpu().reshape(-1)
    if len(flat) == total and not batch.used:
        return (0, len(batch.rows)) if _agree(flat, its) else None
    if len(flat) < total and len(flat) % per_example == 0:  # a part of a batch: its gradients are added up
        start = batch.used * per_example
        if start + len(flat) <= total and _agree(flat, its[start : start + len(flat)]):
            return batch.used, len(flat) // per_example
    if candidate.dim() == 2 and not batch.used and len(flat) == total - len(batch.rows):
        shifted = candidate.detach().cpu()[:, 1:].reshape(-1)  # a language model: the next token is the label
        return (0, len(batch.rows)) if _agree(flat, shifted) else None
    return None


def _agree(labels: Tensor, candidate: Tensor) -> bool:
    """Whether they are the same, or the same but for the names of the classes: digits from 1, say."""
    if labels.dtype == candidate.dtype and torch.equal(labels, candidate):
        return True
    first, second = labels.to(torch.float64), candidate.to(torch.float64)
    if torch.equal(first, second):
        return True
    kinds, named = torch.unique(second).numel(), torch.unique(first).numel()
    if kinds != named or kinds < 2 or kinds > len(labels) // 2:
        return False  # of labels that are all different, any others are new names
    pairs: Tensor = torch.unique(torch.stack([first, second]), dim=1)
    return bool(pairs.shape[1] == kinds)


# -- what the first layer is given --------------------------------------------------------------------------

_INPUTS: Final = {
    "AddmmBackward0": ("_saved_mat1", 1),
    "MmBackward0": ("_saved_self", 0),
    "LinearBackward0": ("_saved_input", 0),
    "ConvolutionBackward0": ("_saved_input", 0),
    "NativeBatchNormBackward0": ("_saved_input", 0),
    "EmbeddingBackward0": ("_saved_indices", None),
}


def _input_of(node: Node) -> Tensor | None:
    """The data that a layer was given, if no other layer made them."""
    attribute, data = _INPUTS.get(node.name(), ("", None))
    if not attribute or (data is not None and node.next_functions[data][0] is not None):
        return None
    try:
        value = getattr(node, attribute)
    except (RuntimeError, AttributeError):
        return None
    return value.detach() if isinstance(value, Tensor) else None


def _input_at(node: Node, path: tuple[int, ...]) -> Tensor | None:
    for index in path:
        below = node.next_functions
        if index >= len(below) or below[index][0] is None:
            return None
        node = below[index][0]
    return _input_of(node)


def _find_input(root: Node, count: int) -> tuple[tuple[int, ...] | None, Tensor | None]:
    seen = {root}
    queue: deque[tuple[Node, tuple[int, ...]]] = deque([(root, ())])
    while queue and len(seen) < _NODES:
        node, path = queue.popleft()
        found = _input_of(node)
        if found is not None and found.dim() and len(found) == count:
            return path, found
        for index, (below, _) in enumerate(node.next_functions):
            if below is not None and below not in seen:
                seen.add(below)
                queue.append((below, (*path, index)))
    return None, None


# -- results ----------------------------------------------------------------------------------------------


def _rows_of(sums: _Sums) -> TrackedRows:
    met = np.flatnonzero(sums.count)
    times = sums.count[met].astype(np.int64)
    plain = sums.sum[met] / times
    harmonic = np.cumsum(1 / np.arange(1, int(times.max()) + 1))
    margin, until = sums.fading[met] / harmonic[times - 1], sums.views / len(met)
    window: Window = "logarithmic"
    # Of several the one whose best came first: a training set that is evaluated, too, has its best at the end.
    stream = min((s for s in sums.streams.values() if s.number > 1), key=lambda s: s.at, default=None)
    if stream is not None:
        window = "validation"
        margin = plain
        if stream.sums is not None and stream.counts is not None:
            counts = np.zeros(len(sums.count), np.int64)
            kept = np.zeros(len(sums.count), np.float32)
            counts[: len(stream.counts)], kept[: len(stream.sums)] = stream.counts, stream.sums
            # An example that was met later only has all its times.
            margin = np.where(counts[met] > 0, kept[met] / np.maximum(counts[met], 1), plain)
            until = stream.views / len(met)
    dataset = sums.table.dataset if sums.table is not None else None
    hashes = None
    if sums.table is None:
        hashes = np.fromiter(sums.slots, dtype=np.int64, count=len(sums.slots))[met]
    return TrackedRows(
        met.astype(np.int64),
        hashes,
        names_of(dataset),
        sums.table.size if sums.table is not None else 0,
        times,
        margin.astype(np.float32),
        plain.astype(np.float32),
        sums.given[met].astype(np.int64),
        sums.predicted[met].astype(np.int64),
        sums.loss[met],
        window,
        until,
        sums.views / len(met),
        sums.changed,
        sums.classes,
    )
