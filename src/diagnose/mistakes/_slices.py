"""Groups of examples, by what is known about them, whose error is not that of the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MistakesError
from diagnose.findings import json_safe
from diagnose.mistakes._scores import Bools, Id, Scores
from diagnose.stats.intervals import Interval, order_statistics, wilson
from diagnose.stats.tails import fisher_exact, rank_sum

SMALLEST: Final = 10
"""Examples of a slice: of fewer, hardly any difference is beyond chance, and each that is tried costs the others."""
FEW_VALUES: Final = 20
"""Numbers with at most so many values are taken as they are, others in four parts of equal size."""
MOST_COLUMNS: Final = 12
"""Columns of which pairs are tried as well."""
ALPHA: Final = 0.05


@dataclass(frozen=True)
class Slice:
    """Examples that share a value of a column, or values of two.

    Attributes:
        where: column -> value; a range of numbers as "[low, high)".
        size: how many examples it has.
        error: its share of mistakes; for a task without labels, its median loss, which one huge loss does not sway.
        rest: the same number of all other examples.
        p: how likely so large a difference, in either direction, is by chance; corrected for all that were tried.
        tried: how many slices were tried.
        ids: the examples of the slice with the highest loss.
    """

    where: Mapping[str, str]
    size: int
    error: Interval
    rest: float
    p: float
    tried: int
    ids: tuple[Id, ...] = ()

    @property
    def is_worse(self) -> bool:
        """Whether its error is above that of the rest."""
        return self.error.value > self.rest

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.where.items())

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        error = {"value": self.error.value, "low": self.error.low, "high": self.error.high}
        data: dict[str, Any] = json_safe({**vars(self), "error": error, "ids": list(self.ids)})
        return data


@dataclass(frozen=True)
class _Column:
    name: str
    groups: dict[str, Bools]


def slices(
    scores: Scores,
    metadata: Mapping[str, Sequence[Any]],
    *,
    alpha: float = ALPHA,
    pairs: bool = True,
    k: int = 10,
) -> tuple[Slice, ...]:
    """Slices whose error differs from that of the rest, the worst first.

    Each value of each column is tried, and pairs of values of two columns; of a pair only what is clearer than each of
    its two parts alone. Shares of mistakes are compared by Fisher's exact test, losses by the rank sum test, which one
    huge loss does not sway. All p-values are corrected by Holm's method, which holds whatever the slices have in
    common (they overlap): among all that is returned there is a chance finding with probability `alpha` at most.
    Rates of false discoveries, as by Benjamini & Hochberg, would let more through; a group that is named is acted on.

    Args:
        metadata: a value for each row of the scores, by the name of the column.
        alpha: as above.
        pairs: whether pairs of columns are tried; not done for more than `MOST_COLUMNS` of them.
        k: how many IDs of each.

    Raises:
        MistakesError: a column has another length.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", 1979; Chung et al., "Slice Finder", 2019.
    """
    for name, values in metadata.items():
        if len(values) != len(scores):
            raise MistakesError(f"metadata {name!r} has {len(values)} values for {len(scores)} examples.")
    counted = np.isfinite(scores.loss)
    columns = [_Column(str(name), _groups(values)) for name, values in metadata.items()]
    tried: list[tuple[dict[str, str], Bools, float, float]] = []
    single: dict[tuple[str, str], float] = {}
    measure = _Measure(scores, counted)
    for column in columns:
        for value, mask in column.groups.items():
            p = measure.p(mask)
            if p is not None:
                single[column.name, value] = p
                tried.append(({column.name: value}, mask, p, 1.0))
    if pairs and len(columns) <= MOST_COLUMNS:
        for where, mask in _pairs(columns):
            p = measure.p(mask)
            if p is not None:
                tried.append((where, mask, p, min(single.get(item, 1.0) for item in where.items())))
    if not tried:
        return ()
    found = []
    for (where, mask, p, of_parts), corrected in zip(tried, _holm([p for _, _, p, _ in tried]), strict=True):
        if corrected < alpha and p < of_parts:
            found.append(replace(measure.slice(where, mask, k), p=corrected, tried=len(tried)))
    return tuple(sorted(found, key=lambda part: (not part.is_worse, part.p)))


class _Measure:
    def __init__(self, scores: Scores, counted: Bools) -> None:
        self._scores, self._counted = scores, counted
        self._wrong = scores.is_wrong
        self._shares = scores.has_labels

    def p(self, mask: Bools) -> float | None:
        """The p-value of a slice; None if it, or what is left, is too small."""
        inside, outside = mask & self._counted, ~mask & self._counted
        if min(int(inside.sum()), int(outside.sum())) < SMALLEST:
            return None
        if self._shares:
            wrong = self._wrong
            return fisher_exact(
                int(wrong[inside].sum()), int(inside.sum()), int(wrong[outside].sum()), int(outside.sum())
            )
        return rank_sum(self._scores.loss[inside], self._scores.loss[outside])

    def slice(self, where: dict[str, str], mask: Bools, k: int) -> Slice:
        inside, outside = mask & self._counted, ~mask & self._counted
        if self._shares:
            error = wilson(int(self._wrong[inside].sum()), int(inside.sum()))
            rest = float(self._wrong[outside].mean())
        else:
            error, rest = _median(self._scores.loss[inside]), float(np.median(self._scores.loss[outside]))
        rows = np.flatnonzero(inside)
        worst = rows[np.argsort(-self._scores.loss[rows], kind="stable")[:k]]
        ids = tuple(self._scores.ids[row] for row in worst.tolist())
        return Slice(where, int(inside.sum()), error, rest, 1.0, 0, ids)


def _median(values: NDArray[np.floating]) -> Interval:
    """What the rank sum test is about. By means, one huge loss makes the slice worse that has it, all others better."""
    ordered = np.sort(values)
    low, high = order_statistics(len(ordered), 0.5)
    return Interval(float(np.median(ordered)), float(ordered[max(low, 0)]), float(ordered[min(high, len(ordered) - 1)]))


def _holm(p: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given."""
    corrected: list[float] = [1.0] * len(p)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


