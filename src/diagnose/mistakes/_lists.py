"""The lists that pages of text and of HTML have in common: titles, columns, and cells as plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diagnose.mistakes._scores import Scores
from diagnose.sinks.wording import visible
from diagnose.stats.intervals import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diagnose.mistakes._mistakes import Mistakes

WIDEST: Final = 44
"""Characters of a text or a file name in a line of a terminal."""


@dataclass(frozen=True)
class Listing:
    """One list.

    Attributes:
        title: what it lists.
        head: names of the columns.
        rows: cells, as many in each as there are columns; what cannot be seen is made visible.
        left: how many columns, from the last one, are texts; others but the first are numbers.
        left_out: how many rows there are beyond these.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 0
    left_out: int = 0


def confusions(mistakes: Mistakes, *, most: int, most_ids: int = 5) -> Listing:
    """Which class is taken for which, the most frequent first."""
    rows = []
    for pair in mistakes.confusions[:most]:
        names = class_name(mistakes.scores, pair.given), class_name(mistakes.scores, pair.predicted)
        ids = ", ".join(visible(name) for name in pair.ids[:most_ids])
        rows.append((*names, f"{pair.count:,} of {pair.of:,}", percent_interval(pair.share), ids))
    return Listing(
        "Taken for another class",
        ("given", "predicted", "how many", "share", "ids"),
        tuple(rows),
        1,
        len(mistakes.confusions) - len(rows),
    )


def slices(mistakes: Mistakes, *, most: int) -> Listing:
    """Groups with an unusual error."""
    shares = mistakes.scores.has_labels
    rows = []
    for part in mistakes.slices[:most]:
        where = ", ".join(f"{visible(name)} = {visible(value)}" for name, value in part.where.items())
        error = percent_interval(part.error) if shares else str(part.error)
        rest = percent(part.rest) if shares else figure(part.rest)
        rows.append((where, f"{part.size:,}", error, rest, f"{part.p:.1g}"))
    tried = mistakes.slices[0].tried if mistakes.slices else 0
    what = "error" if shares else "median loss"
    title = f"Groups with an unusual {what} (p is corrected for {tried} groups)"
    head = ("group", "size", what, "of the rest", "p")
    return Listing(title, head, tuple(rows), left_out=len(mistakes.slices) - len(rows))


def neighbours(mistakes: Mistakes, *, most: int) -> Listing:
    """Examples among others with another label."""
    scores, rows = mistakes.scores, []
    for part in mistakes.neighbours[:most]:
        other = visible(part.other), class_name(scores, part.other_given), figure(part.other_distance)
        of_same = figure(part.same_distance)
        rows.append((visible(part.id), class_name(scores, part.given), percent(part.dissent), *other, of_same))
    head = ("id", "given", "other labels near", "nearest such", "given", "distance", "of the same label")
    left_out = len(mistakes.neighbours) - len(rows)
    return Listing("Nearest to examples of another class", head, tuple(rows), left_out=left_out)


def worst_places(mistakes: Mistakes, *, most: int) -> Listing:
    """The worst tokens, labels, regions or outputs."""
    scores = mistakes.scores
    has_size, has_context = scores.task == "segmentation", scores.task == "language-model"
    rows = []
    for place in mistakes.worst_places[:most]:
        row = [visible(place.id), place_name(scores, place.position), *([f"{place.size:,}"] if has_size else [])]
        row += [class_name(scores, place.given), class_name(scores, place.predicted), figure(place.loss)]
        rows.append((*row, *([context_text(scores, place.context)] if has_context else [])))
    head = ["id", "at", *(["pixels"] if has_size else []), "given", "predicted", "loss"]
    head += ["after"] if has_context else []
    left_out = len(mistakes.worst_places) - len(rows)
    return Listing(_WORST.get(scores.task, ""), tuple(head), tuple(rows), int(has_context), left_out)


_WORST: Final = {
    "multilabel": "Worst labels",
    "regression": "Worst outputs",
    "tokens": "Worst tokens",
    "segmentation": "Worst regions",
    "language-model": "Most surprising tokens",
}


# ---------------------------------------------------------------------- names


def class_name(scores: Scores, value: float) -> str:
    """A class by its name, if it is known; else the number."""
    if scores.task == "multilabel":
        return {0: "no", 1: "yes"}.get(int(value), "-")
    if scores.has_labels and value == -1:
        return "-"
    if scores.has_labels or scores.task == "language-model":
        known = 0 <= value < len(scores.classes) and float(value).is_integer()
        return _name(scores.classes[int(value)]) if known else str(value)
    return figure(float(value))


def _name(name: str) -> str:
    """A name as it is; one that would not be seen (a token that is a blank, say) between quotes."""
    return visible(name) if name and visible(name) == name else visible(repr(name))


def place_name(scores: Scores, position: Any) -> str:
    """The label's name of a multilabel classification, a number, or (row, column) of a pixel."""
    if isinstance(position, int) and len(scores.shape) > 1:
        return str(tuple(int(index) for index in np.unravel_index(position, scores.shape)))
    if scores.task == "multilabel" and isinstance(position, int) and position < len(scores.classes):
        return visible(scores.classes[position])
    return str(position)


def context_text(scores: Scores, context: Sequence[int]) -> str:
    """The tokens before a place, by their names if they are known; the last ones, as many as there is room for."""
    names = [scores.classes[token] if token < len(scores.classes) else str(token) for token in context]
    glue = "" if scores.classes else " "
    return repr(glue.join(names)[-WIDEST:]) if scores.classes else visible(glue.join(names))[-WIDEST:]


# ---------------------------------------------------------------------- numbers


def percent(value: float) -> str:
    """Of a share."""
    return f"{100 * value:.3g} %" if value >= 0.001 or value == 0 else f"{100 * value:.2g} %"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def percent_interval(interval: Interval) -> str:
    """Of a share, with its ends."""
    return f"{percent(interval.value)} [{percent(interval.low)}, {percent(interval.high)}]"
