"""Which rows of data are met in training and in evaluation, and with which labels: by hashes of their bytes."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite, code_id, user_frame
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.labels import known_labels
from diagnose.collect.reading import Unseen, accessible
from diagnose.history import EvaluationRows, PairFacts

ROWS_READ: Final = 8192
"""Of a call with more rows, nothing is read: half of a set would tell nothing about its share in another."""

COLUMNS_READ: Final = 128
ROWS_OF_A_LOOK: Final = 256
FINE_ROWS: Final = 32
FINE_COLUMNS: Final = 3
HASHES_KEPT: Final = 32_768
PASSES_KEPT: Final = 8
BATCHES_KEPT: Final = 512
FACTS_KEPT: Final = 32
DEPTH: Final = 4

Hashes: TypeAlias = NDArray[np.uint64]
_Place: TypeAlias = tuple[tuple[int, int], ...]
_AS_INTEGERS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(eq=False)
class _Pass:
    """What one place of the program evaluates.

    Attributes:
        latest: hashes of the batches of the latest phase, and `trained_before` rows that training had had by then.
        discrete: whether all values of the first batch were whole numbers.
        fine: as EvaluationRows.fine, told from the first batch.
        loaders: of the latest phase, for each batch the number of the pass over a DataLoader that began last before it,
            within the phase; 0 if none did.
        met: all hashes.
        phases: phases in which it ran.
        again, later: rows of later phases, and those of them that had been met before.
        beside: phases in which a training pass over the same rows came right after.
    """

    site: CallSite | None
    discrete: bool
    fine: bool
    loaders: list[int] = field(default_factory=list)
    latest: list[Hashes] = field(default_factory=list)
    trained_before: int = 0
    met: set[int] = field(default_factory=set)
    phases: int = 0
    phase: int = -1
    later: int = 0
    again: int = 0
    beside: int = 0
    too_many: bool = False


@dataclass(eq=False)
class _Model:
    """The rows of one model: those it was trained on with the label that came first (-1: none), and its passes."""

    name: str
    trained: dict[int, int] = field(default_factory=dict)
    labels: Counter[int] = field(default_factory=Counter)
    batches: int = 0
    drawn: int = 0
    seen_before: list[float] = field(default_factory=list)
    largest_batch: int = 0
    twins: int = 0
    again: int = 0
    agreed: int = 0
    passes: dict[_Place, _Pass] = field(default_factory=dict)
    site: CallSite | None = None
    optimizer: str = ""
    latest: Tensor | None = None
    too_many: bool = False


@dataclass(eq=False)
class _Batch:
    """Rows that a model has just been given; the hashes are read when the step is over."""

    model: _Model
    hashes: Tensor
    site: CallSite | None
    discrete: bool = False
    fine: bool = False
    loader: int = 0
    labels: NDArray[np.int64] | None = None


class RowCollector(Collector):
    """Hashes rows of a model's first tensor: all in evaluation, in training those of sampled steps.

    At most HASHES_KEPT hashes are kept of a model's training, and of each of its evaluations, at 100 bytes each; beyond
    that nothing is said of it.
    """

    name: ClassVar[str] = "rows"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._models: weakref.WeakKeyDictionary[nn.Module, _Model] = weakref.WeakKeyDictionary()
        self._known: list[_Model] = []  # of models that are gone, too
        self._columns: dict[tuple[int, ...], tuple[tuple[Tensor, ...], Tensor]] = {}
        self._running: dict[int, _Batch] = {}
        self._trained: list[_Batch] = []
        self._evaluated: list[tuple[_Batch, _Place, int]] = []
        self._last: tuple[weakref.ref[Tensor], int, Tensor] | None = None
        self._phase = 0
        self._loader = 0
        self._told = 0

    # -- what is given to models ----------------------------------------------------------------------

    def evaluation_begins(self) -> None:
        self._phase += 1
        self._loader = 0

    def loader_begins(self) -> None:
        self._loader += 1

    def evaluation_ends(self) -> None:
        self._take_in_evaluated()

    def model_ran(self, run: ModelRun) -> None:
        rows = _rows_of(run)
        if rows is None or (run.training and not run.module.training):
            return
        model = self._models.get(run.module)
        if model is None:
            if len(self._known) >= PASSES_KEPT:
                return
            name = self.inventory.module_name(run.module) or type(run.module).__name__
            model = self._models[run.module] = _Model(name)
            self._known.append(model)
        if model.too_many:
            return
        if rows.shape[0] > ROWS_READ:
            model.too_many = True
            return
        frame = user_frame()
        site = CallSite(frame.f_code.co_filename, frame.f_lineno) if frame else None
        batch = _Batch(model, self._hashed(rows), site)
        if run.training:
            self._running[id(model)] = batch
            return
        batch.loader = self._loader
        place: list[tuple[int, int]] = []
        while frame is not None and len(place) < DEPTH:
            place.append((code_id(frame.f_code), frame.f_lineno))
            frame = frame.f_back
        if tuple(place) not in model.passes:
            batch.discrete = _are_whole(rows)
            batch.fine = not batch.discrete and _are_fine(rows, batch.hashes)
        self._evaluated.append((batch, tuple(place), self._phase))
        if len(self._evaluated) >= 64:
            self._take_in_evaluated()

    def loss_called(self, call: LossCall) -> None:
        if not call.training or not self._running:
            return
        labels = call.class_labels
        fitting = [b for b in self._running.values() if labels is not None and len(b.hashes) == len(labels)]
        if labels is not None and len(fitting) == 1 and fitting[0].labels is None:
            known = known_labels(labels, call)
            fitting[0].labels = known if len(known) == len(labels) else None

    def backward_begins(self, loss: Loss | None) -> None:
        # What ran last before a backward is what was trained on; what ran before that was looked at.
        self._trained.extend(self._running.values())
        self._running = {}

    def step_ends(self, step: Step) -> None:
        trained, self._trained = self._trained, []
        evaluated = {id(batch.model): batch for batch, _, _ in self._evaluated}
        self._take_in_evaluated()
        if step.number == 1 and step.total > 1:
            self._tell()  # a new optimizer, as for the next fold: what was trained on before may be tested on now
            return
        for batch in trained:
            batch.model.optimizer = step.name
            _take_in_trained(batch.model, _mixed(batch.hashes), batch, evaluated.get(id(batch.model)))

    def finish(self) -> None:
        self._take_in_evaluated()
        self._tell()

    # -- hashing -----------------------------------------------------------------------------------------

    def _hashed(self, rows: Tensor) -> Tensor:
        """One number per row: shape (N,), int64, on the device of the rows. The same bytes give the same number."""
        if self._last is not None and self._last[0]() is rows and self._last[1] == rows._version:
            return self._last[2]  # a data set that is given as a whole, again and again
        with Unseen():
            hashes = self._compute(rows.detach())
        self._last = (weakref.ref(rows), rows._version, hashes) if not rows.is_inference() else None
        return hashes

    def _compute(self, rows: Tensor) -> Tensor:
        shape = tuple(rows.shape[1:])
        if shape not in self._columns:
            if len(self._columns) >= PASSES_KEPT:
                self._columns.clear()
            self._columns[shape] = _columns_of(shape)
        index, factors = self._columns[shape]
        device = rows.device
        everywhere: tuple[Any, ...] = (slice(None), *(i.to(device) for i in index))
        picked = rows[everywhere] if index else rows.reshape(-1, 1)
        if picked.is_floating_point():
            picked = picked.contiguous().view(_AS_INTEGERS[picked.element_size()])
        return (picked.to(torch.int64) * factors.to(device)).sum(dim=1)

    # -- taking in ---------------------------------------------------------------------------------------

    def _take_in_evaluated(self) -> None:
        waiting, self._evaluated = self._evaluated, []
        for batch, place, phase in waiting:
            model = batch.model
            found = model.passes.get(place)
            if found is None:
                if len(model.passes) >= PASSES_KEPT:
                    continue
                found = model.passes[place] = _Pass(batch.site, batch.discrete, batch.fine)
            _take_in_pass(found, _mixed(batch.hashes), phase, batch.loader, len(model.trained))

    def _tell(self) -> None:
        """Writes down what is known, and begins anew."""
        for model in self._known if self._told < FACTS_KEPT else ():
            for found in model.passes.values():
                if model.trained and not model.too_many and not found.too_many:
                    self._told += 1
                    self.history.evaluated[f"{model.name}/{self._told}"] = _evaluation_rows(model, found)
            if model.again and not model.too_many:
                self._told += 1
                self.history.pairs[f"{model.name}/{self._told}"] = _pair_facts(model)
        self._models.clear()
        self._known.clear()


def _rows_of(run: ModelRun) -> Tensor | None:
    """The first tensor that the model was given, if its rows can be read: shape (N, ...)."""
    for value in (*run.args, *run.kwargs.values()):
        if isinstance(value, Tensor):
            has_rows = (
                accessible(value)
                and value.dim() > 0
                and not value.is_complex()
                and (not value.is_floating_point() or value.element_size() in _AS_INTEGERS)
                and not value.requires_grad
            )
            return value if has_rows else None
    return None


def _are_whole(rows: Tensor) -> bool:
    """Whether the first values are whole numbers, as ids, pixels and bits are."""
    if not rows.is_floating_point():
        return True
    with Unseen():
        some = rows.detach()[:16].reshape(-1)[:1024]
        return bool((some == some.round()).all())


def _are_fine(rows: Tensor, hashes: Tensor) -> bool:
    """Whether, in each of several columns, no two of the rows share a value unless they are equal altogether.

    Measurements differ like that. Rows of counts, of answers to questions, of rounded or of absent values do not, even
    when they have been standardised.
    """
    if not rows.is_floating_point() or rows.dim() < 2:
        return False
    with Unseen():
        values = rows.detach()[:ROWS_OF_A_LOOK].reshape(min(len(rows), ROWS_OF_A_LOOK), -1)[:, :COLUMNS_READ]
        table = values.to("cpu", torch.float64).numpy()
        _, first = np.unique(hashes[:ROWS_OF_A_LOOK].cpu().numpy(), return_index=True)
    if len(first) < FINE_ROWS:
        return False
    ordered = np.sort(table[first], axis=0)
    return int((np.diff(ordered, axis=0) != 0).all(axis=0).sum()) >= FINE_COLUMNS


def _columns_of(shape: tuple[int, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Positions within a row, the same for all rows of this shape, and an odd factor for each."""
    size = int(np.prod(shape, dtype=np.int64))
    numbers = np.random.Generator(np.random.PCG64(size))  # our own: not the user's random state
    taken = np.sort(numbers.choice(size, min(size, COLUMNS_READ), replace=False)) if shape else np.zeros(1, np.int64)
    factors = numbers.integers(-(2**62), 2**62, size=len(taken)) * 2 + 1
    index = tuple(torch.from_numpy(i.astype(np.int64)) for i in np.unravel_index(taken, shape)) if shape else ()
    return index, torch.from_numpy(factors)