# ---------------------------------------------------------------------- columns


def _groups(values: Sequence[Any]) -> dict[str, Bools]:
    """Which examples have which value of a column."""
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    known = [value for value in plain if not _is_missing(value)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    distinct = set(known)
    if numbers and len(distinct) > FEW_VALUES:
        return _quarters(np.array([math.nan if _is_missing(value) else float(value) for value in plain]))
    texts = np.array(["missing" if _is_missing(value) else _text(value) for value in plain], dtype=object)
    found, inverse, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    groups = {str(found[n]): inverse == n for n in np.flatnonzero(counts >= SMALLEST).tolist()}
    return groups if len(found) > 1 else {}


def _quarters(values: NDArray[np.float64]) -> dict[str, Bools]:
    bounds = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1]))
    groups = {}
    for low, high in pairwise(bounds.tolist()):
        is_last = high == bounds[-1]
        inside = (values >= low) & ((values <= high) if is_last else (values < high))
        groups[f"[{low:.4g}, {high:.4g}{']' if is_last else ')'}"] = inside
    if np.isnan(values).any():
        groups["missing"] = np.isnan(values)
    return groups


def _pairs(columns: Sequence[_Column]) -> Iterator[tuple[dict[str, str], Bools]]:
    for one, other in combinations(columns, 2):
        for value, mask in one.groups.items():
            for second, mask_of_second in other.groups.items():
                both = mask & mask_of_second
                # What is all of a part, or nothing, has been tried.
                if SMALLEST <= both.sum() < min(mask.sum(), mask_of_second.sum()):
                    yield {one.name: value, other.name: second}, both


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
