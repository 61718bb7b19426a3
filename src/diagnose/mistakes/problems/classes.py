"""label-outside-classes, single-example-class, rare-class, ambiguous-examples: what labels and probabilities tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import InspectionError
from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes._scores import Scores
from diagnose.mistakes.problems._sketch import Sketch
from diagnose.stats.intervals import newcombe, wilson

IGNORED: Final = -100
"""The label that PyTorch's losses leave out by default."""


def class_problems(
    sketch: Sketch,
    scores: Scores | None = None,
    *,
    rare: float = 0.1,
    worse: float = 0.1,
    near_tie: float = 0.1,
    ambiguous_share: float = 0.01,
) -> Iterator[Problem]:
    """Labels beyond the declared classes, classes with one example, rare classes, and examples between two classes.

    Args:
        scores: what a model says about these examples, in any order; None if there is no model.
        rare: a class is rare if it has less than this share of what it would have were all of one size. That is an
            imbalance of about 1 : 10; below it He & Garcia, "Learning from imbalanced data", 2009, do not speak of any.
        worse: a rare class is a warning if its error is higher than that of the others by at least so much, as the
            lower end of a Newcombe interval; else a remark.
        near_tie: an example is between two classes if their probabilities differ by less.
        ambiguous_share: a remark if so many are.
    """
    if sketch.label_kind == "class" and sketch.labels is not None:
        yield from _outside(sketch)
        values, counts = np.unique(sketch.labels[sketch.labels != IGNORED], return_counts=True)
        # Where classes are many and small (names, identities, counts) it is the nature of the data.
        if len(values) >= 2 and len(values) <= 0.1 * counts.sum():
            yield from _single(sketch, values[counts == 1], len(values))
            wrong = _wrong(sketch, scores)
            yield from _rare(sketch, values, counts, wrong, rare, worse)
    if scores is not None and scores.probabilities is not None:
        yield from _ambiguous(scores, near_tie, ambiguous_share)


def _wrong(sketch: Sketch, scores: Scores | None) -> NDArray[np.bool_] | None:
    """Shape (N,), in the order of the sketch: whether the model is wrong.

    Raises:
        InspectionError: scores are of other examples.
    """
    if scores is None or scores.task != "classification":
        return None
    by_id = dict(zip(scores.ids, scores.is_wrong.tolist(), strict=True))
    missing = [name for name in sketch.ids if name not in by_id]
    if missing:
        raise InspectionError(
            f"the scores have no example {missing[0]!r} ({len(missing)} of {len(sketch)} are missing). "
            "Give the scores of the pass over the same data, with the same ids."
        )
    return np.array([by_id[name] for name in sketch.ids], dtype=np.bool_)


def _single(sketch: Sketch, single: NDArray[np.int64], classes: int) -> Iterator[Problem]:
    assert sketch.labels is not None
    if not len(single):
        return
    rows = np.flatnonzero(np.isin(sketch.labels, single))
    names = ", ".join(sketch.class_name(int(value)) for value in single[:5])
    yield Problem.of(
        Finding(
            "single-example-class",
            Severity.INFO,
            f"{len(single)} of {classes} classes have one example only ({names})",
            evidence={"classes": len(single), "of": classes},
            cause="A rare class, or a label that was mistyped.",
            remedy="Collect more, merge the class with another one, or leave it out: it cannot be trained and tested.",
        ),
        tuple((sketch.ids[row],) for row in rows),
    )


def _rare(
    sketch: Sketch,
    values: NDArray[np.int64],
    counts: NDArray[np.int64],
    wrong: NDArray[np.bool_] | None,
    rare: float,
    worse: float,
) -> Iterator[Problem]:
    assert sketch.labels is not None
    even = counts.sum() / len(values)
    few = values[(counts < rare * even) & (counts > 1)]
    if not len(few):
        return
    is_rare = np.isin(sketch.labels, few)
    evidence: dict[str, Evidence] = {
        "sizes": {sketch.class_name(int(v)): int(c) for v, c in zip(values, counts, strict=True) if v in few},
        "of_equal_size": float(even),
        "limit": rare,
    }
    harm = ""
    severity = Severity.INFO
    if wrong is not None:
        rest = ~is_rare & (sketch.labels != IGNORED)
        error = wilson(int(wrong[is_rare].sum()), int(is_rare.sum()))
        other = wilson(int(wrong[rest].sum()), int(rest.sum()))
        gap = newcombe(int(wrong[is_rare].sum()), int(is_rare.sum()), int(wrong[rest].sum()), int(rest.sum()))
        evidence |= {"error": error.value, "error_low": error.low, "error_high": error.high, "other_error": other.value}
        severity = Severity.WARNING if gap.low > worse else Severity.INFO
        harm = (
            f"; {100 * error.value:.3g} % of them are wrong [{100 * error.low:.3g}, {100 * error.high:.3g}], "
            f"and {100 * other.value:.3g} % of the others"
        )
    names = ", ".join(f"{sketch.class_name(int(v))}: {int(c)}" for v, c in zip(values, counts, strict=True) if v in few)
    yield Problem.of(
        Finding(
            "rare-class",
            severity,
            f"{len(few)} of {len(values)} classes have less than {rare:g} of the {even:.0f} examples that each would "
            f"have were all of one size ({names[:200]}){harm}",
            evidence=evidence,
            cause="Classes are as frequent in the data as where these come from.",
            remedy="Collect more of them, weight their loss or draw them more often; report the error of each class.",
        ),
        tuple((sketch.ids[row],) for row in np.flatnonzero(is_rare)),
    )


def _ambiguous(scores: Scores, near_tie: float, share: float) -> Iterator[Problem]:
    assert scores.probabilities is not None
    probabilities = scores.probabilities
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or not len(probabilities):
        return
    top = -np.sort(-probabilities, axis=1)[:, :2]
    gaps = np.where(np.isfinite(top).all(axis=1), top[:, 0] - top[:, 1], np.inf)
    rows = np.flatnonzero(gaps < near_tie)
    found = wilson(len(rows), len(gaps))
    if found.low < share:
        return
    rows = rows[np.argsort(gaps[rows], kind="stable")]
    yield Problem.of(
        Finding(
            "ambiguous-examples",
            Severity.INFO,
            f"{len(rows)} of {len(gaps)} examples are between two classes: their probabilities differ by less than "
            f"{near_tie:g}",
            evidence={"examples": len(rows), "share": found.value, "share_low": found.low, "share_high": found.high},
            cause="Classes that overlap, labels that people would not agree on, or a model that has not learned.",
            remedy="Look at some: if you cannot tell either, ask for a second label, or allow for both.",
        ),
        tuple((scores.ids[row],) for row in rows),
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
