"""Which samples are thorough, and which are heard by those who need not hear all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.collect._collector import THOROUGH_EVERY, THOROUGH_TURNS, Shared
from diagnose.collect.inventory import Inventory
from diagnose.history import History


def at(turn: int, *, follows: bool = True) -> Shared:
    return Shared(History(), Inventory({}, ()), {}, turn=turn, follows=follows)


@given(st.integers(1, THOROUGH_TURNS), st.booleans())
def test_the_first_samples_take_in_everything(turn: int, follows: bool) -> None:
    assert at(turn, follows=follows).is_thorough
    assert at(turn, follows=follows).reads_data


@given(st.integers(1, 10_000))
def test_a_thorough_sample_is_heard_by_all_and_so_is_one_alone(turn: int) -> None:
    assert at(turn).reads_data or not at(turn).is_thorough
    assert at(turn, follows=False).reads_data


@pytest.mark.parametrize("cycle", range(1, 9))
def test_whoever_takes_turns_gets_a_share(cycle: int) -> None:
    """A sample in four by counting would always fall to the same of two, or of four, optimizers."""
    for place in range(cycle):
        turns = range(THOROUGH_TURNS + 1 + place, THOROUGH_TURNS + 1 + 100 * cycle, cycle)
        thorough = sum(at(turn).is_thorough for turn in turns) / len(turns)
        heard = sum(at(turn).reads_data for turn in turns) / len(turns)
        assert thorough == pytest.approx(1 / THOROUGH_EVERY, abs=0.05)
        assert heard == pytest.approx(1 / 2, abs=0.05)
