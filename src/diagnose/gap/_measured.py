"""Errors of a few trainings at one place of a curve, with the noise of both training and test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.gap._trainings import Trained
from diagnose.stats.intervals import Interval, student, z_of

Floats: TypeAlias = NDArray[np.float64]

_PRIOR_FREEDOM: Final = 4.0
"""So many degrees of freedom the common scatter of all places is worth beside the own one of each."""


@dataclass(frozen=True)
class Spread:
    """The mean of a few numbers, and what is uncertain about it.

    Attributes:
        mean: of the repeats.
        repeats: variance of that mean by what differs between trainings; NaN if nothing was repeated anywhere.
        examples: variance of it by the chance of the test examples; 0 where that is unknown.
        freedom: degrees of freedom of `repeats`.
    """

    mean: float
    repeats: float
    examples: float
    freedom: float

    @property
    def variance(self) -> float:
        return (0.0 if math.isnan(self.repeats) else self.repeats) + self.examples

    @property
    def is_known(self) -> bool:
        """Whether anything is known about how uncertain it is."""
        return not math.isnan(self.repeats) or self.examples > 0

    def interval(self, confidence: float, low: float = -math.inf, high: float = math.inf) -> Interval:
        """An interval of the mean within bounds that it cannot leave; infinitely wide if nothing is known of its
        noise.
        """
        if not self.is_known:
            return Interval(self.mean, low, high, confidence)
        half = self.quantile(confidence) * math.sqrt(self.variance)
        lowest, highest = min(max(self.mean - half, low), self.mean), max(min(self.mean + half, high), self.mean)
        return Interval(self.mean, lowest, highest, confidence)

    def quantile(self, confidence: float) -> float:
        """Two-sided, of Student's t; freedom as Satterthwaite (1946) has it, for the examples' part is known well."""
        if math.isnan(self.repeats) or self.repeats == 0:
            return z_of(confidence)
        return student(confidence, self.freedom * (self.variance / self.repeats) ** 2)


@dataclass(frozen=True)
class Place:
    """All trainings at one place of a curve: a size of the training set, a value of a hyperparameter.

    Attributes:
        at: the place.
        train, test: with the interval of the mean over repeats, for new trainings and new test examples; train is None
            where it was not told.
        train_errors, test_errors: of each repeat that did not fail.
        spread: of the test error.
        per_example: shape (N_test,), mean error over the repeats; None if unknown.
        repeats: which ones did not fail, counted from 0.
    """

    at: Any
    train: Interval | None
    test: Interval
    train_errors: tuple[float, ...]
    test_errors: tuple[float, ...]
    spread: Spread
    per_example: Floats | None
    repeats: tuple[int, ...]


def places(
    found: Sequence[tuple[Any, Sequence[tuple[int, Trained]]]], *, confidence: float, n_test: int | None
) -> tuple[Place, ...]:
    """One place for each of (at, [(repeat, measured), ...]) that has a training.

    The interval of a test error holds two sources of noise, which are independent. One is what differs between
    trainings (the subset, the initialisation, the order): the variance over repeats, divided by their number. It is
    estimated from few of them, so it is moderated by the scatter at all places, relative to the error (Smyth, "Linear
    models and empirical Bayes methods", 2004). The other is the choice of the test examples, which all repeats have in
    common and
    which no repeating makes smaller: the variance of the mean error of each example, divided by their number.

    Args:
        n_test: how many examples stand behind a test error that was told as a share; None if unknown.
    """
    present = [(at, runs) for at, runs in found if runs]
    common = {name: _common(present, name) for name in ("train", "test")}
    made = []
    for at, runs in present:
        tests = np.array([run.test for _, run in runs])
        trains = np.array([run.train for _, run in runs])
        is_share = all(run.is_share for _, run in runs)
        each = _mean_of_examples([run for _, run in runs])
        spread = _spread(tests, common["test"], _of_examples(each, float(tests.mean()), is_share, n_test))
        bounds = (0.0, 1.0) if is_share else (-math.inf, math.inf)
        train = None
        if np.isfinite(trains).all():
            train = _spread(trains, common["train"], 0.0).interval(confidence, *bounds)
        made.append(
            Place(
                at,
                train,
                spread.interval(confidence, *bounds),
                tuple(trains.tolist()) if train else (),
                tuple(tests.tolist()),
                spread,
                each,
                tuple(repeat for repeat, _ in runs),
            )
        )
    return tuple(made)


def difference(one: Place, other: Place) -> Spread:
    """How much lower the test error is at `other` than at `one`, on the same repeats and the same test examples.

    Repeats that both have are paired: they share the seed, and the order of the data.
    """
    shared = [repeat for repeat in one.repeats if repeat in other.repeats]
    first = dict(zip(one.repeats, one.test_errors, strict=True))
    second = dict(zip(other.repeats, other.test_errors, strict=True))
    by_repeats, freedom = one.spread.repeats + other.spread.repeats, one.spread.freedom
    if len(shared) > 1:
        pairs = np.array([first[repeat] - second[repeat] for repeat in shared])
        # Few pairs: their own scatter counts beside what independent repeats would have.
        own, weight = float(pairs.var(ddof=1)) / len(pairs), len(pairs) - 1
        by_repeats = (own * weight + by_repeats * _PRIOR_FREEDOM) / (weight + _PRIOR_FREEDOM)
        freedom = weight + _PRIOR_FREEDOM
    by_examples = one.spread.examples + other.spread.examples
    if one.per_example is not None and other.per_example is not None:
        paired = one.per_example - other.per_example
        # Half an example to either side: examples that all agree are no certainty.
        by_examples = (float(((paired - paired.mean()) ** 2).sum()) + _half(one)) / len(paired) ** 2
    return Spread(one.spread.mean - other.spread.mean, by_repeats, by_examples, freedom)


def _half(place: Place) -> float:
    assert place.per_example is not None
    return float(np.max(np.abs(place.per_example), initial=0.0)) ** 2 if len(place.per_example) else 0.0


def _common(found: Sequence[tuple[Any, Sequence[tuple[int, Trained]]]], name: str) -> float:
    """Mean squared scatter over repeats at all places, relative to the error there; NaN where nothing was repeated."""
    squares, freedom = 0.0, 0
    for _, runs in found:
        errors = np.array([getattr(run, name) for _, run in runs])
        if len(errors) > 1 and np.isfinite(errors).all() and errors.mean() != 0:
            squares += float(((errors - errors.mean()) ** 2).sum()) / float(errors.mean()) ** 2
            freedom += len(errors) - 1
    return squares / freedom if freedom else math.nan


def _spread(errors: Floats, common: float, by_examples: float) -> Spread:
    mean = float(errors.mean())
    prior = common * mean**2
    if math.isnan(prior):
        return Spread(mean, math.nan, by_examples, 0.0)
    freedom = len(errors) - 1
    own = float(errors.var(ddof=1)) if freedom else 0.0
    moderated = (own * freedom + prior * _PRIOR_FREEDOM) / (freedom + _PRIOR_FREEDOM)
    return Spread(mean, moderated / len(errors), by_examples, freedom + _PRIOR_FREEDOM)


def _mean_of_examples(runs: Sequence[Trained]) -> Floats | None:
    each = [run.per_example for run in runs if run.per_example is not None]
    if len(each) < len(runs) or any(len(part) != len(each[0]) for part in each):
        return None
    mean: Floats = np.mean(each, axis=0)
    return mean


def _of_examples(each: Floats | None, mean: float, is_share: bool, n_test: int | None) -> float:
    """Variance of the mean test error by the choice of examples; of shares, never less than a wrong half example
    has.
    """
    size = len(each) if each is not None else n_test
    if size is None or (each is None and not is_share):
        return 0.0
    if is_share and mean * size < 1:
        share = (mean * size + 0.5) / (size + 1)
        return share * (1 - share) / size
    if each is None:
        return mean * (1 - mean) / size
    return float(each.var(ddof=1)) / size
