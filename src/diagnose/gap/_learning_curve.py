"""learning_curve: train and test error over the number of training examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from diagnose.errors import GapError
from diagnose.findings import json_safe
from diagnose.gap._extrapolation import UNKNOWN_NOISE, DataNeeded, Outlook
from diagnose.gap._measured import Place, difference, places
from diagnose.gap._subsets import classes_of, count, nested_order, sizes_of, subset
from diagnose.gap._trainings import Failure, Measure, Metric, Trained, attempt
from diagnose.progress import Progress
from diagnose.stats.intervals import CONFIDENCE, Interval, z_of

SLOWEST = 0.1
"""Exponents of learning curves are .07 to .35 in Hestness et al. 2017, and larger in Rosenfeld et al. 2020: what falls
by less than 1 - 2^-.1, 7 % at a doubling, is as good as flat."""


@dataclass(frozen=True)
class LearningCurve:
    """Train and test error over the number of training examples.

    Attributes:
        points: by size, ascending; `at` is the size. Intervals are for new trainings and new test examples.
        metric: what an error is: "error" (share of wrong answers), "loss", or what the training function returned.
        n_test: number of test examples; None if unknown.
        repeats: trainings per size.
        confidence: of all intervals.
        failures: trainings that crashed.
        changes: with which every training was called.
    """

    points: tuple[Place, ...]
    metric: str
    n_test: int | None
    repeats: int
    confidence: float = CONFIDENCE
    failures: tuple[Failure, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(point.at for point in self.points)

    @property
    def is_share(self) -> bool:
        """Whether errors are shares of wrong answers."""
        return self.metric == "error"

    @property
    def last(self) -> Place:
        """The point with the most examples."""
        return self.points[-1]

    @property
    def last_doubling(self) -> Interval | None:
        """The share of the test error that the last doubling of the data took away; negative if the error rose.

        None for a single size. Where no size is half of the last one, the nearest one stands in, and the share is that
        of a power law that falls as much between the two.
        """
        if len(self.points) < 2:
            return None
        half = min(self.points[:-1], key=lambda point: abs(math.log(point.at / self.last.at * 2)))
        fall, level = difference(half, self.last), half.spread.mean
        if not level > 0:
            return None
        ends = fall.interval(self.confidence)
        per_doubling = 1 / math.log2(self.last.at / half.at)

        def share(amount: float) -> float:
            if not math.isfinite(amount):
                return amount
            return float(1 - max(1 - amount / level, 0.0) ** per_doubling)

        return Interval(share(ends.value), share(ends.low), share(ends.high), self.confidence)

    @property
    def gap(self) -> Interval | None:
        """Test error minus train error with all data; None if the train error was not told."""
        train = self.last.train
        if train is None:
            return None
        test = self.last.test
        value = test.value - train.value
        low = value - math.hypot(test.value - test.low, train.high - train.value)
        high = value + math.hypot(test.high - test.value, train.value - train.low)
        return Interval(value, low, high, self.confidence)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """What the curve shows, one plain sentence each."""
        return (*_about_more_data(self), *_about_the_gap(self), *_about_noise(self), *_about_failures(self))

    def outlook(self) -> Outlook:
        """What is to be expected of more data: see `Outlook`."""
        # No wrong answer at all is as good as half a one: an error of 0 has no logarithm.
        least = 0.5 / self.n_test if self.is_share and self.n_test else 0.0
        return Outlook.of(
            self.sizes,
            [max(point.spread.mean, least) for point in self.points],
            [_noise(point) for point in self.points],
            test_error=math.sqrt(self.last.spread.examples),
            is_share=self.is_share,
        )

    def predict(self, size: int, *, confidence: float = 0.9) -> Interval:
        """The test error that `size` examples would give: the median of what is to be expected, with its interval.

        Raises:
            GapError: `size` is less than the largest size measured, or a loss is 0 or less.
        """
        return self.outlook().predict(size, confidence=confidence)

    def data_needed(self, target: float, *, confidence: float = 0.8) -> DataNeeded:
        """How many examples a test error of `target` takes: a range, and how far it can be trusted.

        Raises:
            GapError: `target` is not above 0, or a loss is 0 or less.
        """
        return self.outlook().data_needed(target, confidence=confidence)

    def plot(self, target: Any = None) -> Any:
        """Draws both errors with their intervals, and where they go with up to four times the data.

        Args:
            target: a path to write to (its ending tells the format), or a matplotlib Axes to draw on; None for a new
                one.

        Returns:
            The Axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from diagnose.gap._plots import plot_learning_curve

        return plot_learning_curve(self, target)

    def __str__(self) -> str:
        rows = [f"{'examples':>9}  {'train ' + self.metric:<28}{'test ' + self.metric:<28}".rstrip()]
        for point in self.points:
            train = str(point.train) if point.train is not None else "-"
            rows.append(f"{point.at:>9}  {train:<28}{point.test!s:<28}".rstrip())
        noise = "training and test noise" if self.last.spread.examples else "training noise only"
        rows.append(f"Means of {self.repeats} trainings with {self.confidence:.0%} intervals: {noise}.")
        return "\n".join((*rows, *self.diagnosis))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data = {
            "metric": self.metric,
            "n_test": self.n_test,
            "repeats": self.repeats,
            "confidence": self.confidence,
            "changes": {name: value if is_plain(value) else str(value) for name, value in self.changes.items()},
            "points": [{"size": point.at, **place_json(point)} for point in self.points],
            "last_doubling": interval_json(self.last_doubling),
            "gap": interval_json(self.gap),
            "failures": [{"size": f.at, "repeat": f.repeat, "message": f.message} for f in self.failures],
            "diagnosis": list(self.diagnosis),
        }
        plain: dict[str, Any] = json_safe(data)
        return plain


