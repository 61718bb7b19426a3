"""near-duplicate-examples, conflicting-labels: examples that are equal but for noise, brightness, a pixel, a word."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._features import nearest_examples
from diagnose.mistakes.problems._reading import MINIMA
from diagnose.mistakes.problems._sketch import Component, Sketch
from diagnose.mistakes.problems.duplicates import NOTHING, Rows, in_conflict, label_text, named
from diagnose.stats.near_pairs import near_pairs

Masks = NDArray[np.bool_]

FEWEST_COLUMNS: Final = 3
"""Rows of a table are called nearly equal only if they are so in at least three columns that tell something."""

MOST_EXAMPLES: Final = 20_000
"""Of more examples a part is drawn: all pairs are compared, 20 s for so many images."""


def near_duplicate_examples(
    sketch: Sketch,
    *,
    without: Rows = NOTHING,
    chance: float = 0.01,
    alike: float = 0.5,
    resemblance: float = 0.8,
    warn_share: float = 0.01,
    apart: float = 0.5,
    most: int = MOST_EXAMPLES,
) -> Iterator[Problem]:
    """Examples that are alike beyond what the data explain, those with different labels apart.

    Images, signals and rows of tables: `near_pairs` tells which pairs are nearer than the density of the data around
    them makes likely. Texts and tokens: the share of common shingles, `resemblance` = 0.8, as in Lee et al.,
    "Deduplicating training data makes language models better", 2022; where more texts, and a twentieth of all, are half
    alike than nearly equal, they are filled into forms, and nothing is said.

    Args:
        without: rows with another fault that makes them alike.
        chance: of any pair at all among data without copies.
        alike: images differ by at most this share of their size; beyond, they are not alike to people either.
        warn_share, apart: as in `duplicate_examples`.
        most: how many examples are compared with one another; of more, a part that is drawn with a fixed seed.
    """
    known = np.setdiff1d(np.flatnonzero(~sketch.is_empty), without)
    # Equal rows are told by their hashes; here one stands for all of them.
    _, first = np.unique(sketch.keys[known], return_index=True)
    rows = known[np.sort(first)]
    if len(rows) > most:
        rows = np.sort(np.random.Generator(np.random.PCG64(most)).choice(rows, most, replace=False))
    for component in sketch.components:
        if len(sketch.components) > 1 and not component.is_main(sketch.components):
            continue
        if component.shingles is not None:
            pairs, evidence = _alike_texts(component, rows, resemblance)
        else:
            pairs, evidence = _near(component, rows, chance, alike)
        groups = _groups(pairs)
        if groups:
            yield from _problems(sketch, groups, {**evidence, "compared": len(rows)}, warn_share, apart)


def _near(
    component: Component, rows: Rows, chance: float, alike: float
) -> tuple[list[tuple[int, int]], dict[str, Evidence]]:
    nearest = nearest_examples(component, rows)
    found = near_pairs(nearest, chance=chance) if nearest is not None else None
    if found is None or nearest is None:
        return [], {}
    pairs: list[tuple[int, int]] = []
    own = values_of_their_own(component, rows)
    for a, b in found.pairs.tolist():
        if own is not None and (own[a] & own[b]).sum() < FEWEST_COLUMNS:
            continue
        distances = [
            float(nearest.distances[x][nearest.rows[x] == y][0])
            for x, y in ((a, b), (b, a))
            if (nearest.rows[x] == y).any()
        ]
        if component.thumbnail is None or min(distances, default=1.0) <= alike:
            pairs.append((int(rows[a]), int(rows[b])))
    return pairs, {"times_nearer_limit": found.limit, "dimension": found.dimension}


def values_of_their_own(component: Component, rows: Rows, common: float = 0.2) -> Masks | None:
    """Shape (N, columns) of a table: whether a value is another than the most frequent one, where many rows have that.

    Two rows that are zero in most columns are near to each other without telling anything.
    """
    if component.thumbnail is not None or component.vectors is None:
        return None
    own = np.ones((len(rows), component.vectors.shape[1]), dtype=np.bool_)
    for column, values in enumerate(component.vectors[rows].T):
        found, counts = np.unique(values, return_counts=True)
        if counts.max() > common * len(rows):
            own[:, column] = values != found[counts.argmax()]
    return own


def _alike_texts(
    component: Component, rows: Rows, resemblance: float, fewest_words: int = 10, templates: float = 0.05
) -> tuple[list[tuple[int, int]], dict[str, Evidence]]:
    """Pairs whose estimated share of common shingles is at least `resemblance`: those that agree in a band of 4."""
    assert component.shingles is not None
    rows = rows[component.stats["length"][rows] >= fewest_words]
    pairs: dict[tuple[int, int], None] = {}
    for band in range(0, MINIMA, 4):
        buckets: defaultdict[bytes, list[int]] = defaultdict(list)
        for row in rows.tolist():
            buckets[component.shingles[row, band : band + 4].tobytes()].append(row)
        for members in buckets.values():
            # In a large bucket each is compared with the first: enough to put them into one group.
            for other in members[1:]:
                pairs[members[0], other] = None
            for one, other in itertools.pairwise(members[1:50]):
                pairs[one, other] = None
    if not pairs:
        return [], {}
    both = np.array(list(pairs))
    agree = (component.shingles[both[:, 0]] == component.shingles[both[:, 1]]).mean(axis=1)
    near = both[agree >= resemblance]
    # Texts that are half alike are filled into the same form: some of these are nearly equal by chance.
    half = np.setdiff1d(both[(agree < resemblance) & (agree > resemblance / 3)], near)
    if len(half) > max(len(np.unique(near)), templates * len(rows)):
        return [], {}
    return [(int(a), int(b)) for a, b in near], {"resemblance_limit": resemblance}


def _groups(pairs: Iterable[tuple[int, int]]) -> list[Rows]:
    """What hangs together by pairs, in the order of the first pair."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in pairs:
        parent[root(b)] = root(a)
    members: dict[int, list[int]] = {}
    for row in parent:
        members.setdefault(root(row), []).append(row)
    return [np.array(sorted(group), dtype=np.int64) for group in members.values()]


