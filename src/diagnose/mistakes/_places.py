"""Where in an example the mistake is: a label, a token, a region of an image, an output of several."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from diagnose.findings import json_safe
from diagnose.mistakes._scores import Id


@dataclass(frozen=True)
class Place:
    """One place of one example.

    Attributes:
        id, row: of the example.
        position: number of the label, token or output; for a region (row, column) of its first pixel.
        given, predicted: class numbers, or values; of a region the most frequent ones.
        loss: at the place; of a region the mean.
        confidence, margin: as in `Scores`; None where there is none.
        size: how many pixels or tokens it has.
        box: of a region, (first, one past the last) along each dimension; () otherwise.
        context: of a token of a language model, the tokens before it, the nearest last.
    """

    id: Id
    row: int
    position: int | tuple[int, ...]
    given: int | float
    predicted: int | float
    loss: float
    confidence: float | None = None
    margin: float | None = None
    size: int = 1
    box: tuple[tuple[int, int], ...] = ()
    context: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, without what is None or empty."""
        data: dict[str, Any] = json_safe(asdict(self))
        return {key: value for key, value in data.items() if value is not None and value != []}
