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
from diagnose.mistakes.problems._features import near_examples
from diagnose.mistakes.problems._reading import MINIMA
from diagnose.mistakes.problems._sketch import Component, Sketch
from diagnose.mistakes.problems.duplicates import NOTHING, Rows, in_conflict, label_text, named

Masks = NDArray[np.bool_]

FEWEST_COLUMNS: Final = 3
"""Rows of a table are called nearly equal only if they are so in at least three columns that tell something."""


def near_duplicate_examples(
    sketch: Sketch,
    *,
    without: Rows = NOTHING,
    chance: float = 0.01,
    alike: float = 0.5,
    resemblance: float = 0.8,
    warn_share: float = 0.01,
    apart: float = 0.5,
) -> Iterator[Problem]:
    """Examples that are alike beyond what the data explain, those with different labels apart.

    Images, signals and rows of tables: `near_pairs` tells which pairs are nearer than the density of the data around
    them makes likely. Texts and tokens: the share of common shingles, `resemblance` = 0.8, as in Lee et al.,
    "Deduplicating training data makes language models better", 2022. Nothing is said where one pair in a thousand
    is a third as alike though it has nothing to do with each other, and where more texts, and a twentieth of all, are
    half alike than nearly equal: these are filled into forms.

    Args:
        without: rows with another fault that makes them alike.
        chance: of any pair at all among data without copies.
        alike: images differ by at most this share of their size; beyond, they are not alike to people either.
        warn_share, apart: as in `duplicate_examples`.
    """
    known = np.setdiff1d(np.flatnonzero(~sketch.is_empty), without)
    # Equal rows are told by their hashes; here one stands for all of them.
    _, first = np.unique(sketch.keys[known], return_index=True)
    rows = known[np.sort(first)]
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
    found = near_examples(component, rows, chance=chance)
    if found is None:
        return [], {}
    near, nearest, of = found
    place = {int(row): number for number, row in enumerate(of)}
    pairs: list[tuple[int, int]] = []
    own = values_of_their_own(component, rows)
    for a, b in near.pairs.tolist():
        if own is not None and (own[a] & own[b]).sum() < FEWEST_COLUMNS:
            continue
        distances = [
            float(nearest.distances[place[x]][nearest.rows[place[x]] == y].min(initial=np.inf))
            for x, y in ((a, b), (b, a))
            if x in place
        ]
        if component.thumbnail is None or min(distances, default=np.inf) <= alike:
            pairs.append((int(rows[a]), int(rows[b])))
    return pairs, {"times_nearer_limit": near.limit, "dimension": near.dimension}


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
    if len(rows) < 2 or _resemblance_by_chance(component.shingles, rows) > resemblance / 3:
        return [], {}
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


def _resemblance_by_chance(shingles: NDArray[np.uint32], rows: Rows) -> float:
    """How alike the most alike of a thousand pairs is that have nothing to do with each other: much, among sequences of
    few kinds of tokens.
    """
    shifts = [len(rows) // part for part in (2, 3, 5, 7) if len(rows) // part]
    alike = [(shingles[rows] == shingles[np.roll(rows, shift)]).mean(axis=1) for shift in shifts]
    return float(np.quantile(np.concatenate(alike), 0.999)) if len(rows) >= 20 else float(np.median(alike))


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
                f"{len(conflicting)} {'group' if len(conflicting) == 1 else 'groups'} "
                f"(such as {sketch.ids[first[0]]} and {sketch.ids[first[1]]}: {label_text(sketch, first)})",
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
                f"{spare} of {len(sketch)} examples "
                f"{'is nearly equal to another' if spare == 1 else 'are nearly equal to others'}",
                evidence={**evidence, "groups": len(agreeing), "copies": spare, "share": share, "limit": warn_share},
                cause="Frames of one film, a copy that was stored or cropped once more, augmentation before the split.",
                remedy="Keep one of each, or keep each group on one side of every split.",
            ),
            named(sketch, agreeing),
        )
