"""Mistakes as a page of text: what the numbers are, and tables short enough to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from diagnose.findings import Finding
from diagnose.mistakes._lists import (
    WIDEST,
    Listing,
    class_name,
    confusions,
    figure,
    neighbours,
    percent,
    percent_interval,
    place_name,
    share,
    signed,
    slices,
    worst_places,
)
from diagnose.mistakes._problem import Problem
from diagnose.mistakes._rankings import Entry
from diagnose.mistakes._scores import Scores, Source
from diagnose.mistakes._suspects import TIERS, tiers
from diagnose.sinks.wording import visible

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

ROWS: Final = 10
"""Of each table; the rest is in `Mistakes.table()` and in the files."""

WORTH: Final[dict[Source, str]] = {
    "model": (
        "Margins are those of one pass of the trained model. If it was trained on these very labels, this is the "
        "weaker evidence: it may have learned some by heart that are not true, and those are not in the list (track "
        "the training, or give out-of-fold probabilities). If it was not, its own mistakes are in the list as well."
    ),
    "training": (
        "Margins are means over the epochs of the training, which tells wrong labels from hard examples best."
    ),
    "out-of-fold": (
        "Margins come from models that were not trained on the example. Their own mistakes are in the list as well: "
        "the better the models, the purer the list."
    ),
}
LOOK: Final = "Suspect is not wrong: look before you change a label. Where people did, half of such labels were right."
"""Northcutt et al., "Pervasive label errors in test sets", 2021: 51 % of what was flagged was confirmed."""

_TASKS: Final = {
    "classification": "classification",
    "multilabel": "multilabel classification",
    "regression": "regression",
    "tokens": "labels of tokens",
    "segmentation": "segmentation",
    "language-model": "language model",
}


def report(mistakes: Mistakes) -> str:
    """The whole page."""
    model = f"{visible(mistakes.model)}: " if mistakes.model else ""
    parts = [f"{model}{head(mistakes)}", *(f"note: {visible(note)}" for note in mistakes.notes), _found(mistakes)]
    scores = mistakes.scores
    parts += [_ranking(mistakes, "Mistakes that the model is most sure of", mistakes.confident), _suspects(mistakes)]
    parts += [_listed(make(mistakes, most=ROWS)) for make in (confusions, slices, worst_places, neighbours)]
    parts += [_ranking(mistakes, "Highest loss", mistakes.highest_loss)]
    if scores.has_labels:
        parts += [_ranking(mistakes, "Right, but only just", mistakes.hardest)]
    return "\n\n".join(part for part in parts if part)


def worth_of(mistakes: Mistakes, *, often: float = 0.2) -> str:
    """How far the tiers can be believed.

    Args:
        often: a model that is wrong on more of the examples (as far as can be told) is no witness against labels; see
            `suspect-labels`.
    """
    scores, worth = mistakes.scores, WORTH[mistakes.scores.source]
    error = mistakes.error
    if scores.source == "training" or error is None or error.low <= often:
        return worth
    return (
        f"The model itself is wrong {percent(error.value)} of the time: many of these will be its own mistakes. {worth}"
    )


def counts(scores: Scores) -> dict[str, int]:
    """How many labels are in each tier; {} for a task without labels."""
    if not scores.has_labels:
        return {}
    found = tiers(scores.margin, scores.limits)
    return {name: found.count(name) for name in TIERS}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 0) -> str:
    """Columns that stand under one another; the last `left` ones and the first one to the left, others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    to_left = {0, *range(len(head) - left, len(head))}
    return "\n".join(
        "  "
        + "  ".join(
            c.ljust(w) if n in to_left else c.rjust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


# ---------------------------------------------------------------------- parts


def head(mistakes: Mistakes) -> str:
    """One sentence: how many examples, which task, error and mean loss."""
    scores = mistakes.scores
    text = f"{len(scores):,} {'example' if len(scores) == 1 else 'examples'}, {_TASKS[scores.task]}"
    mean = float(np.nanmean(scores.loss)) if np.isfinite(scores.loss).any() else np.nan
    if (error := mistakes.error) is not None:
        of = "" if scores.places is None else " of places"
        text += f", error{of} {percent_interval(error)}"
        if scores.places is None:
            text += f": {int(scores.is_wrong.sum()):,} mistakes"
            if mistakes.is_no_better_than_constant and mistakes.constant is not None:
                always, constant = mistakes.constant
                text += f" (always saying {class_name(scores, always)} has {percent(constant)})"
        else:
            text += f", in {int(scores.is_wrong.sum()):,} examples"
    text += f", mean loss {figure(mean)}"
    if scores.task == "language-model":
        text += f" (perplexity {figure(float(np.exp(mean)))})"
    return f"{text}."


def _found(mistakes: Mistakes) -> str:
    return "\n".join(line for finding in mistakes.findings for line in _lines(finding))


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.severity.value} {finding.code}: {visible(finding.message)}"]
    if isinstance(finding, Problem) and finding.groups:
        lines.append(f"    examples: {visible(finding.named())}")
    return [*lines, f"    what to do: {visible(finding.remedy)}"] if finding.remedy else lines


def _suspects(mistakes: Mistakes) -> str:
    found = counts(mistakes.scores)
    if not sum(found.values()):
        return ""
    told = f"{found['very-likely']:,} very likely, {found['suspect']:,} suspect, {found['look']:,} to look at"
    title = f"Suspect labels: {told}"
    worth = _wrapped(f"{worth_of(mistakes)} {LOOK}")
    first = {entry.id for entry in mistakes.suspects[:ROWS]}
    if first == {entry.id for entry in mistakes.confident[:ROWS]}:
        return f"{title}\n{worth}\n  The first ones are those above."
    return _ranking(mistakes, title, mistakes.suspects, f"{worth}\n", tier=True)


def _ranking(mistakes: Mistakes, title: str, ranking: Sequence[Entry], before: str = "", *, tier: bool = False) -> str:
    if not ranking:
        return ""
    scores = mistakes.scores
    shown = ranking[:ROWS]
    has_places, may_be_wrong = scores.place is not None, scores.task != "regression"
    columns = ["id", *(["worst place"] if has_places else []), *(["wrong"] if has_places and may_be_wrong else [])]
    columns += ["given", "predicted"]
    columns += ["sure", "margin"] if scores.has_labels else []
    columns += ["loss", *(["tier"] if tier else [])]
    rows = []
    for entry in shown:
        row = [visible(entry.id)]
        if has_places:
            row += [place_name(scores, entry.place)]
            row += [f"{entry.wrong_places} of {entry.places}"] if may_be_wrong else []
        row += [class_name(scores, entry.given), class_name(scores, entry.predicted)]
        row += [share(entry.confidence), signed(entry.margin)] if scores.has_labels else []
        row += [figure(entry.loss), *([entry.tier or ""] if tier else [])]
        rows.append(row)
    added = [_shown(mistakes, entry) for entry in shown]
    if any(added):
        columns.append("")
        rows = [[*row, text] for row, text in zip(rows, added, strict=True)]
    more = _more(len(ranking) - ROWS)
    return f"{title}\n{before}{table(columns, rows, left=int(any(added)) + int(tier))}{more}"


def _shown(mistakes: Mistakes, entry: Entry) -> str:
    """The file of an example and what `describe` says of it."""
    file, text = visible(mistakes.file(entry.id) or ""), visible(mistakes.text(entry.id))
    # Of a path the end tells most, of a text the beginning.
    file = file if len(file) <= WIDEST else f"...{file[3 - WIDEST :]}"
    text = text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
    return f"{file}  {text}" if file and text else file or text


def _listed(listing: Listing) -> str:
    if not listing.rows:
        return ""
    return f"{listing.title}\n{table(listing.head, listing.rows, left=listing.left)}{_more(listing.left_out)}"


def _more(left_out: int) -> str:
    return f"\n  ... and {left_out:,} more" if left_out > 0 else ""


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, width=100, initial_indent="  ", subsequent_indent="  ")