def _mixed(hashes: Tensor) -> Hashes:
    """The hashes on the host, with the bits spread: those of round numbers differ in the highest only."""
    with Unseen():
        found: Hashes = hashes.cpu().numpy().view(np.uint64)
    found = (found ^ (found >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    found = found ^ (found >> np.uint64(29))
    return found


def _take_in_pass(found: _Pass, hashes: Hashes, phase: int, loader: int, trained_before: int) -> None:
    if found.too_many:
        return
    if phase != found.phase:
        found.phase = phase
        found.phases += 1
        found.latest = []
        found.loaders = []
        found.trained_before = trained_before
    numbers = hashes.tolist()
    if found.phases > 1:
        found.later += len(numbers)
        found.again += sum(number in found.met for number in numbers)
    found.latest.append(hashes)
    found.loaders.append(loader)
    found.met.update(numbers)
    found.too_many = len(found.met) > HASHES_KEPT or len(found.latest) > BATCHES_KEPT


def _take_in_trained(model: _Model, hashes: Hashes, batch: _Batch, beside: _Batch | None) -> None:
    if batch.hashes is model.latest:
        return  # the whole data set again
    model.latest = batch.hashes
    numbers = hashes.tolist()
    if beside is not None:
        evaluated = set(_mixed(beside.hashes).tolist())
        if sum(number in evaluated for number in numbers) > max(len(numbers), len(evaluated)) / 2:
            for found in model.passes.values():
                if found.site == beside.site:
                    found.beside += 1
    model.site = batch.site
    model.batches += 1
    model.largest_batch = max(model.largest_batch, len(numbers))
    labels = [-1] * len(numbers) if batch.labels is None else batch.labels.tolist()
    known = [number in model.trained for number in numbers]
    model.seen_before.append(sum(known) / len(numbers))
    for number, label, is_known in zip(numbers, labels, known, strict=True):
        if label >= 0:
            model.labels[label] += 1
            before = model.trained.get(number, -1)
            if is_known and before >= 0:
                model.again += 1
                model.agreed += before == label
        if not is_known:
            model.trained.setdefault(number, label)
    model.twins += len(numbers) - len(set(numbers))
    model.drawn += len(numbers)
    model.too_many = len(model.trained) > HASHES_KEPT


def _evaluation_rows(model: _Model, found: _Pass) -> EvaluationRows:
    rows = np.concatenate(found.latest)
    trained = np.fromiter(model.trained, np.uint64, len(model.trained))[: found.trained_before]
    distinct, counts = np.unique(rows, return_counts=True)
    late = model.seen_before[len(model.seen_before) * 2 // 3 :]
    return EvaluationRows(
        model=model.name,
        optimizer=model.optimizer,
        file=found.site.file if found.site else None,
        line=found.site.line if found.site else None,
        phases=found.phases,
        rows=len(rows),
        distinct=len(distinct),
        equal_pairs=int((counts * (counts - 1) // 2).sum()),
        discrete=found.discrete,
        fine=found.fine,
        seen=int(np.isin(distinct, trained).sum()),
        trained=len(trained),
        trained_met=int(np.isin(trained, distinct).sum()),
        coverage=float(np.mean(late)) if late else 0.0,
        repeated=found.again / found.later if found.later else 1.0,
        beside=found.beside,
        batches=[(len(batch), int(np.isin(batch, trained).sum())) for batch in found.latest],
        one_loader=found.loaders[0] > 0 and len(set(found.loaders)) == 1,
        training_batch=model.largest_batch,
        batches_trained=model.batches,
    )


def _pair_facts(model: _Model) -> PairFacts:
    shares = np.array(list(model.labels.values())) / sum(model.labels.values())
    return PairFacts(
        model=model.name,
        optimizer=model.optimizer,
        file=model.site.file if model.site else None,
        line=model.site.line if model.site else None,
        again=model.again,
        agreed=model.agreed,
        by_chance=float((shares**2).sum()),
        twins=model.twins,
        drawn=model.drawn,
    )
