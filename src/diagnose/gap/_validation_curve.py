"""validation_curve: train and test error over one hyperparameter, and where its optimum lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import Tensor

from diagnose.errors import GapError
from diagnose.findings import json_safe
from diagnose.gap._learning_curve import interval_json, is_plain, metric_name, place_json
from diagnose.gap._measured import Place, difference, places
from diagnose.gap._subsets import count, subset
from diagnose.gap._trainings import Failure, Measure, Metric, Trained, attempt
from diagnose.progress import Progress
from diagnose.stats.intervals import CONFIDENCE, z_of

Side: TypeAlias = Literal["underfits", "overfits"]


@dataclass(frozen=True)
class ValidationCurve:
    """Train and test error over the values of one hyperparameter.

    Attributes:
        name: of the hyperparameter.
        points: by value, ascending; in the given order where values are no numbers. `at` is the value.
        metric, n_test, repeats, confidence, failures: as of a `LearningCurve`; a failure is `at` a value.
    """

    name: str
    points: tuple[Place, ...]
    metric: str
    n_test: int | None
    repeats: int
    confidence: float = CONFIDENCE
    failures: tuple[Failure, ...] = ()

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(point.at for point in self.points)

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers, which have an order and edges."""
        return _are_numbers(self.values)

    @property
    def is_geometric(self) -> bool:
        """Whether values are spaced by factors, so that they belong on a logarithmic axis."""
        return self.is_numeric and _are_geometric(self.values)

    @property
    def best(self) -> Any:
        """The value with the least mean test error."""
        return self._best.at

    @property
    def _best(self) -> Place:
        return min(self.points, key=lambda point: point.spread.mean)

    @property
    def as_good(self) -> tuple[Any, ...]:
        """Values whose test error is within one standard error of the best one: they cannot be told from it.

        The standard error is of the difference, on the same repeats and test examples, which is less than that of
        either error. Where nothing is known of the noise, the best value alone.

        Source:
            The one-standard-error rule of Breiman, Friedman, Olshen & Stone, "Classification and regression trees",
            1984.
        """
        return tuple(point.at for point in self.points if not self._is_worse(point, 1.0))

    @property
    def edge(self) -> Literal["low", "high"] | None:
        """At which end of the values tried the test error is best and still falling; None if at none of them.

        Still falling: the value next to the end is worse by more than one standard error.
        """
        if not self.is_numeric or len(self.points) < 2:
            return None
        for end, inner, side in ((0, 1, "low"), (-1, -2, "high")):
            if self.points[end] is self._best and self._is_worse(self.points[inner], 1.0):
                return "low" if side == "low" else "high"
        return None

    @property
    def sides(self) -> tuple[Side | None, Side | None]:
        """What the lowest and the highest value do, where they are worse than the best by more than noise.

        The test error rises by what the train error rises by and what the gap between the two rises by. Where the train
        error's part is the larger one, that end underfits; else it overfits. None where the end is not worse, or values
        are no numbers, or train errors were not told.
        """
        return self._side(self.points[0]), self._side(self.points[-1])

    @property
    def is_u_shaped(self) -> bool:
        """Whether the test error is worse at both ends than in between: figure 5.3, and section 11.4.1."""
        sides = self.sides
        return sides[0] is not None and sides[1] is not None

    @property
    def next_values(self) -> tuple[float, ...]:
        """Values to try next: two beyond the edge where the best lies on it, else one to either side of the best.

        Spaced as the values were, or half as far between two of them (section 11.4.3). () where values are no numbers.
        """
        if not self.is_numeric or len(self.points) < 2:
            return ()
        return _next_values(self.values, self.values.index(self.best), self.is_geometric)

    def _side(self, end: Place) -> Side | None:
        best = self._best
        if not self.is_numeric or end is best or end.train is None or best.train is None:
            return None
        if not self._is_worse(end, z_of(self.confidence)):
            return None
        rise, train_rise = end.test.value - best.test.value, end.train.value - best.train.value
        return "underfits" if train_rise > rise / 2 else "overfits"

    def _is_worse(self, point: Place, sigmas: float) -> bool:
        if point is self._best:
            return False
        fall = difference(point, self._best)
        return not fall.is_known or fall.mean > sigmas * math.sqrt(fall.variance)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """What the curve shows, one plain sentence each."""
        return (*_about_the_best(self), *_about_the_ends(self), *_about_failures(self))

    def plot(self, target: Any = None) -> Any:
        """Draws both errors with their intervals and marks the best values; as `LearningCurve.plot`.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from diagnose.gap._plots import plot_validation_curve

        return plot_validation_curve(self, target)

    def __str__(self) -> str:
        names = [_shown(point.at) for point in self.points]
        width = max(len(self.name), *map(len, names))
        good = self.as_good
        rows = [f"{self.name:>{width}}  {'train ' + self.metric:<28}test {self.metric}"]
        for name, point in zip(names, self.points, strict=True):
            train = str(point.train) if point.train is not None else "-"
            mark = "  best" if point is self._best else "  as good" if any(point.at is at for at in good) else ""
            rows.append(f"{name:>{width}}  {train:<28}{point.test}{mark}")
        rows.append(f"Means of {self.repeats} trainings with {self.confidence:.0%} intervals.")
        return "\n".join((*rows, *self.diagnosis))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data = {
            "name": self.name,
            "metric": self.metric,
            "n_test": self.n_test,
            "repeats": self.repeats,
            "confidence": self.confidence,
            "points": [{"value": _json(point.at), **place_json(point)} for point in self.points],
            "best": _json(self.best),
            "best_test": interval_json(self._best.test),
            "as_good": [_json(value) for value in self.as_good],
            "edge": self.edge,
            "sides": list(self.sides),
            "is_u_shaped": self.is_u_shaped,
            "next_values": list(self.next_values),
            "failures": [{"value": _json(f.at), "repeat": f.repeat, "message": f.message} for f in self.failures],
            "diagnosis": list(self.diagnosis),
        }
        plain: dict[str, Any] = json_safe(data)
        return plain


def validation_curve(
    train_fn: Callable[..., Any],
    data: Any,
    *,
    name: str,
    values: Sequence[Any],
    test_data: Any = None,
    repeats: int = 3,
    seed: int = 0,
    metric: Metric | None = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
    changes: Mapping[str, Any] | None = None,
    batch_size: int = 512,
    confidence: float = CONFIDENCE,
    progress: bool | None = None,
) -> ValidationCurve:
    """Trains with each value of one hyperparameter and measures train and test error.

    All values see the same random numbers in each repeat, so that they are compared in pairs. `test_data` choose the
    value
    here: they should be validation data, and the error of the best value is too good by having been chosen.

    Args:
        train_fn: `train_fn(data, **{name: value}, **changes)` returns what it does for `learning_curve`.
        name: of the hyperparameter.
        values: to try, different ones: numbers, or anything else.
        data, test_data, repeats, seed, metric, loss_fn, changes, batch_size, confidence, progress: as for
            `learning_curve`.

    Raises:
        GapError: data are none of those, there are no values, one is there twice or NaN, or all trainings failed.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 11.4.1: the generalisation error over a
        hyperparameter is U-shaped: at one end capacity is too low, at the other the gap is too large.
    """
    total = count(data, "data", to_be_cut=True)
    n_test = None if test_data is None else count(test_data, "test_data")
    chosen = _checked(values, name)
    if repeats < 1:
        raise GapError(f"repeats is {repeats}, and has to be at least 1.")
    if name in (changes or {}):
        raise GapError(f"{name!r} is in changes too, and can have one value only.")
    z_of(confidence)
    measure = Measure(test_data, metric, loss_fn, batch_size)
    runs: list[tuple[Any, list[tuple[int, Trained]]]] = [(value, []) for value in chosen]
    failures = []
    rows = np.arange(total)
    with Progress(progress, "trainings") as bar:
        for repeat in range(repeats):
            for place, (value, found) in enumerate(runs):
                arguments = {**(changes or {}), name: value}
                part = subset(data, rows)  # a copy: what a training does to its data is not what the next one gets
                told = attempt(train_fn, part, arguments, measure, seed=seed + repeat, at=value, repeat=repeat)
                if isinstance(told, Failure):
                    failures.append(told)
                else:
                    found.append((repeat, told))
                bar.told(repeat * len(runs) + place + 1, repeats * len(runs))
    points = places(runs, confidence=confidence, n_test=n_test)
    if not points:
        first = failures[0]
        raise GapError(
            f"All {len(failures)} trainings failed; the first, with {name}={_shown(first.at)}: "
            f"{first.message.rstrip('.')}."
        )
    metric_told = metric_name(metric, [run for _, found in runs for _, run in found])
    return ValidationCurve(name, points, metric_told, n_test, repeats, confidence, tuple(failures))


def _checked(values: Sequence[Any], name: str) -> list[Any]:
    chosen: list[Any] = []
    for value in values:
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
        if isinstance(plain, float) and math.isnan(plain):
            raise GapError(f"values of {name!r} hold NaN.")
        if any(plain == other and type(plain) is type(other) for other in chosen):
            raise GapError(f"values of {name!r} hold {_shown(plain)} twice.")
        chosen.append(plain)
    if not chosen:
        raise GapError(f"values of {name!r} are empty: give at least one.")
    return sorted(chosen) if _are_numbers(chosen) else chosen


# ---------------------------------------------------------------------- values


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _are_geometric(values: Sequence[Any]) -> bool:
    """Whether the steps between their logarithms differ less than the steps between themselves."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 3:
        return bool(len(numbers) == 2 and numbers[0] > 0 and numbers[1] >= 10 * numbers[0])
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        return False
    steps, ratios = np.diff(numbers), np.diff(np.log(numbers))
    return float(ratios.std() / ratios.mean()) < float(steps.std() / steps.mean())


