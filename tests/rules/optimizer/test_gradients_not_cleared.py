"""gradients-not-cleared: used gradients survive into the next step."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from diagnose.findings import Severity
from diagnose.history import HandmadeFacts, History
from diagnose.testing import history_of
from tests.rules.looking import flat, said, the_only

CODE = "gradients-not-cleared"


def run(stale: Iterable[int], steps: int = 100, closures: int = 0) -> History:
    return history_of(
        steps=steps, loss=flat(steps), closures=closures, events=[("stale-gradients", step, {}) for step in stale]
    )


def test_zero_grad_is_missing() -> None:
    finding = the_only(run(range(2, 101)), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.evidence["stale_steps"] == 99
    assert finding.evidence["share"] == pytest.approx(0.99)
    assert (finding.first_step, finding.last_step) == (2, 100)
    assert "99 of the 100 steps" in finding.message


def test_cleared_every_second_step() -> None:
    assert said(run(range(2, 101, 2)), CODE)


@pytest.mark.parametrize(("number", "fires"), [(9, False), (10, True)])
def test_the_limit_is_a_tenth_of_the_steps(number: int, fires: bool) -> None:
    assert bool(said(run(range(1, number + 1)), CODE)) is fires


def test_a_run_of_few_steps() -> None:
    assert said(run([2, 3, 4], steps=4), CODE)
    assert not said(run([2, 3], steps=3), CODE)


def test_each_optimizer_is_counted_alone() -> None:
    history = run(range(2, 101))
    history_of(steps=100, loss=flat(100), optimizer="other", into=history)
    assert [finding.evidence["optimizer"] for finding in said(history, CODE)] == ["SGD"]


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_the_change_from_one_loop_to_the_next() -> None:
    assert not said(run([50, 51], steps=100), CODE)


def test_a_closure_that_does_not_clear() -> None:
    assert said(run(range(2, 101), closures=100), CODE)
    assert not said(run([], closures=100), CODE)


@pytest.mark.parametrize(
    ("stale", "steps", "speaks"), [(3, 30, True), (2, 2, False), (3, 31, False), (30, 31, True), (0, 0, False)]
)
def test_steps_made_by_hand(stale: int, steps: int, speaks: bool) -> None:
    history = History()
    history.handmade.append(HandmadeFacts(steps, stale, "train.py", 7))
    found = said(history, CODE)
    assert bool(found) is speaks
    assert said(History.from_arrays(*history.to_arrays()), CODE) == found


def test_steps_made_by_hand_before_an_optimizer_are_left_alone() -> None:
    history = history_of(steps=20)
    history.handmade.append(HandmadeFacts(31, 30, "train.py", 7))
    assert not said(history, CODE)
