"""The validation error that a curve tells, and how many examples it is of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.gap._curves import curves_of
from diagnose.gap._error import Measured
from diagnose.gap._held_out import examples_behind, held_out_errors
from diagnose.gap._situation import Situation


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 3_000), st.integers(0, 10_000))
def test_the_true_number_is_a_multiple(n: int, seed: int) -> None:
    wrong = np.random.default_rng(seed).integers(0, n + 1, 30)
    found = examples_behind((wrong / n).astype(np.float32).astype(np.float64))
    assert found is not None
    assert n % found == 0


def test_numbers_that_are_no_shares_of_few_examples() -> None:
    assert examples_behind(np.random.default_rng(0).random(10)) is None


def situation(name: str, values: list[float]) -> Situation:
    return Situation(curves=curves_of({name: values}))


def test_the_last_and_the_lowest() -> None:
    found = held_out_errors(situation("val_acc", [0.5, 0.75, 0.9, 0.85]))
    assert found is not None
    assert [one.value for one in found] == pytest.approx([0.15, 0.1])
    assert [one.n for one in found] == [20, 20]


@pytest.mark.parametrize(
    ("name", "values"),
    [("test_error", [0.5, 0.3, 0.2, 0.1]), ("val_error", [0.5, 0.2]), ("val_error", [9.0, 4.0, 3.0, 2.0])],
    ids=["a test curve", "too short", "no shares"],
)
def test_other_curves_tell_nothing(name: str, values: list[float]) -> None:
    assert held_out_errors(situation(name, values)) is None


def test_what_was_given_counts() -> None:
    made = situation("val_error", [0.5, 0.3, 0.2, 0.1])
    made.train_dev = Measured("train-dev error", 0.3, 50)
    assert held_out_errors(made) == (made.train_dev, made.train_dev)
