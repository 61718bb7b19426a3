"""Vectors whose distances tell how alike two examples are, and the distances themselves."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes.problems._reading import unit
from diagnose.mistakes.problems._sketch import Component
from diagnose.stats.near_pairs import (
    LARGEST_GROUP,
    Nearest,
    NearPairs,
    limits_of,
    log_ratios,
    near_pairs,
    nearest_in_groups,
    nearest_rows,
)

CANDIDATES: Final = 24
KEPT: Final = LARGEST_GROUP + 3
ALL_PAIRS: Final = 6000
REFERENCE: Final = 2000
"""Rows from which the limit is told where not all pairs are compared: the 95th percentile is then that of 100 rows."""
MOST_SUSPECTS: Final = 20_000
_BLOCK: Final = 1024


def near_examples(
    component: Component, rows: NDArray[np.int64], *, chance: float, all_pairs: int = ALL_PAIRS
) -> tuple[NearPairs, Nearest, NDArray[np.int64]] | None:
    """What of `rows` is nearer to each other than chance explains, as positions in `rows`; None if that cannot be told.

    Rows of tables: Euclidean distances, after each column was divided by its spread. Images and signals: see
    `tangent_distances`.

    Args:
        chance: as in `near_pairs`.
        all_pairs: up to so many rows, all are compared with one another. Of more, each is first compared with those
            that are near to the same centre, and what looks too near is then compared with all.

    Returns:
        The pairs, and the neighbours of some rows, with the numbers of these.
    """
    if component.vectors is None or len(rows) <= CANDIDATES:
        return None
    images = None
    if component.thumbnail is None:
        vectors = standardised(component.vectors[rows])
        if vectors.shape[1] < 2:
            return None
    else:
        images = component.vectors[rows].astype(np.float32).reshape(-1, *component.thumbnail)
        vectors = unit(_blurred(images).reshape(len(rows), -1))

    def refined(nearest: Nearest, of: NDArray[np.int64]) -> Nearest:
        if images is not None:
            return tangent_distances(images, nearest, of)
        return Nearest(nearest.rows[:, :KEPT], nearest.distances[:, :KEPT])

    everything = np.arange(len(rows))
    if len(rows) <= all_pairs:
        nearest = refined(nearest_rows(vectors, CANDIDATES), everything)
        pairs = near_pairs(nearest, chance=chance)
        return None if pairs is None else (pairs, nearest, everything)
    drawn = np.unique(np.linspace(0, len(rows) - 1, REFERENCE).astype(np.int64))
    reference = refined(nearest_rows(vectors, CANDIDATES, queries=drawn), drawn)
    limits = limits_of(reference, chance, total=len(rows))
    if limits is None:
        return None
    rough = log_ratios(refined(nearest_in_groups(vectors, CANDIDATES), everything))[:, : len(limits.logs)]
    rough = np.nan_to_num(rough, nan=0.0)
    suspect = np.flatnonzero((rough > np.array(limits.logs)).any(axis=1))[:MOST_SUSPECTS]
    nearest = refined(nearest_rows(vectors, CANDIDATES, queries=suspect), suspect)
    pairs = near_pairs(nearest, chance=chance, reference=reference, of=suspect, total=len(rows))
    return None if pairs is None else (pairs, nearest, suspect)


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


def tangent_distances(images: NDArray[np.float32], candidates: Nearest, of: NDArray[np.int64]) -> Nearest:
    """The nearest candidates by how much of them a small shift, another brightness and another contrast do not explain.

    The distance of b from a is the part of b, as a share of its own size, that is orthogonal to a, to a constant and to
    the derivatives of a along both axes: 0 for copies, 1 for what has nothing in common. Below 1e-4 it is rounding.

    Args:
        images: shape (N, H, W).
        candidates: of the images `of`. Those at an infinite distance are none.

    Source:
        Simard, LeCun & Denker, "Efficient pattern recognition using a new transformation distance", 1993.
    """
    flat = unit(images.reshape(len(images), -1))
    rows = np.empty((len(of), KEPT), dtype=np.int64)
    distances = np.empty((len(of), KEPT), dtype=np.float32)
    for start in range(0, len(of), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = images[of[part]]
        along = [np.gradient(block, axis=axis) for axis in (1, 2) if block.shape[axis] > 1]
        tangents = np.stack([flat[of[part]], *(unit(g.reshape(len(block), -1)) for g in along)], axis=2)
        basis = np.linalg.qr(tangents + np.float32(1e-12))[0].astype(np.float32)
        explained = np.matmul(flat[candidates.rows[part]], basis)
        size = np.sqrt(np.clip(1 - (explained**2).sum(axis=2), 1e-8, None))
        size = np.where(np.isfinite(candidates.distances[part]), size, np.inf)
        order = np.argsort(size, axis=1, kind="stable")[:, :KEPT]
        rows[part] = np.take_along_axis(candidates.rows[part], order, axis=1)
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
