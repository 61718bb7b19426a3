"""Which class is taken for which other one, how often, and in which examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.mistakes._scores import Id, Scores
from diagnose.stats.intervals import Interval, wilson


@dataclass(frozen=True)
class Confusion:
    """Examples of one class that the model takes for another.

    Attributes:
        given, predicted: class numbers.
        count: how many.
        of: how many examples have the given class.
        share: count / of, with its interval.
        ids: of those examples, the ones that the model is most sure of first; at most as many as were asked for.
    """

    given: int
    predicted: int
    count: int
    of: int
    share: Interval
    ids: tuple[Id, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        share = {"value": self.share.value, "low": self.share.low, "high": self.share.high}
        return {**vars(self), "share": share, "ids": list(self.ids)}


def confusions(scores: Scores, *, k: int) -> tuple[Confusion, ...]:
    """All pairs of classes that occur among the mistakes, the most frequent first. Only of a classification.

    Args:
        k: how many IDs of each pair.
    """
    if scores.task != "classification":
        return ()
    wrong = np.flatnonzero(scores.is_wrong)
    if not len(wrong):
        return ()
    given, predicted = scores.given.astype(np.int64), scores.predicted.astype(np.int64)
    sizes = dict(zip(*(part.tolist() for part in np.unique(given, return_counts=True)), strict=True))
    pairs, inverse = np.unique(np.stack([given[wrong], predicted[wrong]], axis=1), axis=0, return_inverse=True)
    by_pair = np.argsort(inverse.reshape(-1), kind="stable")
    bounds = np.cumsum(np.bincount(inverse.reshape(-1)))[:-1]
    found = []
    for (one, other), rows in zip(pairs.tolist(), np.split(wrong[by_pair], bounds), strict=True):
        surest = rows[np.argsort(-scores.confidence[rows], kind="stable")[:k]]
        share = wilson(len(rows), sizes[one])
        ids = tuple(scores.ids[row] for row in surest)
        found.append(Confusion(one, other, len(rows), sizes[one], share, ids))
    return tuple(sorted(found, key=lambda pair: -pair.count))