def _next_values(values: Sequence[Any], best: int, is_geometric: bool) -> tuple[float, ...]:
    numbers = np.asarray(values, dtype=np.float64)
    whole = all(isinstance(value, int) for value in values)
    scale = np.log(numbers) if is_geometric else numbers
    if best == 0:
        wanted = [scale[0] - 2 * (scale[1] - scale[0]), scale[0] - (scale[1] - scale[0])]
    elif best == len(values) - 1:
        wanted = [scale[-1] + (scale[-1] - scale[-2]), scale[-1] + 2 * (scale[-1] - scale[-2])]
    else:
        wanted = [(scale[best - 1] + scale[best]) / 2, (scale[best] + scale[best + 1]) / 2]
    if not is_geometric and numbers.min() >= 0:  # what is never negative, or never 0, stays so
        wanted = [value for value in wanted if value > 0 or (value == 0 and numbers.min() == 0)]
    found = [float(np.exp(value)) if is_geometric else float(value) for value in wanted]
    tidy = [
        max(round(value), 1) if whole and is_geometric else round(value) if whole else float(f"{value:.4g}")
        for value in found
    ]
    return tuple(dict.fromkeys(value for value in tidy if value not in values))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _json(value: Any) -> Any:
    return value if is_plain(value) else str(value)


