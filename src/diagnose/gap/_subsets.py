"""Data as people hold them (a pair, a Dataset, a sequence), their labels, and random subsets of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import GapError

Ints: TypeAlias = NDArray[np.int64]

_READ_AT_MOST: Final = 100_000
"""Examples are read one by one for their labels only up to so many; a bigger set should bring them as `targets`."""


def is_pair(data: Any) -> bool:
    """Whether data are (inputs, targets), arrays of the same length, rather than a sequence of examples."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    inputs, targets = data
    if not hasattr(targets, "__len__") or not hasattr(inputs, "__len__") or isinstance(targets, str):
        return False
    is_array = hasattr(targets, "shape") and getattr(targets, "ndim", 0) > 0
    return (is_array or (len(targets) > 2 and isinstance(targets, list | tuple))) and len(inputs) == len(targets)


def count(data: Any, what: str, *, to_be_cut: bool = False) -> int:
    """How many examples there are.

    Args:
        what: data are called.
        to_be_cut: into subsets, which cannot be done with a DataLoader.

    Raises:
        GapError: that cannot be told, or there are none.
    """
    from torch.utils.data import DataLoader

    if is_pair(data):
        size = len(data[1])
    elif isinstance(data, DataLoader) and hasattr(data.dataset, "__len__"):
        if to_be_cut:
            raise GapError(f"{what} is a DataLoader, which cannot be cut into subsets: give its dataset.")
        size = len(data.dataset)
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, str | dict):
        size = len(data)
    else:
        raise GapError(
            f"{what} is a {type(data).__name__}, and has to be (inputs, targets), a Dataset or a sequence of examples: "
            "something that has a length and parts."
        )
    if not size:
        raise GapError(f"{what} holds no examples.")
    return size


def subset(data: Any, rows: Ints) -> Any:
    """The examples at `rows`, in what the data came in: a pair stays a pair, a sequence a list, a Dataset a Dataset."""
    from torch.utils.data import Dataset, Subset

    if is_pair(data):
        return _rows(data[0], rows), _rows(data[1], rows)
    if isinstance(data, Dataset):
        return Subset(data, rows.tolist())
    if hasattr(data, "shape"):
        return _rows(data, rows)
    return [data[row] for row in rows.tolist()]


def _rows(values: Any, rows: Ints) -> Any:
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if hasattr(values, "detach"):
        import torch

        return values[torch.from_numpy(rows).to(values.device)]
    return values[rows] if hasattr(values, "shape") else [values[row] for row in rows.tolist()]


def classes_of(data: Any) -> Ints | None:
    """Shape (N,): the class of each example, numbered from 0; None if targets are no classes, or cannot be read."""
    targets = _targets(data)
    if targets is None:
        return None
    array = np.asarray(targets)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iubUS" or array.dtype == object:
        return None
    names, numbers = np.unique(array, return_inverse=True)
    # As many values as examples are amounts or names, not classes.
    return numbers.astype(np.int64) if 1 < len(names) <= len(array) / 2 else None


def _targets(data: Any) -> Any:
    if is_pair(data):
        return _array(data[1])
    for name in ("targets", "labels"):
        if hasattr(data, name) and hasattr(getattr(data, name), "__len__") and len(getattr(data, name)) == len(data):
            return _array(getattr(data, name))
    if hasattr(data, "tensors"):
        return _array(data.tensors[-1]) if len(data.tensors) > 1 else None
    if len(data) > _READ_AT_MOST:
        return None
    found = []
    for row in range(len(data)):
        example = data[row]
        if not isinstance(example, tuple | list) or len(example) < 2:
            return None
        found.append(_array(example[-1]))
    if any(np.ndim(target) for target in found):
        return None
    return np.array(found)


def _array(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def nested_order(count: int, classes: Ints | None, seed: int) -> Ints:
    """A random order of examples of which every beginning is a random subset, with classes in their proportions.

    Each class is shuffled and spread evenly over the whole: of any n first examples, each class has its share to within
    one. Subsets of growing size are nested then, so that a curve over them shows what more examples do, and not what
    other examples do.

    Returns:
        Shape (N,), a permutation.
    """
    random = np.random.default_rng(seed)
    if classes is None:
        return random.permutation(count)
    place = np.empty(count)
    for number in range(int(classes.max()) + 1):
        rows = random.permutation(np.flatnonzero(classes == number))
        # One draw for all of a class, so that the gaps between its examples are equal.
        place[rows] = (np.arange(len(rows)) + random.uniform()) / max(len(rows), 1)
    return np.lexsort((random.uniform(size=count), place)).astype(np.int64)


def sizes_of(sizes: Sequence[float] | None, count: int, classes: Ints | None) -> tuple[int, ...]:
    """The sizes of subsets, ascending: those asked for, as numbers or shares of all, or n/16, n/8, ..., n.

    Of the default ones, those that leave less than two examples for each class, or less than eight, are left out.

    Raises:
        GapError: a size is not above 0, or there are not so many examples.
    """
    if sizes is None:
        least = max(8, 2 * (int(classes.max()) + 1) if classes is not None else 0)
        chosen = {round(count / 2**power) for power in range(5)}
        return tuple(sorted(size for size in chosen if size >= least or size == count))
    chosen = set()
    for size in sizes:
        number = float(size)
        whole = round(number * count) if isinstance(size, float) and 0 < number <= 1 else number
        if not number > 0 or whole != int(whole) or not 1 <= whole <= count:
            raise GapError(f"sizes hold {size}, and have to be between 1 and the {count} examples, or shares of them.")
        chosen.add(int(whole))
    if not chosen:
        raise GapError("sizes are empty: give at least one, or leave them out.")
    return tuple(sorted(chosen))
