"""Vectors whose distances tell how alike two examples are, and the distances themselves."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes.problems._reading import unit
from diagnose.mistakes.problems._sketch import Component
from diagnose.stats.near_pairs import LARGEST_GROUP, Nearest, nearest_rows

CANDIDATES: Final = 24
KEPT: Final = LARGEST_GROUP + 3
_BLOCK: Final = 2048


def nearest_examples(component: Component, rows: NDArray[np.int64]) -> Nearest | None:
    """The nearest others of `rows`, as positions in `rows`; None if there are too few, or nothing to compare.

    Rows of tables: Euclidean, after each column was divided by its spread. Images and signals: see `tangent_distances`.
    """
    if component.vectors is None or len(rows) <= CANDIDATES:
        return None
    if component.thumbnail is None:
        table = standardised(component.vectors[rows])
        return nearest_rows(table, KEPT) if table.shape[1] > 1 else None
    images = component.vectors[rows].astype(np.float32).reshape(-1, *component.thumbnail)
    candidates = nearest_rows(unit(_blurred(images).reshape(len(rows), -1)), CANDIDATES)
    return tangent_distances(images, candidates.rows)


def standardised(table: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Columns of median 0 and an interquartile range that is that of a standard normal; without constant columns.

    At most 10 either way: one wild value does not make a row near to nothing. A column of which most values are the
    same has its standard deviation instead.
    """
    known = np.where(np.isfinite(table), table, np.nan).astype(np.float64)
    known = known[:, ~np.isnan(known).all(axis=0)]
    if not known.shape[1]:
        return np.zeros((len(table), 0), dtype=np.float32)
    low, middle, high = np.nanquantile(known, [0.25, 0.5, 0.75], axis=0)
    spread = (high - low) / 1.349
    spread = np.where(spread > 0, spread, np.nanstd(known, axis=0))
    kept = spread > 0
    found = (known[:, kept] - middle[kept]) / spread[kept]
    columns: NDArray[np.float32] = np.clip(np.nan_to_num(found, nan=0.0), -10, 10).astype(np.float32)
    return columns


def tangent_distances(images: NDArray[np.float32], candidates: NDArray[np.int64]) -> Nearest:
    """Candidates by how much of them a small shift, another brightness and another contrast do not explain.

    The distance of b from a is the part of b, as a share of its own size, that is orthogonal to a, to a constant and to
    the derivatives of a along both axes: 0 for copies, 1 for what has nothing in common.

    Args:
        images: shape (N, H, W).
        candidates: shape (N, M), for each image the others to compare with.

    Source:
        Simard, LeCun & Denker, "Efficient pattern recognition using a new transformation distance", 1993.
    """
    flat = unit(images.reshape(len(images), -1))
    rows = np.empty((len(images), KEPT), dtype=np.int64)
    distances = np.empty((len(images), KEPT), dtype=np.float32)
    for start in range(0, len(images), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = images[part]
        along = np.gradient(block, axis=1), np.gradient(block, axis=2)
        tangents = np.stack([flat[part], *(unit(g.reshape(len(block), -1)) for g in along)], axis=2)
        basis = np.linalg.qr(tangents.astype(np.float64) + 1e-12)[0]
        others = flat[candidates[part]].astype(np.float64)
        explained = np.matmul(others, basis)
        residual = others - np.matmul(explained, np.swapaxes(basis, 1, 2))
        size = np.sqrt((residual**2).sum(axis=2))
        order = np.argsort(size, axis=1, kind="stable")[:, :KEPT]
        rows[part] = np.take_along_axis(candidates[part], order, axis=1)
        distances[part] = np.take_along_axis(size, order, axis=1)
    return Nearest(rows, distances)


def _blurred(images: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = images
    for axis in (1, 2):
        padded = np.pad(found, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        size = found.shape[axis]
        before, at, after = (np.take(padded, np.arange(size) + shift, axis=axis) for shift in range(3))
        found = ((before + 2 * at + after) / 4).astype(np.float32)
    return found


def likeness(component: Component, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
    """How alike each of `rows` is to the one of `others` that is most like it; brightness and contrast do not count.

    Args:
        others: some 1,000 of them are looked at, evenly from all.

    Returns:
        Shape (N,), in [-1, 1].
    """
    assert component.vectors is not None
    some = others[:: max(1, len(others) // 1000)]
    vectors = component.vectors[some].astype(np.float32)
    table = component.vectors[rows].astype(np.float32) @ vectors.T
    table[rows[:, None] == some] = -1
    found: NDArray[np.float32] = table.max(axis=1, initial=-1)
    return found


def show_the_same(
    component: Component, rows: NDArray[np.int64], others: NDArray[np.int64], unlike: float = 0.01
) -> bool:
    """Whether images show what the others show, whatever their scale: the less alike half of them is no less like the
    others than all but `unlike` = 1 % of these are among themselves. True for what are no images.
    """
    if component.thumbnail is None or len(others) < 50:
        return True
    some = others[:: max(1, len(others) // 500)]
    usual = float(np.quantile(likeness(component, some, others), unlike))
    return bool(np.median(likeness(component, rows, others)) >= usual)
