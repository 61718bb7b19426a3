"""Examples whose neighbours have other labels, by embeddings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import json_safe
from diagnose.mistakes._scores import Floats, Id, Ints, Scores

NEAREST: Final = 10
MOST: Final = 20_000
"""Examples that are compared with all others; of more, those with the lowest margins."""
_AT_ONCE: Final = 20_000_000


@dataclass(frozen=True)
class Neighbourhood:
    """One example and those nearest to it, by the angle between embeddings.

    Attributes:
        id, row, given: of the example.
        dissent: the share of its nearest neighbours with another label.
        other, other_given, other_distance: the nearest example with another label; distance is 1 - cosine.
        same, same_distance: the nearest one with the same label; None if it is the only one of its class.
    """

    id: Id
    row: int
    given: int
    dissent: float
    other: Id
    other_given: int
    other_distance: float
    same: Id | None
    same_distance: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data: dict[str, Any] = json_safe(asdict(self))
        return data


def neighbourhoods(scores: Scores, *, k: int, nearest: int = NEAREST) -> tuple[Neighbourhood, ...]:
    """The `k` examples whose nearest neighbours dissent most; of equals, first those nearest to another label.

    () without embeddings, for other tasks than classification, and where all labels are the same.

    Args:
        nearest: how many neighbours are asked.

    Source:
        Bahri, Jiang & Gupta, "Deep k-NN for noisy labels", 2020.
    """
    if scores.embeddings is None or scores.task != "classification":
        return ()
    labels = scores.given.astype(np.int64)
    usable = np.flatnonzero((labels >= 0) & np.isfinite(scores.embeddings).all(axis=1))
    if len(usable) <= nearest or len(set(labels[usable].tolist())) < 2:
        return ()
    rows = usable if len(usable) <= MOST else usable[np.argsort(scores.margin[usable], kind="stable")[:MOST]]
    found = _compare(scores.embeddings, labels, usable, rows, nearest)
    # How much nearer the other label is breaks ties between shares, which there are eleven of.
    order = np.lexsort((found["other_distance"] / (found["same_distance"] + 1e-12), -found["dissent"]))[:k]
    return tuple(
        _entry(scores, int(rows[n]), {key: value[n] for key, value in found.items()})
        for n in order.tolist()
        if found["dissent"][n] > 0
    )


def _compare(
    embeddings: Floats, labels: Ints, usable: NDArray[np.intp], rows: NDArray[np.intp], nearest: int
) -> dict[str, NDArray[Any]]:
    directions = embeddings[usable] / np.maximum(np.linalg.norm(embeddings[usable], axis=1, keepdims=True), 1e-12)
    place = {row: n for n, row in enumerate(usable.tolist())}
    parts: list[dict[str, NDArray[Any]]] = []
    step = max(_AT_ONCE // len(usable), 1)
    for begin in range(0, len(rows), step):
        here = np.array([place[row] for row in rows[begin : begin + step].tolist()])
        near = directions[here] @ directions.T
        near[np.arange(len(here)), here] = -np.inf
        is_same = labels[usable][None, :] == labels[usable][here][:, None]
        top = np.argpartition(-near, nearest - 1, axis=1)[:, :nearest]
        other = np.where(is_same, -np.inf, near).argmax(axis=1)
        same = np.where(is_same, near, -np.inf).argmax(axis=1)
        line = np.arange(len(here))
        parts.append(
            {
                "dissent": (~np.take_along_axis(is_same, top, axis=1)).mean(axis=1),
                "other": usable[other],
                "other_distance": 1 - near[line, other],
                "same": usable[same],
                # Infinite for the only one of its class.
                "same_distance": 1 - np.where(is_same[line, same], near[line, same], -np.inf),
            }
        )
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _entry(scores: Scores, row: int, found: dict[str, Any]) -> Neighbourhood:
    alone = not np.isfinite(found["same_distance"])
    return Neighbourhood(
        id=scores.ids[row],
        row=row,
        given=int(scores.given[row]),
        dissent=float(found["dissent"]),
        other=scores.ids[int(found["other"])],
        other_given=int(scores.given[int(found["other"])]),
        other_distance=max(float(found["other_distance"]), 0.0),
        same=None if alone else scores.ids[int(found["same"])],
        same_distance=None if alone else max(float(found["same_distance"]), 0.0),
    )
