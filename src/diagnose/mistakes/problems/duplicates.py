"""duplicate-examples, conflicting-labels: examples that are equal in every value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._sketch import Hashes, Sketch, joined
from diagnose.stats.intervals import wilson

Rows = NDArray[np.int64]
NOTHING: Final = np.zeros(0, dtype=np.int64)

BY_CHANCE: Final = 0.1
"""Equal rows are called copies only if pairs that are equal but for one part are rarer than this, relative to pairs
that are equal altogether."""


def duplicate_examples(
    sketch: Sketch, *, warn_share: float = 0.01, by_chance: float = BY_CHANCE, apart: float = 0.5
) -> Iterator[Problem]:
    """Copies of examples, and copies whose labels differ.

    Rows of whole numbers (answers to questions, tokens, small drawings) can be equal by chance. Where chance makes rows
    equal, it makes far more of them equal in all but one of their parts: if these agree in a share c of such pairs,
    there are (1 - c) / c almost equal ones for each equal one. Copying makes equal ones only. So if the part that
    tells most apart yields `by_chance` = 0.1 almost equal pairs for each equal one (c = .91), chance may be the reason
    and nothing is said of duplicates. Differing labels of rows that are equal by chance are no mistakes; they bound the
    error from below, and are a remark.

    Examples without content (one value everywhere, no words) are equal for another reason, and left out.

    Args:
        warn_share: copies are a warning from this share of the examples on. Barz & Denzler, "Do we train on test
            data?", 2020: 3 % in the test set of CIFAR-10 change which model is best. Below 1 %, a remark.
        apart: labels that are values conflict if they differ by more than this many standard deviations of all of them:
            measured twice they differ too, by the noise.
    """
    known = np.flatnonzero(~sketch.is_empty)
    groups = groups_of(sketch.keys[known], known)
    if not groups:
        return
    odds = odds_of_chance(sketch.chunks[known])
    is_chance = odds > by_chance
    conflicting = [group for group in groups if in_conflict(sketch, group, apart)]
    if conflicting and not is_chance:
        yield _conflict(sketch, conflicting, odds)
    elif conflicting:
        yield from _irreducible(sketch, groups, conflicting, warn_share, odds)
    agreeing = [group for group in groups if not in_conflict(sketch, group, apart)]
    if agreeing and not is_chance:
        yield _copies(sketch, agreeing, warn_share, odds)


def groups_of(keys: Hashes, rows: Rows) -> list[Rows]:
    """The rows that share a key with another one, largest groups first, each in the order of the data."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[inverse] > 1)
    order = repeated[np.argsort(inverse[repeated], kind="stable")]
    edges = np.flatnonzero(np.diff(inverse[order])) + 1
    groups = [rows[part] for part in np.split(order, edges)] if len(order) else []
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))


def odds_of_chance(chunks: Hashes) -> float:
    """How many pairs are equal but for one part for each pair that is equal, for the part that tells most apart.

    Args:
        chunks: shape (N, parts).
    """
    equal = _pairs(joined(chunks))
    if not equal:
        return float("inf")
    almost = (_pairs(joined(chunks, without=part)) - equal for part in range(chunks.shape[1]))
    return max(almost, default=0) / equal


def _pairs(keys: Hashes) -> int:
    counts = np.unique(keys, return_counts=True)[1].astype(object)
    return int((counts * (counts - 1) // 2).sum())


def in_conflict(sketch: Sketch, group: Rows, apart: float) -> bool:
    """Whether the labels of equal examples differ."""
    if sketch.labels is None:
        return False
    labels = sketch.labels[group]
    if sketch.label_kind != "value":
        return bool((labels != labels[0]).any())
    spread = float(np.nanstd(sketch.labels)) or 1.0
    finite = labels[np.isfinite(labels)]
    return bool(len(finite) > 1 and np.ptp(finite) > apart * spread)


def label_text(sketch: Sketch, group: Rows) -> str:
    """The labels of a group as people read them."""
    if sketch.labels is None:
        return ""
    values = list(dict.fromkeys(sketch.labels[group].tolist()))[:4]
    if sketch.label_kind == "class":
        return ", ".join(sketch.class_name(value) for value in values)
    return ", ".join(f"{value:.4g}" for value in values) if sketch.label_kind == "value" else "different"


def named(sketch: Sketch, groups: list[Rows]) -> tuple[tuple[Any, ...], ...]:
    """The ids of groups of rows."""
    return tuple(tuple(sketch.ids[row] for row in group) for group in groups)


def _evidence(sketch: Sketch, groups: list[Rows], odds: float) -> dict[str, Evidence]:
    examples = sum(map(len, groups))
    return {
        "examples": examples,
        "share": examples / len(sketch),
        "groups": len(groups),
        "largest_group": max(map(len, groups)),
        "almost_equal_per_equal_pair": odds,
    }


def _conflict(sketch: Sketch, groups: list[Rows], odds: float) -> Problem:
    first = groups[0]
    example = f"{sketch.ids[first[0]]} and {sketch.ids[first[1]]}"
    return Problem.of(
        Finding(
            "conflicting-labels",
            Severity.WARNING,
            f"{sum(map(len, groups))} examples are copies with different labels, in {len(groups)} groups "
            f"(such as {example}: {label_text(sketch, first)})",
            evidence=_evidence(sketch, groups, odds),
            cause="Labels of the same thing come from several people or sources, or a join gave a row a wrong label.",
            remedy="Look at each group and keep one example with the right label. At least one label of each is wrong.",
        ),
        named(sketch, groups),
    )


def _irreducible(
    sketch: Sketch, groups: list[Rows], conflicting: list[Rows], least: float, odds: float
) -> Iterator[Problem]:
    """Rows that are equal by chance and labelled differently: no model can be right about all of them."""
    if sketch.label_kind == "value":
        return
    assert sketch.labels is not None
    lost = sum(len(group) - int(np.unique(sketch.labels[group], return_counts=True)[1].max()) for group in conflicting)
    if lost < least * len(sketch):
        return
    share = wilson(lost, len(sketch))
    yield Problem.of(
        Finding(
            "conflicting-labels",
            Severity.INFO,
            "examples with the same values have different labels: no model can get less than "
            f"{100 * share.value:.2g} % of these examples wrong",
            evidence={**_evidence(sketch, conflicting, odds), "least_error": share.value, "equal_groups": len(groups)},
            cause="The inputs do not tell everything about the label.",
            remedy="Look for an input that tells these examples apart; do not expect a smaller training error.",
        ),
        named(sketch, conflicting),
    )


def _copies(sketch: Sketch, groups: list[Rows], warn_share: float, odds: float) -> Problem:
    spare = sum(len(group) - 1 for group in groups)
    share = spare / len(sketch)
    return Problem.of(
        Finding(
            "duplicate-examples",
            Severity.WARNING if share >= warn_share else Severity.INFO,
            f"{spare} of {len(sketch)} examples are copies of others ({len(groups)} different ones)",
            evidence={**_evidence(sketch, groups, odds), "copies": spare, "limit": warn_share},
            cause="Sources that overlap, a file that was read twice, or oversampling before the split.",
            remedy="Keep one of each, or at least keep the copies of an example on one side of every split.",
        ),
        named(sketch, groups),
    )
