"""Data in whatever they come, as batches in an order that stays the same, and single examples once more.

The ID of an example is its position in the data set, so that it names the same example whatever shuffles the data. A
loader over a data set is therefore not iterated: its sampler is asked which examples it draws, and these are read
through the loader's own `collate_fn` and workers in the order of their positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from diagnose.errors import MistakesError
from diagnose.mistakes._nests import arrays_in, rows_of, size_of
from diagnose.mistakes._sampling import drawn
from diagnose.mistakes._scores import Ints
from diagnose.mistakes._sources import file_of

_ACCEPTED: Final = (
    "a Dataset, a DataLoader, (inputs, targets) or an iterable of batches (inputs, targets) or {..., 'labels': ...}"
)


@dataclass(frozen=True)
class Batch:
    """One batch as the data set, or its loader, makes it.

    Attributes:
        content: the batch.
        positions: of its examples in the data set; None for a stream, whose examples are counted as they come.
    """

    content: Any
    positions: Sequence[int] | None


class Reader(Protocol):
    """Reads batches, and single examples again.

    Attributes:
        total: how many examples there are; None if that shows only at the end.
        note: how examples are named, in one sentence; "" if it goes without saying.
        rereads: whether `example` can return anything.
    """

    total: int | None
    note: str
    rereads: bool

    def batches(self) -> Iterator[Batch]:
        """All batches, from the first one."""

    def example(self, position: int) -> Any:
        """What there is at a position; None if it cannot be read again."""

    def file(self, position: int) -> str | None:
        """The file that the example came from, if that is known."""


def reader_of(data: Any, *, batch_size: int = 256, seed: int = 0) -> Reader:
    """What reads `data`.

    Args:
        batch_size: where the data come without batches.
        seed: of workers and random samplers, which draw nothing from the global generators.

    Raises:
        MistakesError: it is no data, or there are no examples in it.
    """
    if isinstance(data, Mapping) or _is_pair(data):
        return _Arrays(data, batch_size)
    if isinstance(data, DataLoader):
        return _of_loader(data, batch_size, seed)
    if isinstance(data, IterableDataset):
        return _Stream(DataLoader(data, batch_size=batch_size))
    if isinstance(data, Dataset) or (_is_mapstyle(data) and not isinstance(data, list | tuple)):
        return _Indexed(data, np.arange(_length(data), dtype=np.int64), {}, batch_size, seed)
    if isinstance(data, list | tuple) and data and not _is_batch(data[0]):
        return _Indexed(data, np.arange(len(data), dtype=np.int64), {}, batch_size, seed)
    if isinstance(data, Iterable) and not isinstance(data, Tensor | np.ndarray | str | bytes):
        return _Stream(data)
    raise MistakesError(f"A {type(data).__name__} is no data: give {_ACCEPTED}.")


# ---------------------------------------------------------------------- what reads


class _Indexed:
    """A data set whose examples have positions."""

    rereads = True

    def __init__(self, dataset: Any, positions: Ints, options: dict[str, Any], batch_size: int, seed: int) -> None:
        if not len(positions):
            raise MistakesError("There are no examples in the data.")
        self.total: int | None = len(positions)
        self.note = ""
        self._dataset, self._positions, self._options = dataset, positions, options
        self._batch_size, self._seed = batch_size, seed

    def batches(self) -> Iterator[Batch]:
        parts = [
            part.tolist()
            for part in np.split(self._positions, range(self._batch_size, self.total or 0, self._batch_size))
        ]
        generator = torch.Generator().manual_seed(self._seed)
        loader = DataLoader(self._dataset, batch_sampler=parts, generator=generator, **self._options)
        iterator = iter(loader)
        for part in parts:
            try:
                content = next(iterator)
            except Exception as error:
                raise self._unreadable(part, error) from error
            yield Batch(content, part)

    def _unreadable(self, part: Sequence[int], error: Exception) -> MistakesError:
        """What is wrong with a batch that cannot be made: one of its examples, if that alone cannot be read either."""
        for position in part:
            try:
                self._dataset[position]
            except Exception as again:
                return MistakesError(
                    f"{type(self._dataset).__name__} raised {type(again).__name__} for the example at position "
                    f"{position}: {again}"
                )
        return MistakesError(
            f"Examples {part[0]} to {part[-1]} cannot be put into a batch: {error}. Let the data set return tensors (a "
            "transform) of one shape, or give a DataLoader with a collate_fn."
        )

    def example(self, position: int) -> Any:
        return self._dataset[position]

    def file(self, position: int) -> str | None:
        return file_of(self._dataset, position)


class _Arrays:
    """(inputs, targets) in memory, or a mapping of arrays."""

    rereads = True

    def __init__(self, data: Any, batch_size: int) -> None:
        self._data = data
        sizes = {len(tensor) for tensor in arrays_in(data) if tensor.ndim}
        if len(sizes) != 1:
            told = " and ".join(map(str, sorted(sizes))) or "no"
            raise MistakesError(f"The arrays have {told} rows: inputs and targets need one row for each example.")
        self.total: int | None = sizes.pop()
        if not self.total:
            raise MistakesError("There are no examples in the data.")
        self.note = ""
        self._batch_size = batch_size

    def batches(self) -> Iterator[Batch]:
        total = self.total or 0
        for begin in range(0, total, self._batch_size):
            end = min(begin + self._batch_size, total)
            yield Batch(rows_of(self._data, slice(begin, end)), range(begin, end))

    def example(self, position: int) -> Any:
        return rows_of(self._data, position)

    def file(self, position: int) -> str | None:
        return None


class _Stream:
    """Batches that come one after another. Their examples are counted, so their order has to stay the same."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._source = batches
        self.rereads = iter(batches) is not batches if not isinstance(batches, Iterator) else False
        self.total: int | None = None
        self.note = (
            "Examples are named by their position in the stream: the same name means the same example as long as the "
            "data come in the same order."
        )
        self._kept: dict[int, Any] = {}

    def batches(self) -> Iterator[Batch]:
        for content in self._source:
            yield Batch(content, None)

    def example(self, position: int) -> Any:
        if position in self._kept or not self.rereads:
            return self._kept.get(position)
        begin = 0
        for content in self._source:
            size = size_of(content)
            if position < begin + size:
                self._kept[position] = rows_of(content, position - begin, size)
                return self._kept[position]
            begin += size
        return None

    def file(self, position: int) -> str | None:
        return None


