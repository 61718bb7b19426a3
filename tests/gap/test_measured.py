"""The noise of a place of a curve: of trainings, of test examples, of differences on the same ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnose.gap._measured import Place, difference, places
from diagnose.gap._trainings import Trained


def measured(errors: np.ndarray, train: float = math.nan) -> list[tuple[int, Trained]]:
    """Trainings with 0 or 1 for each test example: shape (repeats, examples)."""
    return [(repeat, Trained(train, float(row.mean()), row, True)) for repeat, row in enumerate(errors)]


def wrong(share: float, repeats: int, examples: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).uniform(size=(repeats, examples)) < share).astype(float)


def one_place(runs: list[tuple[int, Trained]]) -> Place:
    return places([(1, runs)], confidence=0.95, n_test=None)[0]


def test_both_variances_are_those_of_their_definition() -> None:
    errors = wrong(0.3, 4, 200, seed=0)
    spread = one_place(measured(errors)).spread
    # A single place: the common scatter is its own, so moderation changes nothing.
    assert spread.repeats == pytest.approx(errors.mean(1).var(ddof=1) / 4)
    assert spread.examples == pytest.approx(errors.mean(0).var(ddof=1) / 200)
    assert spread.mean == pytest.approx(errors.mean())


def test_few_repeats_that_agree_by_chance_are_moderated_by_the_others() -> None:
    alike = [(0, Trained(math.nan, 0.2, None, False)), (1, Trained(math.nan, 0.2, None, False))]
    apart = [(0, Trained(math.nan, 0.3, None, False)), (1, Trained(math.nan, 0.5, None, False))]
    first, second = places([(1, alike), (2, apart)], confidence=0.95, n_test=None)
    assert first.spread.repeats > 0
    assert first.test.low < 0.2 < first.test.high
    assert second.spread.repeats < 0.02 / 2


def test_a_difference_on_the_same_examples_is_paired() -> None:
    one = wrong(0.3, 3, 500, seed=0)
    other = one.copy()
    other[:, :5] = 1 - other[:, :5]
    first, second = places([(1, measured(one)), (2, measured(other))], confidence=0.95, n_test=None)
    told = difference(first, second)
    each = one.mean(0) - other.mean(0)
    assert told.mean == pytest.approx(each.mean())
    assert told.examples == pytest.approx((((each - each.mean()) ** 2).sum() + 1) / 500**2)
    assert told.examples < first.spread.examples / 10
    assert difference(second, first).mean == pytest.approx(-told.mean)


def test_repeats_are_paired_where_both_places_have_them() -> None:
    def runs(errors: dict[int, float]) -> list[tuple[int, Trained]]:
        return [(repeat, Trained(math.nan, error, None, False)) for repeat, error in errors.items()]

    # Repeats differ by much, and both places alike.
    first, second = places(
        [(1, runs({0: 0.1, 1: 0.3, 2: 0.5, 3: 0.7})), (2, runs({0: 0.11, 1: 0.31, 3: 0.71}))],
        confidence=0.95,
        n_test=None,
    )
    assert difference(first, second).repeats < first.spread.repeats + second.spread.repeats


def test_no_mistake_among_the_test_examples_is_no_certainty() -> None:
    place = one_place(measured(np.zeros((3, 50))))
    assert place.test.value == 0.0 and 0.01 < place.test.high < 0.1


def test_a_share_told_as_a_number_has_binomial_noise() -> None:
    runs = [(repeat, Trained(0.1, 0.2, None, True)) for repeat in range(3)]
    place = places([(1, runs)], confidence=0.95, n_test=100)[0]
    assert place.spread.examples == pytest.approx(0.2 * 0.8 / 100)
    assert place.train is not None and place.train.value == pytest.approx(0.1)
