"""non-finite-inputs: examples that hold NaN or infinite values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._sketch import Sketch


def non_finite_inputs(sketch: Sketch) -> Iterator[Problem]:
    """Examples with values that are NaN or infinite, those with the most first; and such labels."""
    for component in sketch.components:
        counts = component.stats.get("non_finite")
        if counts is None or not counts.any():
            continue
        found = np.flatnonzero(counts)
        found = found[np.argsort(-counts[found], kind="stable")]
        yield _problem(
            sketch, found, f"{len(found)} of {len(sketch)} examples{component.of} hold NaN or infinite values"
        )
    if sketch.labels is not None and sketch.label_kind == "value" and not np.isfinite(sketch.labels).all():
        found = np.flatnonzero(~np.isfinite(sketch.labels))
        yield _problem(sketch, found, f"{len(found)} of {len(sketch)} targets are NaN or infinite")


def _problem(sketch: Sketch, found: np.ndarray, message: str) -> Problem:
    return Problem.of(
        Finding(
            "non-finite-inputs",
            Severity.WARNING,
            message,
            evidence={"examples": len(found), "share": len(found) / len(sketch)},
            cause="Missing values, a division by zero or the logarithm of a number that is not positive.",
            remedy="Fill in or leave out what is missing before training: one NaN makes the loss of its batch NaN.",
        ),
        tuple((sketch.ids[row],) for row in found),
    )