# ---------------------------------------------------------------------- loaders


def _of_loader(loader: DataLoader[Any], batch_size: int, seed: int) -> Reader:
    own_iteration = type(loader).__iter__ is not DataLoader.__iter__
    if (
        own_iteration
        or isinstance(loader.dataset, IterableDataset)
        or (loader.batch_size is None and loader.batch_sampler is None)
    ):
        stream = _Stream(loader)
        if isinstance(loader.sampler, RandomSampler):
            raise MistakesError(
                f"A {type(loader).__name__} that shuffles and has its own way to iterate gives examples no names that "
                "last: give its data set, or a loader that does not shuffle."
            )
        return stream
    whole = _length(loader.dataset)
    positions = np.asarray(drawn(loader, whole), dtype=np.int64)
    options: dict[str, Any] = {
        "collate_fn": loader.collate_fn,
        "num_workers": loader.num_workers,
        "worker_init_fn": loader.worker_init_fn,
        "timeout": loader.timeout,
    }
    if loader.num_workers:
        options |= {
            "prefetch_factor": loader.prefetch_factor,
            "multiprocessing_context": loader.multiprocessing_context,
        }
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or batch_size
    reader = _Indexed(loader.dataset, positions, options, int(size), seed)
    if len(positions) < whole:
        reader.note = (
            f"The loader's sampler draws {len(positions):,} of the {whole:,} examples in the data set: these were read."
        )
    elif not isinstance(loader.sampler, SequentialSampler):
        reader.note = (
            "The loader shuffles: its data set was read in order, and examples are named by their position in it."
        )
    return reader


# ---------------------------------------------------------------------- shapes of data


def _is_mapstyle(data: Any) -> bool:
    return (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, Mapping | Tensor | np.ndarray | str | bytes)
    )


def _is_pair(data: Any) -> bool:
    """Whether it is (inputs, targets), all examples at once, and not two batches or two examples."""
    if not isinstance(data, list | tuple) or len(data) != 2 or isinstance(data[1], list | tuple | Mapping):
        return False
    return hasattr(data[1], "shape") and len(data[1].shape) > 0 and not isinstance(data[0], str)


def _is_batch(item: Any) -> bool:
    """Whether an item of a list is a batch: what comes last in it, its targets, has a row for each example."""
    if isinstance(item, Mapping):
        if any(isinstance(value, int | float) for value in item.values()):
            return False  # the label of a single example
        return any(array.ndim for array in arrays_in(item)) and all(array.ndim for array in arrays_in(item))
    if isinstance(item, list | tuple) and item:
        last = item[-1]
        return (hasattr(last, "shape") and len(last.shape) > 0) or isinstance(last, list | tuple)
    return not isinstance(item, int | float | str | bytes)


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except TypeError as error:
        raise MistakesError(
            f"{type(dataset).__name__} has no length, so its examples have no positions: add __len__, or derive it "
            "from IterableDataset."
        ) from error
