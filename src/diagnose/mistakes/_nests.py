"""Arrays in tuples, mappings and dataclasses: all of them, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np


def arrays_in(data: Any) -> Iterator[Any]:
    """All arrays and tensors, and lists of numbers or texts as arrays."""
    if hasattr(data, "shape") and hasattr(data, "ndim"):
        yield data
    elif isinstance(data, Mapping):
        yield from chain.from_iterable(map(arrays_in, data.values()))
    elif isinstance(data, list | tuple):
        if data and isinstance(data[0], int | float | str):
            yield np.asarray(data)
        else:
            yield from chain.from_iterable(map(arrays_in, data))
    elif hasattr(data, "__dataclass_fields__"):
        yield from chain.from_iterable(map(arrays_in, vars(data).values()))


def rows_of(data: Any, rows: slice | int, size: int | None = None) -> Any:
    """The rows of all arrays in it that have one for each of `size` examples."""
    if isinstance(data, Mapping):
        return {key: rows_of(value, rows, size) for key, value in data.items()}
    if isinstance(data, list | tuple):
        if data and isinstance(data[0], int | float | str):
            return data[rows]
        parts = [rows_of(value, rows, size) for value in data]
        return type(data)(*parts) if hasattr(data, "_fields") else tuple(parts)
    if hasattr(data, "__dataclass_fields__"):
        return type(data)(**{key: rows_of(value, rows, size) for key, value in vars(data).items()})
    has_rows = hasattr(data, "shape") and len(data.shape) > 0 and (size is None or len(data) == size)
    if not has_rows:
        return data
    return data.iloc[rows] if hasattr(data, "iloc") else data[rows]


def size_of(content: Any) -> int:
    """How many examples a batch has: the first dimension of the last array in it, its targets as a rule."""
    sizes = [len(array) for array in arrays_in(content) if array.ndim]
    return sizes[-1] if sizes else 0