# ---------------------------------------------------------------------- what it shows


def _about_the_best(curve: ValidationCurve) -> list[str]:
    point, good = next(p for p in curve.points if p.at is curve.best), curve.as_good
    told = [f"The test {curve.metric} is least at {curve.name} = {_shown(curve.best)}: {point.test}."]
    if not point.spread.is_known:
        return [*told, "Nothing is known of the noise of these errors, so they may all be alike: repeat."]
    if len(good) == len(curve.points) > 1:
        return [*told, "No value can be told from another: the differences are within their noise."]
    if len(good) > 1:
        told.append(f"Within one standard error of it: {', '.join(_shown(v) for v in good)}.")
    return told


def _about_the_ends(curve: ValidationCurve) -> list[str]:
    told = []
    if curve.edge is not None:
        end = "least" if curve.edge == "low" else "largest"
        beyond = ", ".join(_shown(value) for value in curve.next_values)
        told.append(f"That is the {end} value tried, and the error still falls there: try beyond it, as {beyond}.")
    for side, point in zip(curve.sides, (curve.points[0], curve.points[-1]), strict=True):
        if side is not None:
            part = "the train error rises with it" if side == "underfits" else "the gap to the train error widens"
            told.append(f"{curve.name} = {_shown(point.at)} {side}: {part}.")
    return told


def _about_failures(curve: ValidationCurve) -> list[str]:
    return [
        f"Training {failure.repeat + 1} with {curve.name} = {_shown(failure.at)} failed: {failure.message}"
        for failure in curve.failures
    ]
