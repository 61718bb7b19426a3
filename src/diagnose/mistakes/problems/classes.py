"""label-outside-classes, single-example-class: what labels alone tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._sketch import Sketch

IGNORED = -100
"""The label that PyTorch's losses leave out by default."""


def label_problems(sketch: Sketch) -> Iterator[Problem]:
    """Labels beyond the declared classes, and classes with a single example."""
    if sketch.label_kind != "class" or sketch.labels is None:
        return
    labels = sketch.labels
    yield from _outside(sketch)
    values, counts = np.unique(labels[labels != IGNORED], return_counts=True)
    single = values[counts == 1]
    # Where most classes are that small (names, identities, counts) it is the nature of the data.
    if len(single) and len(single) <= 0.5 * len(values) and len(values) <= 0.5 * len(labels):
        rows = np.flatnonzero(np.isin(labels, single))
        names = ", ".join(sketch.class_name(int(value)) for value in single[:5])
        yield Problem.of(
            Finding(
                "single-example-class",
                Severity.INFO,
                f"{len(single)} of {len(values)} classes have one example only ({names})",
                evidence={"classes": len(single), "of": len(values)},
                cause="A rare class, or a label that was mistyped.",
                remedy="Collect more, merge the class with another one, or leave it out: it cannot be both trained and "
                "tested.",
            ),
            tuple((sketch.ids[row],) for row in rows),
        )


def _outside(sketch: Sketch) -> Iterator[Problem]:
    labels = sketch.labels
    assert labels is not None
    count = len(sketch.classes)
    wrong = (labels < 0) if not count else (labels < 0) | (labels >= count)
    rows = np.flatnonzero(wrong & (labels != IGNORED))
    if not len(rows):
        return
    values = sorted(set(labels[rows].tolist()))
    yield Problem.of(
        Finding(
            "label-outside-classes",
            Severity.ERROR,
            f"{len(rows)} labels are none of the {f'{count} ' if count else ''}classes: "
            + ", ".join(map(str, values[:5]))
            + (", ..." if len(values) > 5 else ""),
            evidence={"examples": len(rows), "labels": values[:20], "classes": count or None},
            cause="Classes counted from 1, a class that was added later, or a code for unknown labels.",
            remedy="Map the labels to 0 ... K - 1; what is unknown gets the loss's ignore_index, -100 by default.",
        ),
        tuple((sketch.ids[row],) for row in rows),
    )
