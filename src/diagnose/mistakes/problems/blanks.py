"""blank-images, empty-texts, truncated-texts: examples with little or no content."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._features import show_the_same
from diagnose.mistakes.problems._sketch import Component, Sketch
from diagnose.stats.spacings import far_from_rest

Rows = NDArray[np.int64]
_LENGTHS_BELOW = 5
"""The least number of lengths that tell how many texts there are of each."""


def blank_examples(sketch: Sketch, *, is_prose: bool = False, chance: float = 1e-3) -> Iterator[Problem]:
    """Images of one colour, texts without words, sequences of padding, texts that were cut.

    Args:
        is_prose: tokens are text cut into blocks, as for a language model: a block may lie within a ruler or a blank.
    """
    for component in sketch.components:
        blank = np.flatnonzero(component.is_constant)
        if component.kind in ("image", "signal"):
            blank = np.concatenate([blank, _faint(component, chance)])
            if len(blank):
                yield _blank(sketch, component, blank)
        elif component.kind in ("tokens", "text"):
            # Among whole numbers of few kinds (counts, codes) some rows are all alike, and more are nearly so.
            others = component.stats.get("others")
            by_chance = others is not None and ((others > 0) & (others <= 3)).sum() >= len(blank)
            if len(blank) and not by_chance and not (is_prose and component.kind == "tokens"):
                yield _empty(sketch, component, blank)
            yield from _truncated(sketch, component, chance)


def _faint(component: Component, chance: float, faint: float = 0.1) -> Rows:
    """Images that are almost of one colour: less than a tenth of the usual contrast, and a gap to all others."""
    usable = np.flatnonzero(~component.is_constant & (component.stats["non_finite"] == 0))
    contrast = component.stats["std"][usable].astype(np.float64)
    gap = far_from_rest(np.log(contrast), "low", chance=chance) if len(usable) else None
    if gap is None:
        return usable[:0]
    rows = usable[gap.rows]
    is_faint = contrast[gap.rows] < faint * np.median(contrast)
    rows = rows[is_faint]
    # Multiplied by a small number, an example still shows what it shows: that is another fault.
    others = np.setdiff1d(usable, rows)
    return rows if len(rows) and not show_the_same(component, rows, others) else rows[:0]


def _blank(sketch: Sketch, component: Component, rows: Rows) -> Problem:
    what = "images" if component.kind == "image" else "signals"
    share = len(rows) / len(sketch)
    a_class = _class_of_blanks(sketch, rows)
    return Problem.of(
        Finding(
            "blank-images",
            Severity.INFO if a_class is not None else Severity.WARNING,
            f"{len(rows)} of {len(sketch)} {what}{component.of} are blank: one value everywhere, or nearly so"
            + (f" (most of {a_class} are)" if a_class is not None else ""),
            evidence={"examples": len(rows), "share": share},
            cause="Files that could not be read, crops beyond the edge, a mask that covers everything.",
            remedy="Look for the files, and leave these examples out: their labels can only be learned by heart.",
        ),
        tuple((sketch.ids[row],) for row in rows),
    )


def _class_of_blanks(sketch: Sketch, rows: Rows, most: float = 0.5) -> str | None:
    """The class that consists of such examples: blank is what it means."""
    if sketch.label_kind != "class" or sketch.labels is None:
        return None
    values, counts = np.unique(sketch.labels[rows], return_counts=True)
    largest = int(values[counts.argmax()])
    is_class = counts.max() >= 3 and counts.max() > most * int((sketch.labels == largest).sum())
    return sketch.class_name(largest) if is_class and counts.max() > most * len(rows) else None


def _empty(sketch: Sketch, component: Component, rows: Rows) -> Problem:
    what = "texts hold no word" if component.kind == "text" else "sequences hold one token only, over and over"
    return Problem.of(
        Finding(
            "empty-texts",
            Severity.WARNING,
            f"{len(rows)} of {len(sketch)} {what}{component.of}",
            evidence={"examples": len(rows), "share": len(rows) / len(sketch)},
            cause="Missing fields that were read as empty, or cleaning that removed everything: only padding is left.",
            remedy="Leave them out: a mean over no positions is NaN, and their labels can only be learned by heart.",
        ),
        tuple((sketch.ids[row],) for row in rows),
    )


def _truncated(
    sketch: Sketch, component: Component, chance: float, spike: float = 5.0, most: float = 0.5, fewest: int = 10
) -> Iterator[Problem]:
    """Texts of exactly the greatest length, if many more than of the lengths just below; and texts cut to almost none.

    Where half of all texts have that length, they are cut into blocks on purpose.
    """
    length = component.stats["length"]
    longest = float(length.max(initial=0))
    if longest < 8 or len(sketch) < 50:
        return
    full = np.flatnonzero(length == longest)
    # As many as of any of the lengths below would be expected, had nothing been cut. Of short texts the last tenth is
    # no length at all, or one.
    window = max(0.1 * longest, _LENGTHS_BELOW)
    below = (length >= longest - window) & (length < longest)
    expected = below.sum() / window
    if fewest <= len(full) <= most * len(sketch) and len(full) > spike * max(expected, 1.0):
        yield _cut(sketch, component, full, f"have exactly the greatest length, {longest:.0f}", expected)
    usable = np.flatnonzero(length > 0)
    gap = far_from_rest(np.log(length[usable].astype(np.float64)), "low", chance=chance)
    if gap is not None:
        rows = usable[gap.rows]
        yield _cut(sketch, component, rows, f"are far shorter than all others: {length[rows].max():.0f} or less", 0.0)


def _cut(sketch: Sketch, component: Component, rows: Rows, how: str, expected: float) -> Problem:
    return Problem.of(
        Finding(
            "truncated-texts",
            Severity.INFO,
            f"{len(rows)} of {len(sketch)} texts{component.of} {how}",
            evidence={"examples": len(rows), "share": len(rows) / len(sketch), "expected": float(expected)},
            cause="A limit of length in the tokenizer, or a field that was cut where it was stored.",
            remedy="Check what is lost behind the end; raise the limit, or cut texts into windows.",
        ),
        tuple((sketch.ids[row],) for row in rows),
    )
