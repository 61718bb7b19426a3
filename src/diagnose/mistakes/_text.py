"""Mistakes as a page of text: what the numbers are, and tables short enough to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diagnose.mistakes._rankings import Entry
from diagnose.mistakes._scores import Scores, Source
from diagnose.mistakes._suspects import TIERS, tiers
from diagnose.sinks.wording import visible

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

ROWS: Final = 10
"""Of each table; the rest is in `Mistakes.table()` and in the files."""
_WIDEST: Final = 44
"""Characters of a text or a file name."""

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
    parts = [_head(mistakes), *(f"note: {visible(note)}" for note in mistakes.notes), _found(mistakes)]
    scores = mistakes.scores
    parts += [_ranking(mistakes, "Mistakes that the model is most sure of", mistakes.confident), _suspects(mistakes)]
    parts += [_confusions(mistakes), _slices(mistakes), _worst(mistakes), _neighbours(mistakes)]
    parts += [_ranking(mistakes, "Highest loss", mistakes.highest_loss)]
    if scores.has_labels:
        parts += [_ranking(mistakes, "Right, but only just", mistakes.hardest)]
    return "\n\n".join(part for part in parts if part)


def counts(scores: Scores) -> dict[str, int]:
    """How many labels are in each tier; {} for a task without labels."""
    if not scores.has_labels:
        return {}
    found = tiers(scores.margin, scores.limits)
    return {name: found.count(name) for name in TIERS}


def class_name(scores: Scores, value: float) -> str:
    """A class by its name, if it is known; else the number."""
    if scores.task == "multilabel":
        return {0: "no", 1: "yes"}.get(int(value), "-")
    if scores.has_labels and value == -1:
        return "-"
    if scores.has_labels or scores.task == "language-model":
        known = 0 <= value < len(scores.classes) and float(value).is_integer()
        return _name(scores.classes[int(value)]) if known else str(value)
    return _figure(float(value))


def _name(name: str) -> str:
    """A name as it is; one that would not be seen (a token that is a blank, say) between quotes."""
    return visible(name) if name and visible(name) == name else visible(repr(name))


def place_name(scores: Scores, position: Any) -> str:
    """The label's name of a multilabel classification, a number, or a position in an image."""
    if scores.task == "multilabel" and isinstance(position, int) and position < len(scores.classes):
        return visible(scores.classes[position])
    return str(position)


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


def _head(mistakes: Mistakes) -> str:
    scores = mistakes.scores
    what = f"{visible(mistakes.model)}: " if mistakes.model else ""
    text = f"{what}{len(scores):,} {'example' if len(scores) == 1 else 'examples'}, {_TASKS[scores.task]}"
    mean = float(np.nanmean(scores.loss)) if np.isfinite(scores.loss).any() else np.nan
    if (error := mistakes.error) is not None:
        of = "" if scores.places is None else " of places"
        text += f", error{of} {_percent(error.value)} [{_percent(error.low)}, {_percent(error.high)}]"
        if scores.places is None:
            text += f": {int(scores.is_wrong.sum()):,} mistakes"
        else:
            text += f", in {int(scores.is_wrong.sum()):,} examples"
    text += f", mean loss {_figure(mean)}"
    if scores.task == "language-model":
        text += f" (perplexity {_figure(float(np.exp(mean)))})"
    return f"{text}."


def _found(mistakes: Mistakes) -> str:
    lines = []
    for finding in mistakes.findings:
        lines.append(f"{finding.severity.value} {finding.code}: {visible(finding.message)}")
        if finding.remedy:
            lines.append(f"    what to do: {visible(finding.remedy)}")
    return "\n".join(lines)


def _suspects(mistakes: Mistakes) -> str:
    found = counts(mistakes.scores)
    if not sum(found.values()):
        return ""
    told = f"{found['very-likely']:,} very likely, {found['suspect']:,} suspect, {found['look']:,} to look at"
    title = f"Suspect labels: {told}"
    worth = _wrapped(f"{WORTH[mistakes.scores.source]} {LOOK}")
    first = {entry.id for entry in mistakes.suspects[:ROWS]}
    if first == {entry.id for entry in mistakes.confident[:ROWS]}:
        return f"{title}\n{worth}\n  The first ones are those above."
    return _ranking(mistakes, title, mistakes.suspects, f"{worth}\n", tier=True)