def learning_curve(
    train_fn: Callable[..., Any],
    data: Any,
    *,
    test_data: Any = None,
    sizes: Sequence[float] | None = None,
    repeats: int = 3,
    seed: int = 0,
    metric: Metric | None = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
    stratify: bool = True,
    changes: Mapping[str, Any] | None = None,
    batch_size: int = 512,
    confidence: float = CONFIDENCE,
    progress: bool | None = None,
) -> LearningCurve:
    """Trains on growing random subsets of the data and measures train and test error of each.

    The subsets of a repeat are nested, and each repeat has its own order and its own random numbers: the same for all
    sizes, so that neighbours are compared in pairs. A training that crashes is told in `failures`; the others stay.

    Args:
        train_fn: `train_fn(data, **changes)` gets a subset in the form of `data` and returns a trained model (a module,
            or what can be called or has `predict`), or the test error, or (train error, test error).
        data: (inputs, targets), a Dataset with a length, or a sequence of (input, target).
        test_data: in any of these forms, or a DataLoader; needed if `train_fn` returns a model.
        sizes: numbers of examples, or shares of all in (0, 1]; n/16, n/8, n/4, n/2, n by default.
        repeats: trainings per size, at least 1; of a single one, the noise of training stays unknown.
        seed: of the subsets, and of all random numbers in a training.
        metric: "error" (share of wrong answers), "loss" (mean of `loss_fn`), or a function of all outputs and all
            targets that returns one number, or shape (N,). By default the error for class labels, else the loss. Where
            `train_fn` returns numbers, "error" says that they are shares of wrong answers among the examples of
            `test_data`.
        loss_fn: of outputs and targets; squared error by default.
        stratify: keep the proportions of classes in every subset, where targets are class labels.
        changes: keyword arguments for `train_fn`.
        batch_size: for measuring.
        confidence: of the intervals.
        progress: True shows the bar at once, False never.

    Raises:
        GapError: data are none of the above, a size is impossible, or all trainings failed.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 11.3: whether to gather more data is read off
        "curves showing the relationship between training set size and generalization error", on a logarithmic scale.
    """
    total = count(data, "data", to_be_cut=True)
    classes = classes_of(data) if stratify else None
    chosen = sizes_of(sizes, total, classes)
    n_test = None if test_data is None else count(test_data, "test_data")
    if repeats < 1:
        raise GapError(f"repeats is {repeats}, and has to be at least 1.")
    z_of(confidence)
    measure = Measure(test_data, metric, loss_fn, batch_size)
    runs: dict[int, list[tuple[int, Trained]]] = {size: [] for size in chosen}
    failures = []
    with Progress(progress, "trainings") as bar:
        for repeat in range(repeats):
            order = nested_order(total, classes, seed + repeat)
            for place, size in enumerate(chosen):
                part = subset(data, np.sort(order[:size]))
                told = attempt(train_fn, part, changes or {}, measure, seed=seed + repeat, at=size, repeat=repeat)
                if isinstance(told, Failure):
                    failures.append(told)
                else:
                    runs[size].append((repeat, told))
                bar.told(repeat * len(chosen) + place + 1, repeats * len(chosen))
    points = places(list(runs.items()), confidence=confidence, n_test=n_test)
    if not points:
        first = failures[0]
        raise GapError(
            f"All {len(failures)} trainings failed; the first, with {first.at} examples: {first.message.rstrip('.')}."
        )
    return LearningCurve(
        points,
        metric_name(metric, [run for at in runs.values() for _, run in at]),
        n_test,
        repeats,
        confidence,
        tuple(failures),
        changes or {},
    )