def _problems(
    sketch: Sketch, groups: list[Rows], evidence: dict[str, Evidence], warn_share: float, apart: float
) -> Iterator[Problem]:
    conflicting = [group for group in groups if in_conflict(sketch, group, apart)]
    if conflicting:
        first = conflicting[0]
        yield Problem.of(
            Finding(
                "conflicting-labels",
                Severity.WARNING,
                f"{sum(map(len, conflicting))} examples are nearly equal and have different labels, in "
                f"{len(conflicting)} groups (such as {sketch.ids[first[0]]} and {sketch.ids[first[1]]}: "
                f"{label_text(sketch, first)})",
                evidence={**evidence, "groups": len(conflicting), "nearly": True},
                cause="Labels of the same thing come from several people or sources.",
                remedy="Look at each group: if they show the same, give them the right label, and keep one of them.",
            ),
            named(sketch, conflicting),
        )
    agreeing = [group for group in groups if not in_conflict(sketch, group, apart)]
    if agreeing:
        spare = sum(len(group) - 1 for group in agreeing)
        share = spare / len(sketch)
        yield Problem.of(
            Finding(
                "near-duplicate-examples",
                Severity.WARNING if share >= warn_share else Severity.INFO,
                f"{spare} of {len(sketch)} examples are nearly equal to others ({len(agreeing)} groups)",
                evidence={**evidence, "groups": len(agreeing), "copies": spare, "share": share, "limit": warn_share},
                cause="Frames of one film, a copy that was stored or cropped once more, augmentation before the split.",
                remedy="Keep one of each, or keep each group on one side of every split.",
            ),
            named(sketch, agreeing),
        )