def _ranking(mistakes: Mistakes, title: str, ranking: Sequence[Entry], before: str = "", *, tier: bool = False) -> str:
    if not ranking:
        return ""
    scores = mistakes.scores
    shown = ranking[:ROWS]
    has_places = scores.place is not None
    head = ["id", *(["worst place", "wrong"] if has_places else []), "given", "predicted"]
    head += ["sure", "margin"] if scores.has_labels else []
    head += ["loss", *(["tier"] if tier else [])]
    rows = []
    for entry in shown:
        row = [visible(entry.id)]
        if has_places:
            row += [place_name(scores, entry.place), f"{entry.wrong_places} of {entry.places}"]
        row += [class_name(scores, entry.given), class_name(scores, entry.predicted)]
        row += [_share(entry.confidence), _signed(entry.margin)] if scores.has_labels else []
        row += [_figure(entry.loss), *([entry.tier or ""] if tier else [])]
        rows.append(row)
    added = [_shown(mistakes, entry) for entry in shown]
    if any(added):
        head.append("")
        rows = [[*row, text] for row, text in zip(rows, added, strict=True)]
    more = f"\n  ... and {len(ranking) - ROWS} more" if len(ranking) > ROWS else ""
    return f"{title}\n{before}{table(head, rows, left=int(any(added)) + int(tier))}{more}"


def _shown(mistakes: Mistakes, entry: Entry) -> str:
    """The file of an example and what `describe` says of it."""
    file, text = visible(mistakes.file(entry.id) or ""), visible(mistakes.text(entry.id))
    # Of a path the end tells most, of a text the beginning.
    file = file if len(file) <= _WIDEST else f"...{file[3 - _WIDEST :]}"
    text = text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
    return f"{file}  {text}" if file and text else file or text


def _confusions(mistakes: Mistakes) -> str:
    if not mistakes.confusions:
        return ""
    scores = mistakes.scores
    rows = []
    for pair in mistakes.confusions[:ROWS]:
        share = f"{_percent(pair.share.value)} [{_percent(pair.share.low)}, {_percent(pair.share.high)}]"
        ids = ", ".join(visible(name) for name in pair.ids[:5])
        names = class_name(scores, pair.given), class_name(scores, pair.predicted)
        rows.append([*names, f"{pair.count:,} of {pair.of:,}", share, ids])
    more = len(mistakes.confusions) - ROWS
    tail = f"\n  ... and {more} more" if more > 0 else ""
    return "Taken for another class\n" + table(["given", "predicted", "how many", "share", "ids"], rows, left=1) + tail


def _slices(mistakes: Mistakes) -> str:
    if not mistakes.slices:
        return ""
    rows = []
    for part in mistakes.slices[:ROWS]:
        where = ", ".join(f"{visible(name)} = {visible(value)}" for name, value in part.where.items())
        rows.append([where, f"{part.size:,}", str(part.error), _figure(part.rest), f"{part.p:.1g}"])
    title = f"Groups with an unusual error (p is corrected for {mistakes.slices[0].tried} groups)"
    return f"{title}\n" + table(["group", "size", "error", "of the rest", "p"], rows)


def _neighbours(mistakes: Mistakes) -> str:
    if not mistakes.neighbours:
        return ""
    scores, rows = mistakes.scores, []
    for part in mistakes.neighbours[:ROWS]:
        other = [visible(part.other), class_name(scores, part.other_given), _figure(part.other_distance)]
        given = class_name(scores, part.given)
        rows.append([visible(part.id), given, _percent(part.dissent), *other, _figure(part.same_distance)])
    head = ["id", "given", "neighbours with another label", "nearest such", "given", "distance", "of the same label"]
    return f"Nearest to examples of another class\n{table(head, rows)}"


def _worst(mistakes: Mistakes) -> str:
    if not mistakes.worst_places:
        return ""
    scores = mistakes.scores
    title = {
        "multilabel": "Worst labels",
        "regression": "Worst outputs",
        "tokens": "Worst tokens",
        "segmentation": "Worst regions",
        "language-model": "Most surprising tokens",
    }[scores.task]
    has_size, has_context = scores.task == "segmentation", scores.task == "language-model"
    head = [
        "id",
        "at",
        *(["pixels"] if has_size else []),
        "given",
        "predicted",
        "loss",
        *(["after"] if has_context else []),
    ]
    rows = []
    for place in mistakes.worst_places[:ROWS]:
        row = [visible(place.id), place_name(scores, place.position), *([f"{place.size:,}"] if has_size else [])]
        row += [class_name(scores, place.given), class_name(scores, place.predicted), _figure(place.loss)]
        if has_context:
            row.append(context_text(scores, place.context))
        rows.append(row)
    return f"{title}\n{table(head, rows, left=int(has_context))}"


def context_text(scores: Scores, context: Sequence[int]) -> str:
    """The tokens before a place, by their names if they are known; the last ones, as many as there is room for."""
    names = [scores.classes[token] if token < len(scores.classes) else str(token) for token in context]
    glue = "" if scores.classes else " "
    return repr(glue.join(names)[-_WIDEST:]) if scores.classes else visible(glue.join(names))[-_WIDEST:]


# ---------------------------------------------------------------------- numbers


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.001 or share == 0 else f"{100 * share:.2g} %"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, width=100, initial_indent="  ", subsequent_indent="  ")
