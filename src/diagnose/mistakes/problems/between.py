"""What is wrong between two sets: examples in both, another scale, other channels, other classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._features import nearest_examples
from diagnose.mistakes.problems._sketch import Component, Sketch
from diagnose.mistakes.problems.classes import IGNORED
from diagnose.mistakes.problems.duplicates import BY_CHANCE, Rows, odds_of_chance
from diagnose.mistakes.problems.near_duplicates import FEWEST_COLUMNS, MOST_EXAMPLES, values_of_their_own
from diagnose.mistakes.problems.outliers import FACTOR
from diagnose.stats.intervals import wilson
from diagnose.stats.near_pairs import near_pairs

FEWEST: Final = 20


def shared_examples(
    train: Sketch, test: Sketch, *, warn_share: float = 0.01, by_chance: float = BY_CHANCE, chance: float = 0.01
) -> Iterator[Problem]:
    """Test examples that are in the training set too, equal or nearly so. Ids of the problem are those of `test`.

    What tells copies from rows that are equal by chance, and near ones from those that are near by nature, is what
    `duplicate_examples` and `near_duplicate_examples` say of both sets together.
    """
    both = joined_sketch(train, test)
    if both is None:
        return
    size = len(train)
    known = np.flatnonzero(~both.is_empty)
    in_train, in_test = known[known < size], known[known >= size]
    equal = in_test[np.isin(both.keys[in_test], both.keys[in_train])]
    if len(equal) and odds_of_chance(both.chunks[known]) <= by_chance:
        partner = dict(zip(both.keys[in_train].tolist(), in_train.tolist(), strict=True))
        pairs = [(int(row), partner[int(both.keys[row])]) for row in equal]
        yield _shared(train, test, pairs, warn_share, nearly=False)
    near = [pair for pair in _near_between(both, size, chance) if pair[0] not in set(equal.tolist())]
    if near:
        yield _shared(train, test, near, warn_share, nearly=True)


def _near_between(both: Sketch, size: int, chance: float) -> list[tuple[int, int]]:
    """(row of the test set, row of the training set) of pairs that are nearer than chance explains."""
    _, first = np.unique(both.keys, return_index=True)
    rows = np.sort(first[~both.is_empty[first]])
    if len(rows) > MOST_EXAMPLES:
        rows = np.sort(np.random.Generator(np.random.PCG64(size)).choice(rows, MOST_EXAMPLES, replace=False))
    found: dict[int, int] = {}
    for component in both.components:
        if not component.is_main(both.components):
            continue
        nearest = nearest_examples(component, rows)
        near = near_pairs(nearest, chance=chance) if nearest is not None else None
        own = values_of_their_own(component, rows)
        for a, b in [] if near is None else near.pairs.tolist():
            if own is not None and (own[a] & own[b]).sum() < FEWEST_COLUMNS:
                continue
            one, other = int(rows[a]), int(rows[b])
            if one < size <= other:
                found.setdefault(other, one)
    return list(found.items())


def joined_sketch(train: Sketch, test: Sketch) -> Sketch | None:
    """Both sets as one, the training set first; None if they do not have the same inputs."""
    inputs = {component.name: component for component in test.components}
    components = []
    for first in train.components:
        second = inputs.get(first.name)
        if second is None or second.kind != first.kind or second.thumbnail != first.thumbnail:
            return None
        if (first.vectors is None) != (second.vectors is None):
            return None
        if first.vectors is not None and second.vectors is not None:
            if first.vectors.shape[1] != second.vectors.shape[1]:
                return None
            vectors = np.concatenate([first.vectors, second.vectors])
        else:
            vectors = None
        components.append(
            replace(
                first,
                chunks=np.concatenate([first.chunks, second.chunks]),
                stats={k: np.concatenate([v, second.stats[k]]) for k, v in first.stats.items() if k in second.stats},
                vectors=vectors,
                shingles=None
                if first.shingles is None or second.shingles is None
                else np.concatenate([first.shingles, second.shingles]),
            )
        )
    if not components:
        return None
    return Sketch((*train.ids, *test.ids), tuple(components))


def _shared(train: Sketch, test: Sketch, pairs: list[tuple[int, int]], warn_share: float, *, nearly: bool) -> Problem:
    share = wilson(len(pairs), len(test))
    how = "nearly equal to training examples" if nearly else "in the training set too"
    size = len(train)
    partners: list[Evidence] = [f"{test.ids[a - size]} = {train.ids[b]}" for a, b in pairs[:20]]
    return Problem.of(
        Finding(
            "train-test-duplicates",
            Severity.WARNING if share.value >= warn_share else Severity.INFO,
            f"{len(pairs)} of {len(test)} test examples are {how}",
            evidence={
                "examples": len(pairs),
                "share": share.value,
                "share_low": share.low,
                "share_high": share.high,
                "limit": warn_share,
                "nearly": nearly,
                "test_and_train_ids": partners,
            },
            cause="Copies in the data before the split, or a split by row where several rows belong together.",
            remedy="Take them out of the training set, not out of the test set, and train again: the test error is too "
            "small by what was learned by heart.",
        ),
        tuple((test.ids[row - size],) for row, _ in pairs),
    )


# -- scale, channels -------------------------------------------------------------------------------------


def other_scale(train: Sketch, test: Sketch, *, overlap: float = 0.05) -> Iterator[Problem]:
    """The test set is of another scale: the standard deviations of its examples, or their least values, lie beside
    those of the training set.

    Args:
        overlap: sets are called different only if a test example lies on the other side of a training example in less
            than this share of all pairs (Mann-Whitney), and the scale differs by FACTOR, or only one of them has
            negative values. Darker or brighter pictures overlap by more.
    """
    others = {component.name: component for component in test.components}
    for first in train.components:
        second = others.get(first.name)
        if second is None or "std" not in first.stats or "std" not in second.stats:
            continue
        one, other = _usable(first), _usable(second)
        if min(len(one), len(other)) < FEWEST:
            continue
        logs, other_logs = (np.log(c.stats["std"][r].astype(np.float64)) for c, r in ((first, one), (second, other)))
        factor = math.exp(float(np.median(other_logs) - np.median(logs)))
        beside = _overlap(logs, other_logs) < overlap and abs(math.log(factor)) >= math.log(FACTOR)
        low, other_low = first.stats["low"][one], second.stats["low"][other]
        sets = ((first, one), (second, other))
        typical = min(float(np.median(c.stats["high"][r] - c.stats["low"][r])) for c, r in sets)
        signs = _overlap(low, other_low) < overlap and (
            _is_sign(low, other_low, typical) or _is_sign(other_low, low, typical)
        )
        if beside or (signs and first.kind == "image"):
            yield _scale(first, second, one, other, factor)


def _is_sign(negative: NDArray[np.floating], other: NDArray[np.floating], typical: float, clear: float = 0.1) -> bool:
    """Whether the one has clearly negative values throughout and the other has none."""
    return bool(np.quantile(negative, 0.9) < -clear * typical and other.min() >= 0)


def _usable(component: Component) -> Rows:
    return np.flatnonzero(component.varies)


def _overlap(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """How likely a value of the set that is lower by its median is above one of the other set; ties count half."""
    low, high = (one, other) if np.median(one) <= np.median(other) else (other, one)
    ordered = np.sort(high)
    below = np.searchsorted(ordered, low, side="left") + np.searchsorted(ordered, low, side="right")
    return float(below.mean() / (2 * len(high)))


def _scale(first: Component, second: Component, one: Rows, other: Rows, factor: float) -> Problem:
    (low, high), (test_low, test_high) = (
        [float(np.median(component.stats[name][rows])) for name in ("low", "high")]
        for component, rows in ((first, one), (second, other))
    )
    return Problem.of(
        Finding(
            "differently-normalized-examples",
            Severity.ERROR,
            f"the test set{first.of} is of another scale than the training set: its examples reach from "
            f"{test_low:.3g} to {test_high:.3g}, those of the training set from {low:.3g} to {high:.3g} (medians)",
            evidence={"factor": factor, "test_low": test_low, "test_high": test_high, "low": low, "high": high},
            cause="The test pipeline leaves out a step of the training pipeline (division by 255, standardising), or "
            "does it twice or with other numbers.",
            remedy="Use one function for both, with the mean and the standard deviation of the training set.",
        )
    )


def other_channels(train: Sketch, test: Sketch, *, sigmas: float = 6.0, nearer: float = 3.0) -> Iterator[Problem]:
    """The test set has its colour channels in the reverse order.

    The mean of the first channel minus that of the last is compared: in the test set it is that of the training set
    with the other sign. Within one set this cannot be known; between two, only where colours differ on average.

    Args:
        sigmas: the test set differs from the training set by so many standard errors.
        nearer: and is so many times nearer to the reversed training set.
    """
    others = {component.name: component for component in test.components}
    for first in train.components:
        second = others.get(first.name)
        last = "mean_2"
        if second is None or first.kind != "image" or last not in first.stats or last not in second.stats:
            continue
        one, other = _usable(first), _usable(second)
        if min(len(one), len(other)) < FEWEST:
            continue
        a = (first.stats["mean_0"] - first.stats[last])[one].astype(np.float64)
        b = (second.stats["mean_0"] - second.stats[last])[other].astype(np.float64)
        error = math.sqrt(a.var() / len(a) + b.var() / len(b))
        as_is, reversed_ = abs(b.mean() - a.mean()), abs(b.mean() + a.mean())
        if as_is > sigmas * error and as_is > nearer * max(reversed_, 2 * error):
            yield Problem.of(
                Finding(
                    "channels-reversed",
                    Severity.WARNING,
                    f"the colours of the test set{first.of} look reversed: the first channel is on average "
                    f"{a.mean():+.3g} above the last in training and {b.mean():+.3g} in the test set",
                    evidence={"train": float(a.mean()), "test": float(b.mean()), "standard_error": error},
                    cause="One set was read as BGR (OpenCV) and the other as RGB (Pillow, torchvision).",
                    remedy="Read both with the same library, or flip the channels of one: image[..., ::-1].",
                )
            )


def other_classes(train: Sketch, test: Sketch) -> Iterator[Problem]:
    """Classes of the test set that training never shows."""
    if train.label_kind != "class" or test.label_kind != "class" or train.labels is None or test.labels is None:
        return
    known = np.unique(train.labels)
    rows = np.flatnonzero(~np.isin(test.labels, known) & (test.labels != IGNORED))
    if not len(rows):
        return
    names = [test.class_name(int(value)) for value in np.unique(test.labels[rows])]
    yield Problem.of(
        Finding(
            "class-not-in-training",
            Severity.WARNING,
            f"{len(rows)} of {len(test)} test examples are of {len(names)} classes without a training example "
            f"({', '.join(names[:5])})",
            evidence={"examples": len(rows), "share": len(rows) / len(test), "classes": list(names[:20])},
            cause="A split by class or by time, class numbers from two lists, or a rare class.",
            remedy="Number the classes by one list, and split so that each is on both sides.",
        ),
        tuple((test.ids[row],) for row in rows),
    )