def metric_name(metric: Metric | None, runs: Sequence[Trained]) -> str:
    """What an error is called in tables."""
    if all(run.is_share for run in runs):
        return "error"
    if callable(metric):
        return str(getattr(metric, "__name__", "metric"))
    return "loss" if any(run.per_example is not None for run in runs) else "value"


# ---------------------------------------------------------------------- what it shows


def _noise(point: Place) -> float:
    """Standard error of the test error at a place; of single trainings, what differs between them is guessed."""
    unknown = UNKNOWN_NOISE * point.spread.mean if math.isnan(point.spread.repeats) else 0.0
    return math.hypot(math.sqrt(point.spread.variance), unknown)


def _about_more_data(curve: LearningCurve) -> list[str]:
    fall = curve.last_doubling
    if fall is None:
        return ["One size alone does not show what more data would do."]
    if not math.isfinite(fall.low):
        return ["Nothing is known of the noise of these errors, so whether they still fall cannot be told: repeat."]
    amount = f"{fall.value:.0%} [{fall.low:.0%}, {fall.high:.0%}]"
    flat = 1 - 2**-SLOWEST
    if fall.low > 0:
        pace = "" if fall.high > flat else ", which is as good as flat"
        return [f"The test error still falls with more data: by {amount} at the last doubling{pace}."]
    if fall.high < 0:
        return [f"The test error rose with more data, by {-fall.value:.0%} at the last doubling: more data does harm."]
    if fall.high <= flat:
        return [f"The test error has stopped falling with more data: {amount} at the last doubling."]
    return [f"Whether the test error still falls with more data cannot be told: {amount} at the last doubling."]


def _about_the_gap(curve: LearningCurve) -> list[str]:
    gap, train, test = curve.gap, curve.last.train, curve.last.test
    if gap is None or train is None or not math.isfinite(gap.low):
        return []
    if gap.low > 0 and gap.value > 0.5 * test.value:
        return [
            f"Most of the test error is a gap to the train error ({train.value:.4g}): {gap}. More data or "
            "regularisation can close it."
        ]
    if gap.low > 0:
        return [
            f"Of the test error of {test.value:.4g}, {train.value:.4g} is made on the training examples as well, which "
            f"more data will not lower (section 11.3); the gap is {gap}."
        ]
    return [
        f"Train and test error have met: the gap is {gap}. More data can do little; more capacity or better data can."
    ]


def _about_noise(curve: LearningCurve) -> list[str]:
    if not math.isnan(curve.last.spread.repeats) or not curve.last.spread.is_known:
        return []
    return ["Nothing was trained twice, so intervals hold the noise of the test set alone: use repeats."]


def _about_failures(curve: LearningCurve) -> list[str]:
    return [f"Training {f.repeat + 1} with {f.at} examples failed: {f.message}" for f in curve.failures]


def place_json(point: Place) -> dict[str, Any]:
    """All that is measured at a place but the place itself."""
    return {
        "train": interval_json(point.train),
        "test": interval_json(point.test),
        "train_errors": list(point.train_errors),
        "test_errors": list(point.test_errors),
    }


def interval_json(interval: Interval | None) -> dict[str, float] | None:
    """An interval without its confidence, which all of a curve share."""
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def is_plain(value: Any) -> bool:
    """Whether JSON has such a value."""
    return value is None or isinstance(value, bool | int | float | str)
