"""Examples in the order in which they are worth a look, by several questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import MistakesError
from diagnose.findings import json_safe
from diagnose.mistakes._scores import Id, Scores
from diagnose.mistakes._suspects import Tier, tiers

Ranking: TypeAlias = Literal["confident", "loss", "suspects", "hardest"]
RANKINGS: Final = get_args(Ranking)


def checked(ranking: Ranking) -> Ranking:
    """`ranking`, if there is such a one.

    Raises:
        MistakesError: there is none.
    """
    if ranking not in RANKINGS:
        raise MistakesError(f"ranking is {ranking!r}, and has to be one of {', '.join(map(repr, RANKINGS))}.")
    return ranking


@dataclass(frozen=True)
class Entry:
    """One example of a ranking.

    Attributes:
        id: of the example.
        row: its row in the scores.
        given, predicted, confidence, margin, loss: as in `Scores`; None where there is none.
        tier: how much speaks against the given label; None if nothing does, or if there are no labels.
        place, places, wrong_places: as in `Scores`; None where examples have one place.
    """

    id: Id
    row: int
    given: int | float
    predicted: int | float
    confidence: float | None
    margin: float | None
    loss: float | None
    tier: Tier | None = None
    place: int | None = None
    places: int | None = None
    wrong_places: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, without what is None."""
        return {key: json_safe(value) for key, value in asdict(self).items() if value is not None}


def ranked(scores: Scores, ranking: Ranking, k: int) -> NDArray[np.intp]:
    """The rows of the first `k` examples of a ranking; rows that have no such number are in none.

    confident: mistakes, the one that the model is most sure of first (Goodfellow, Bengio & Courville, "Deep Learning",
    section 11.5: "visualize the worst mistakes").
    loss: the highest loss first.
    suspects: labels with a margin below 0, the lowest first.
    hardest: right ones, the least margin first; without margins (one output), the least confidence.
    """
    if ranking == "loss":
        return _lowest(-scores.loss, np.ones(len(scores), dtype=np.bool_), k)
    if not scores.has_labels:
        return np.empty(0, dtype=np.intp)
    if ranking == "confident":
        return _lowest(-scores.confidence, scores.is_wrong, k)
    if ranking == "suspects":
        return _lowest(scores.margin, scores.margin < 0, k)
    order = scores.margin if scores.source != "training" else scores.confidence
    return _lowest(order, ~scores.is_wrong, k)


def entries(
    scores: Scores, rows: Sequence[int] | NDArray[np.intp], ranking: Ranking | None = None
) -> tuple[Entry, ...]:
    """The examples in the given rows.

    Args:
        ranking: "suspects" shows as predicted what speaks against the label: the out-of-fold prediction, if any.
    """
    if ranking == "suspects" and scores.source == "out-of-fold" and scores.probabilities is not None:
        best = scores.probabilities.argmax(axis=1)
        scores = replace(scores, predicted=best, confidence=scores.probabilities.max(axis=1))
    margin = scores.margin[np.asarray(rows, dtype=np.intp)]
    found = tiers(margin, scores.limits) if scores.has_labels else [None] * len(rows)
    return tuple(_entry(scores, int(row), tier) for row, tier in zip(rows, found, strict=True))


def _lowest(values: NDArray[np.floating], among: NDArray[np.bool_], k: int) -> NDArray[np.intp]:
    candidates = np.flatnonzero(among & ~np.isnan(values))
    # Stable: examples with equal values stay in the order of the data, so that two runs give the same list.
    return candidates[np.argsort(values[candidates], kind="stable")[:k]]


def _entry(scores: Scores, row: int, tier: Tier | None) -> Entry:
    def count(values: NDArray[np.int64] | None) -> int | None:
        return None if values is None else int(values[row])

    return Entry(
        id=scores.ids[row],
        row=row,
        given=scores.given[row].item(),
        predicted=scores.predicted[row].item(),
        confidence=_number(scores.confidence[row]),
        margin=_number(scores.margin[row]),
        loss=_number(scores.loss[row]),
        tier=tier,
        place=count(scores.place),
        places=count(scores.places),
        wrong_places=count(scores.wrong_places),
    )


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
