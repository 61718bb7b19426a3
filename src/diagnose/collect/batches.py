"""Which examples a batch is made of: the indices that a DataLoader's sampler gave for it.

Indices are drawn ahead of the batch, by as many batches as are prefetched, and batches are yielded in the order in
which their indices were drawn. So they are queued, and matched when a batch is yielded.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Subset

from diagnose.collect.reading import accessible

Ints: TypeAlias = NDArray[np.int64]
Place: TypeAlias = tuple[Any, ...]

_QUEUED: Final = 4096
_RECENT: Final = 4
_DEPTH: Final = 3
_LABEL_BYTES: Final = 1 << 20


class Table:
    """A data set, as far as its examples are named: it is held weakly, by its identity where that is impossible.

    One of the same kind and size that is made after it is gone is the same one, made anew for the next epoch; if it is
    not, labels are seen to change.
    """

    def __init__(self, dataset: Any) -> None:
        try:
            self.size = len(dataset)
        except (TypeError, NotImplementedError):
            self.size = 0
        self._hold(dataset)

    def _hold(self, dataset: Any) -> None:
        self._identity, self._kind = id(dataset), type(dataset)
        try:
            self._dataset: weakref.ref[Any] | None = weakref.ref(dataset)
        except TypeError:  # a list
            self._dataset = None

    def is_of(self, dataset: Any) -> bool:
        if self._dataset is None:
            return self._identity == id(dataset)
        held = self._dataset()
        if held is None and type(dataset) is self._kind and len(dataset) == self.size:
            self._hold(dataset)
            return True
        return held is dataset

    @property
    def dataset(self) -> Any:
        """None if it is gone."""
        return self._dataset() if self._dataset is not None else None


@dataclass(eq=False, slots=True)
class Batch:
    """A batch that was yielded.

    Attributes:
        rows: shape (n,), positions of its examples in `table`.
        candidates: what may be its labels, by their place in the batch.
        used: how many of its examples a loss has been matched with.
    """

    table: Table
    rows: Ints
    candidates: dict[Place, Tensor]
    used: int = 0


class Batches:
    """Hears of DataLoaders; `recent` are the latest batches, newest last. Memory: labels of a few batches."""

    def __init__(self) -> None:
        self.recent: deque[Batch] = deque(maxlen=_RECENT)
        self.place: Place | None = None
        self.reason = ""
        self._queues: weakref.WeakKeyDictionary[Any, deque[Any]] = weakref.WeakKeyDictionary()
        self._tables: list[Table] = []
        self._subsets: weakref.WeakKeyDictionary[Any, tuple[Any, Ints]] = weakref.WeakKeyDictionary()

    def reset(self, iterator: Any) -> None:
        """A pass begins anew: what had been prefetched is dropped."""
        self._queues.pop(iterator, None)

    def drawn(self, iterator: Any, indices: Any) -> None:
        queue = self._queues.get(iterator)
        if queue is None:
            queue = self._queues[iterator] = deque(maxlen=_QUEUED)
        queue.append(indices)

    def yielded(self, iterator: Any, data: Any) -> None:
        queue = self._queues.get(iterator)
        if not queue:
            return
        indices = queue.popleft()
        if not getattr(iterator, "_in_order", True):
            self.reason = "the DataLoader yields batches out of order (in_order=False)"
            return
        found = self._rows(iterator._dataset, indices)
        if found is None:
            self.reason = self.reason or "the DataLoader's indices are not positions in a data set"
            return
        table, rows = found
        self.recent.append(Batch(table, rows, self._candidates(data, len(rows))))

    def _rows(self, dataset: Any, indices: Any) -> tuple[Table, Ints] | None:
        if isinstance(dataset, torch.utils.data.IterableDataset):
            return None
        try:
            rows = np.atleast_1d(np.asarray(indices))
        except (TypeError, ValueError):
            return None
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            return None
        while isinstance(dataset, Subset):  # of random_split, of a fold
            rows = self._positions(dataset)[rows]
            dataset = dataset.dataset
        return self._table(dataset), rows.astype(np.int64)

    def _positions(self, subset: Subset[Any]) -> Ints:
        known = self._subsets.get(subset)
        if known is None or known[0] is not subset.indices:
            known = self._subsets[subset] = subset.indices, np.asarray(subset.indices, dtype=np.int64)
        return known[1]

    def _table(self, dataset: Dataset[Any]) -> Table:
        for table in self._tables:
            if table.is_of(dataset):
                return table
        self._tables.append(Table(dataset))
        return self._tables[-1]

    def _candidates(self, data: Any, count: int) -> dict[Place, Tensor]:
        if self.place is not None:  # where the labels were before
            value = data
            try:
                for key in self.place:
                    value = value[key]
            except (TypeError, KeyError, IndexError):
                value = None
            if isinstance(value, Tensor):
                return {self.place: value}
        found: dict[Place, Tensor] = {}
        _collect(data, count, (), found)
        return found


def _collect(data: Any, count: int, place: Place, found: dict[Place, Tensor]) -> None:
    if isinstance(data, Tensor):
        if accessible(data) and data.dim() and len(data) == count and data.nbytes <= _LABEL_BYTES:
            found[place] = data
    elif len(place) < _DEPTH and isinstance(data, dict):
        for key, value in data.items():
            _collect(value, count, (*place, key), found)
    elif len(place) < _DEPTH and isinstance(data, tuple | list):
        for index, value in enumerate(data[:8]):
            _collect(value, count, (*place, index), found)


def names_of(dataset: Any) -> tuple[str, ...]:
    """File names of the examples of a torchvision folder, whose `samples` are pairs of a path and a class; else ()."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or not samples:
        return ()
    names = [sample[0] for sample in samples if isinstance(sample, tuple) and sample and isinstance(sample[0], str)]
    return tuple(names) if len(names) == len(samples) else ()
