"""Connected wrong regions of images, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._places import Place
from diagnose.mistakes._scores import Bools, Id, Ints
from diagnose.mistakes._scoring import Places


def regions(
    places: Places, ids: Sequence[Id], first_row: int, shape: tuple[int, ...], k: int
) -> list[tuple[float, Place]]:
    """(rank, region), the `k` worst regions of a batch; the higher the rank, the worse.

    A region is a connected set of wrong pixels (neighbours along the axes) and not a tile of a grid, which would cut an
    object that is missed and would join its parts with others. Regions are ordered by the loss that stands in their
    inner part, the pixels whose neighbours are all wrong as well: a region one or two pixels thick lies along a border,
    where annotators differ, and comes after all that have an inner part, ordered by its whole loss.

    Args:
        shape: of the targets of one example; a channel of one is left out.
    """
    size = tuple(length for length in shape if length != 1) or (1,)
    wrong = places.is_wrong.reshape(-1, *size).cpu().numpy()
    if not wrong.any():
        return []
    labels = connected(wrong)
    inner = _inner(wrong)
    loss = np.nan_to_num(places.loss.reshape(wrong.shape).cpu().numpy(), posinf=1e4).astype(np.float64)
    flat, count = labels.reshape(-1), int(labels.max()) + 1
    total = np.bincount(flat, loss.reshape(-1), count)
    kernel = np.bincount(flat, (loss * inner).reshape(-1), count)
    # Without an inner part: below all that have one, in the order of their loss.
    rank = np.where(kernel > 0, kernel, -1 / (1 + total))
    order = 1 + np.argsort(-rank[1:], kind="stable")[:k]
    return [(float(rank[number]), _region(places, labels, number, ids, first_row, loss)) for number in order.tolist()]


def connected(mask: Bools) -> Ints:
    """The number of the connected set that each pixel is in, from 1; 0 where the mask is False.

    Args:
        mask: shape (B, ...); pixels of different B are never connected.

    Each pixel begins with a number of its own and takes the largest one among its neighbours; then it asks the pixel
    that its number stands for. So a set of a thousand pixels is done in about ten rounds.
    """
    own = np.arange(1, mask.size + 1, dtype=np.int64).reshape(mask.shape)
    labels: Ints = np.where(mask, own, 0)
    while True:
        before = labels
        labels = before.copy()
        for axis in range(1, mask.ndim):
            for here, there in (_pair(axis, mask.ndim), _pair(axis, mask.ndim)[::-1]):
                np.maximum(labels[here], before[there], out=labels[here])
        labels[~mask] = 0
        flat = labels.reshape(-1)
        inside = flat > 0
        # The pixel whose number this is has found a larger one meanwhile, it may be; so has that one.
        for _ in range(4):
            flat[inside] = flat[flat[inside] - 1]
        if np.array_equal(labels, before):
            break
    _, numbered = np.unique(labels, return_inverse=True)
    found: Ints = numbered.reshape(mask.shape).astype(np.int64)
    return found if (labels == 0).any() else found + 1


def _pair(axis: int, dimensions: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two views, shifted by one along an axis."""
    here: list[slice] = [slice(None)] * dimensions
    there = list(here)
    here[axis], there[axis] = slice(1, None), slice(None, -1)
    return tuple(here), tuple(there)


def _inner(wrong: Bools) -> Bools:
    """Pixels whose neighbours along all axes are wrong too; beyond the edge of the image all counts as wrong."""
    inner: Bools = wrong.copy()
    for axis in range(1, wrong.ndim):
        here, there = _pair(axis, wrong.ndim)
        inner[here] &= wrong[there]
        inner[there] &= wrong[here]
    return inner


def _region(
    places: Places, labels: Ints, number: int, ids: Sequence[Id], first_row: int, loss: NDArray[np.float64]
) -> Place:
    where = np.nonzero(labels == number)
    row = int(where[0][0])
    inside = np.flatnonzero(labels[row].reshape(-1) == number)

    def values(name: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = getattr(places, name)[row].cpu().numpy()[inside]
        return found

    return Place(
        id=ids[row],
        row=first_row + row,
        position=tuple(int(axis[0]) for axis in where[1:]),
        given=_most_frequent(values("given")),
        predicted=_most_frequent(values("predicted")),
        loss=float(loss[labels == number].mean()),
        confidence=float(values("confidence").mean()),
        margin=float(values("margin").mean()),
        size=len(inside),
        box=tuple((int(axis.min()), int(axis.max()) + 1) for axis in where[1:]),
    )


def _most_frequent(values: NDArray[np.float64]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])
