"""What is unusual in a row of a table: its columns beside those of other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._showing import shown

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

ROWS_READ: Final = 500
MARKED: Final = 4.0
"""Robust standard deviations from the median: of normal values one in 16,000. A mark is no finding, it only points."""


@dataclass(frozen=True)
class Columns:
    """Where the columns of a table usually lie.

    Attributes:
        middle, spread: shape (D,), median, and the interquartile range as that of a normal distribution; of a column
            that has none, its standard deviation. Both empty if no rows could be read.
        names: of the columns; () if unknown.
        limit: from how many spreads on a value is marked.
    """

    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    names: tuple[str, ...] = ()
    limit: float = MARKED

    def name(self, column: int) -> str:
        """What a column is called."""
        return self.names[column] if column < len(self.names) else f"column {column}"

    def by_oddity(self, values: NDArray[Any]) -> tuple[list[int], NDArray[np.float64]]:
        """The columns, the most unusual first, and by how many spreads each is off; inf for what is not finite."""
        if len(values) != len(self.middle):
            return list(range(len(values))), np.zeros(len(values))
        off = np.abs(values.astype(np.float64) - self.middle) / np.where(self.spread > 0, self.spread, 1)
        off = np.where((self.spread > 0) | (off == 0), off, np.inf)
        off = np.where(np.isfinite(values.astype(np.float64)), off, np.inf)
        return np.argsort(-off, kind="stable").tolist(), off


def columns_of(mistakes: Mistakes) -> Columns:
    """From rows that are read evenly from all of the data, at most ROWS_READ of them."""
    ids = mistakes.scores.ids[:: max(1, len(mistakes) // ROWS_READ)]
    parts = [part for name in ids if (part := shown(mistakes.example(name))) is not None and part.kind == "row"]
    width = len(parts[0].values) if parts and parts[0].values is not None else 0
    rows = [part.values for part in parts if part.values is not None and len(part.values) == width]
    if not rows:
        return Columns(np.zeros(0), np.zeros(0))
    table = np.stack(rows).astype(np.float64)
    table = np.where(np.isfinite(table), table, np.nan)
    known = np.where(np.isnan(table).all(axis=0), 0.0, table)
    low, middle, high = np.nanquantile(known, [0.25, 0.5, 0.75], axis=0)
    spread = (high - low) / 1.349
    return Columns(middle, np.where(spread > 0, spread, np.nanstd(known, axis=0)))
