"""Scores and rankings as columns: for pandas, CSV and Parquet."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._lists import class_name
from diagnose.mistakes._rankings import Ranking, checked, ranked
from diagnose.mistakes._suspects import tiers

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes


def columns(mistakes: Mistakes, rows: NDArray[np.intp]) -> dict[str, list[Any]]:
    """Plain values by the name of the column, for the examples in the given rows. NaN is None."""
    scores = mistakes.scores
    found: dict[str, list[Any]] = {"id": [scores.ids[row] for row in rows.tolist()]}
    files = [mistakes.file(name) for name in found["id"]]
    if any(files):
        found["file"] = files
    for name in ("given", "predicted"):
        found[name] = getattr(scores, name)[rows].tolist()
    if scores.classes and scores.task != "multilabel":
        for name in ("given", "predicted"):
            found[f"{name}_name"] = [class_name(scores, value) for value in found[name]]
    for name in ("confidence", "margin", "loss"):
        values = getattr(scores, name)[rows]
        if not np.isnan(values).all() or name == "loss":
            found[name] = [None if np.isnan(value) else value for value in values.tolist()]
    if scores.has_labels:
        found["is_wrong"] = scores.is_wrong[rows].tolist()
        found["tier"] = list(tiers(scores.margin[rows], scores.limits))
    for name in ("place", "places", "wrong_places"):
        values = getattr(scores, name)
        if values is not None:
            found[name] = values[rows].tolist()
    return found


def as_frame(mistakes: Mistakes, ranking: Ranking | None) -> Any:
    """A DataFrame if pandas is installed, else a list of dicts.

    Raises:
        MistakesError: there is no such ranking.
    """
    rows = np.arange(len(mistakes)) if ranking is None else ranked(mistakes.scores, checked(ranking), mistakes.k)
    data = columns(mistakes, rows)
    if importlib.util.find_spec("pandas") is None:
        return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    import pandas as pd

    return pd.DataFrame(data)
