"""Rows that lie nearer to each other than the density of the data explains."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

_BLOCK: Final = 512
LARGEST_GROUP: Final = 5


class Nearest(NamedTuple):
    """The nearest other rows of each row.

    Attributes:
        rows: shape (N, k), nearest first.
        distances: shape (N, k).
    """

    rows: Ints
    distances: Floats32


def nearest_rows(vectors: Floats32, k: int, *, queries: Ints | None = None) -> Nearest:
    """The k nearest other rows of each row, by Euclidean distance, in blocks.

    Args:
        vectors: shape (N, D), finite; N above k.
        queries: of which rows; None for all.
    """
    squares = np.einsum("nd,nd->n", vectors, vectors)
    asked = np.arange(len(vectors)) if queries is None else queries
    rows = np.empty((len(asked), k), dtype=np.int64)
    distances = np.empty((len(asked), k), dtype=np.float32)
    for start in range(0, len(asked), _BLOCK):
        block = asked[start : start + _BLOCK]
        table = squares - 2 * (vectors[block] @ vectors.T)
        table[np.arange(len(block)), block] = np.inf
        near = np.argpartition(table, k - 1, axis=1)[:, :k]
        # Once more by differences: squares of sums lose the digits that tell near copies from equal rows.
        exact = ((vectors[near] - vectors[block][:, None]) ** 2).sum(axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        rows[start : start + len(block)] = np.take_along_axis(near, order, axis=1)
        distances[start : start + len(block)] = np.sqrt(np.take_along_axis(exact, order, axis=1))
    return Nearest(rows, distances)


class NearPairs(NamedTuple):
    """What lies too near.

    Attributes:
        pairs: shape (P, 2), row numbers, the nearest first.
        ratios: shape (P,), how many times nearer than the next row that is no copy.
        limit: the ratio from which on a single pair is called one.
        dimension: in how many dimensions the data vary locally.
    """

    pairs: Ints
    ratios: NDArray[np.float64]
    limit: float
    dimension: float


def near_pairs(nearest: Nearest, *, chance: float = 0.01) -> NearPairs | None:
    """Pairs of rows that are nearer than chance explains; None where that cannot be told.

    If rows lie around a point as densely as its neighbours suggest, in m dimensions, then (d_j / d_(j+1)) ** m is
    distributed as Beta(j, 1), d_j being the distance of the j-th neighbour: P(d_j / d_(j+1) < r) = r ** (m * j). A row
    with j copies is one whose d_j is too small for that. The dimension is estimated from log(d_2 / d_1) of all
    rows, exponential with mean 1 / m. As the density of real data is not that even, the smallest of three estimates
    is taken: from the lower half of them, from the next quarter, and up to the 95th percentile unless copies alone make
    it small. So the limit is wide where data have many near rows by nature (digits that look alike).

    Rows of few kinds of values have neighbours at equal distances; then nothing can be told.

    Args:
        nearest: at least LARGEST_GROUP + 1 neighbours, of all rows.
        chance: how likely any pair at all is found where there are no copies, if the above holds.

    Source:
        Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood information", 2017.
    """
    distances = nearest.distances.astype(np.float64)
    if len(distances) < 50 or distances.shape[1] <= LARGEST_GROUP:
        return None
    positive = np.maximum(distances, 1e-12)
    logs = np.log(positive[:, 1:] / positive[:, :-1])
    first = logs[:, 0]
    if (first == 0).mean() > 0.05 or np.median(first) < 1e-6:
        return None
    dimension = dimension_of(first)
    found: dict[tuple[int, int], float] = {}
    tests = len(distances) * LARGEST_GROUP
    for copies in range(1, LARGEST_GROUP + 1):
        limit = math.log(tests / chance) / (dimension * copies)
        # A pair that differs less than its next neighbour by that much, and no less than twice.
        for row in np.flatnonzero(logs[:, copies - 1] > max(limit, math.log(2.0))):
            for other in nearest.rows[row, :copies]:
                pair = (min(int(row), int(other)), max(int(row), int(other)))
                found[pair] = max(found.get(pair, 0.0), math.exp(min(float(logs[row, copies - 1]), 50.0)))
    order = sorted(found, key=lambda pair: -found[pair])
    return NearPairs(
        np.array(order, dtype=np.int64).reshape(-1, 2),
        np.array([found[pair] for pair in order]),
        math.exp(min(math.log(tests / chance) / dimension, 50.0)),
        dimension,
    )


def dimension_of(logs: NDArray[np.floating[Any]]) -> float:
    """In how many dimensions rows vary locally, rather too few than too many.

    Args:
        logs: shape (N,), log(d_2 / d_1) of each row.
    """
    half, three_quarters, most = np.quantile(logs, [0.5, 0.75, 0.95]).tolist()
    estimates: list[float] = [math.log(2) / max(half, 1e-9), math.log(2) / max(three_quarters - half, 1e-9)]
    tail = math.log(5) / max(most - three_quarters, 1e-9)
    # A twentieth of the rows may have copies: a tail three times as long as the middle has another reason.
    if tail > min(estimates) / 3:
        estimates.append(tail)
    return min(estimates)
