"""differently-normalized-examples, inverted-images, outlying-examples: examples far outside of the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._problem import Problem
from diagnose.mistakes.problems._features import show_the_same
from diagnose.mistakes.problems._reading import COLUMNS_KEPT, unit
from diagnose.mistakes.problems._sketch import Component, Sketch
from diagnose.mistakes.problems.duplicates import NOTHING, Rows
from diagnose.stats.spacings import SIDES, Side, far_from_rest

Masks = NDArray[np.bool_]

FACTOR: Final = 3.0
"""Scales that differ by less may belong to darker and brighter images; dividing by 255, or by a standard deviation of
values in [0, 1], changes the scale by more."""

_FEWEST: Final = 20


def outlying_examples(
    sketch: Sketch, *, without: Rows = NOTHING, chance: float = 1e-3, far: float = 10.0
) -> Iterator[Problem]:
    """Examples of another scale, inverted images, and examples with a value that a gap separates from all others.

    Each statistic of an example (its mean, the logarithm of its standard deviation; of tables each column) is looked at
    by `far_from_rest`, which allows for tails as heavy as a power law.

    Args:
        without: rows with another fault that explains them.
        chance: of any outlier at all in an input without.
        far: a warning if a value is so many times as far from the median as all others: a slipped decimal point. Else a
            remark: rare things lie outside, too.
    """
    for component in sketch.components:
        if component.vectors is None or len(sketch) < _FEWEST:
            continue
        explained = np.zeros(len(sketch), dtype=np.bool_)
        explained[without] = True
        usable = component.varies
        for problem, rows in _scales(sketch, component, usable & ~explained, chance):
            explained[rows] = True
            yield problem
        for problem, rows in _inverted(sketch, component, usable & ~explained, chance):
            explained[rows] = True
            yield problem
        rows = np.flatnonzero(usable & ~explained)
        if len(rows) >= _FEWEST:
            statistics = _statistics_of(component, rows)
            yield from _outlying(sketch, f"examples{component.of}", rows, statistics, chance, far)


def outlying_targets(sketch: Sketch, *, chance: float = 1e-3, far: float = 10.0) -> Iterator[Problem]:
    """Examples of a regression whose target a gap separates from all others.

    Args:
        chance, far: as for `outlying_examples`.
    """
    if sketch.label_kind == "value" and sketch.labels is not None and len(sketch) >= _FEWEST:
        statistics = {"target": sketch.labels.astype(np.float64)}
        yield from _outlying(sketch, "targets", np.arange(len(sketch)), statistics, chance, far)


# -- scale -----------------------------------------------------------------------------------------------


def _scales(sketch: Sketch, component: Component, usable: Masks, chance: float) -> Iterator[tuple[Problem, Rows]]:
    """Groups of examples whose standard deviation is another one by orders of magnitude, or whose sign differs."""
    if component.kind == "table" and component.vectors is not None and component.vectors.shape[1] < 4:
        return
    rows = np.flatnonzero(usable)
    if len(rows) < _FEWEST:
        return
    logs = np.log(component.stats["std"][rows].astype(np.float64))
    found = _other_scale(logs, chance)
    if found is None:
        found = _negative(component, rows)
    if found is None:
        return
    group = rows[found]
    rest = rows[~found]
    factor = float(np.exp(np.median(logs[found]) - np.median(logs[~found])))
    if not _is_normalization(component, group, rest, factor):
        return
    yield _normalization(sketch, component, group, rest, factor), group


def _other_scale(logs: NDArray[np.float64], chance: float) -> Masks | None:
    """Which examples are of another scale; those that are fewer."""
    for side in SIDES:
        gap = far_from_rest(logs, side, chance=chance / 4)
        if gap is not None:
            mask = np.zeros(len(logs), dtype=np.bool_)
            mask[gap.rows] = True
            nearest = np.abs(logs[mask][:, None] - [logs[~mask].min(), logs[~mask].max()]).min()
            if nearest >= math.log(FACTOR) / 2 and abs(np.median(logs[mask]) - np.median(logs)) >= math.log(FACTOR):
                return mask
    return _two_groups(logs)


def _two_groups(logs: NDArray[np.float64], share: float = 0.01) -> Masks | None:
    """The smaller of two groups that lie farther apart than a factor of FACTOR and than either of them is wide."""
    ordered = np.sort(logs)
    inner = slice(max(1, int(share * len(logs))), len(logs) - max(1, int(share * len(logs))))
    gaps = np.diff(ordered)[inner]
    if not len(gaps):
        return None
    place = int(gaps.argmax()) + inner.start
    width = ordered[place + 1] - ordered[place]
    below, above = ordered[: place + 1], ordered[place + 1 :]
    widest = max(float(np.ptp(np.quantile(part, [0.01, 0.99]))) for part in (below, above))
    if width < max(math.log(FACTOR), widest):
        return None
    is_low = logs <= ordered[place]
    return np.asarray(is_low if is_low.mean() < 0.5 else ~is_low, dtype=np.bool_)


def _negative(component: Component, rows: Rows, clear: float = 0.1, share: float = 0.2) -> Masks | None:
    """Images with clearly negative values among images that have none."""
    if component.kind != "image":
        return None
    low, high = component.stats["low"][rows], component.stats["high"][rows]
    typical = float(np.median(high - low))
    negative = low < -clear * typical
    if not 0 < negative.mean() <= share or (low[~negative] < 0).any():
        return None
    return np.asarray(negative, dtype=np.bool_)


def _is_normalization(component: Component, group: Rows, rest: Rows, factor: float) -> bool:
    """Whether another scale is that of the whole example, not of what it shows, nor of a single column."""
    if component.kind != "table" or component.vectors is None or component.vectors.shape[1] >= COLUMNS_KEPT:
        return show_the_same(component, group, rest)
    sizes = np.abs(component.vectors.astype(np.float64))
    usual = np.median(sizes[rest], axis=0)
    kept = usual > 0
    if not kept.any():
        return False
    ratios = np.log(np.maximum(np.median(sizes[group], axis=0)[kept], 1e-30) / usual[kept])
    return bool(np.median(ratios) * np.sign(math.log(factor)) >= math.log(FACTOR))


def _normalization(sketch: Sketch, component: Component, group: Rows, rest: Rows, factor: float) -> Problem:
    def ranges(rows: Rows) -> list[float]:
        return [float(np.median(component.stats[name][rows])) for name in ("low", "high")]

    (low, high), (other_low, other_high) = ranges(group), ranges(rest)
    order = np.argsort(-np.abs(np.log(component.stats["std"][group].astype(np.float64))), kind="stable")
    return Problem.of(
        Finding(
            "differently-normalized-examples",
            Severity.WARNING,
            f"{len(group)} of {len(sketch)} examples{component.of} are of another scale: they reach from {low:.3g} to "
            f"{high:.3g}, the others from {other_low:.3g} to {other_high:.3g} (medians)",
            evidence={"examples": len(group), "share": len(group) / len(sketch), "factor": factor},
            cause="One source was divided by 255 or standardised, and the other was not; or one was twice.",
            remedy="Prepare all examples by the same code, and check the range of each when it is loaded.",
        ),
        tuple((sketch.ids[row],) for row in group[order]),
    )


# -- inversion -------------------------------------------------------------------------------------------


def _inverted(sketch: Sketch, component: Component, usable: Masks, chance: float) -> Iterator[tuple[Problem, Rows]]:
    """Images that are more like the others when black and white are exchanged, where the ground tells."""
    rows = np.flatnonzero(usable)
    if component.kind != "image" or component.vectors is None or len(rows) < _FEWEST:
        return
    ground = (component.stats["at_low"] - component.stats["at_high"])[rows].astype(np.float64)
    side: Side = "low" if np.median(ground) > 0 else "high"
    vectors = component.vectors[rows].astype(np.float32)
    like_the_mean = (vectors @ unit(np.median(vectors, axis=0)[None])[0]).astype(np.float64)
    gap = far_from_rest(ground, side, chance=chance / 2) or far_from_rest(like_the_mean, "low", chance=chance / 2)
    if gap is None:
        return
    others = np.setdiff1d(np.arange(len(rows)), gap.rows)[:2000]
    alike = vectors[gap.rows] @ vectors[others].T
    group = rows[gap.rows[(-alike).max(axis=1) > alike.max(axis=1)]]
    if not len(group):
        return
    yield (
        Problem.of(
            Finding(
                "inverted-images",
                Severity.WARNING,
                f"{len(group)} of {len(sketch)} images{component.of} look inverted: their ground is "
                f"{'bright' if side == 'low' else 'dark'}, that of the others is not, and exchanging both makes them "
                "like the others",
                evidence={"examples": len(group), "share": len(group) / len(sketch)},
                cause="Sources that store ink as 0 and as 255, or a palette that was read as grey values.",
                remedy="Invert them when they are loaded, or teach both by augmentation if both will come.",
            ),
            tuple((sketch.ids[row],) for row in group),
        ),
        group,
    )


# -- single values ---------------------------------------------------------------------------------------


def _outlying(
    sketch: Sketch, what: str, rows: Rows, statistics: Mapping[str, NDArray[np.float64]], chance: float, far: float
) -> Iterator[Problem]:
    """Examples with a value, a mean or a scale far outside; which statistic it is."""
    reasons: dict[int, tuple[float, str]] = {}
    for name, values in statistics.items():
        for side in SIDES:
            gap = far_from_rest(values, side, chance=chance / (2 * len(statistics)))
            for row in [] if gap is None else gap.rows.tolist():
                assert gap is not None
                if gap.ratio > reasons.get(row, (0.0, ""))[0]:
                    reasons[row] = gap.ratio, f"{name} = {_value(name, values[row]):.4g}"
    if not reasons:
        return
    order = sorted(reasons, key=lambda row: -reasons[row][0])
    worst, why = reasons[order[0]]
    shown: list[Evidence] = [f"{sketch.ids[rows[row]]}: {reasons[row][1]}" for row in order[:20]]
    yield Problem.of(
        Finding(
            "outlying-examples",
            Severity.WARNING if worst >= far else Severity.INFO,
            f"{len(order)} of {len(sketch)} {what} lie far outside of the rest: "
            f"{sketch.ids[rows[order[0]]]} has {why}, {worst:.3g} times as far from the median as all others",
            evidence={"examples": len(order), "times_as_far": worst, "limit": far, "reasons": shown},
            cause="A slipped decimal point, another unit, a code for missing values (-999); or a rare thing.",
            remedy="Look at them. Correct or leave out what is wrong; keep what is only rare.",
        ),
        tuple((sketch.ids[rows[row]],) for row in order),
    )


def _statistics_of(component: Component, rows: Rows) -> dict[str, NDArray[np.float64]]:
    stats = component.stats
    if component.kind == "table" and component.vectors is not None and component.vectors.shape[1] < COLUMNS_KEPT:
        table: NDArray[Any] = component.vectors[rows].astype(np.float64)
        return {f"column {column}": table[:, column] for column in range(table.shape[1])}
    spread = np.log(np.maximum(stats["std"][rows].astype(np.float64), 1e-30))
    return {"mean": stats["mean"][rows].astype(np.float64), "standard deviation": spread}


def _value(name: str, value: float) -> float:
    return math.exp(value) if name == "standard deviation" else value
