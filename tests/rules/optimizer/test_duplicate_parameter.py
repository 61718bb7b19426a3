"""duplicate-parameter: one gradient, two updates."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import EventKind, History
from diagnose.testing import Parameter, history_of
from tests.rules.looking import flat, said, the_only

CODE = "duplicate-parameter"


def run(concerned: Iterable[int] = (), steps: int = 40, times: int = 1, kind: EventKind = "stepped-twice") -> History:
    detail = {"other": "first", "parameters": 2, "parameter": "trunk.weight", "file": "train.py", "line": 30}
    history = history_of(
        steps=steps,
        loss=flat(steps),
        parameters={"trunk.weight": Parameter(), "trunk.bias": Parameter((64,))},
        events=[(kind, step, detail) for step in concerned],
    )
    history.parameters["trunk.weight"].optimizers = ("SGD",) * times
    return history


def test_two_optimizers_step_with_one_gradient() -> None:
    finding = the_only(run(range(2, 41)), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.parameter, finding.where.line) == ("trunk.weight", 30)
    assert finding.evidence["other"] == "first"
    assert "trunk.weight and a parameter more" in finding.message


@pytest.mark.parametrize(("number", "fires"), [(9, False), (10, True)])
def test_the_limit_is_a_quarter_of_the_steps(number: int, fires: bool) -> None:
    assert bool(said(run(range(1, number + 1)), CODE)) is fires


def test_the_optimizer_of_a_stack_moves_the_critic_too() -> None:
    finding = the_only(run(range(2, 41), kind="stepped-by-both"), CODE)
    assert "all that first trains" in finding.message


def test_one_optimizer_holds_it_twice() -> None:
    finding = the_only(run(times=2), CODE)
    assert finding.where.parameter == "trunk.weight"
    assert "more than once" in finding.message


def test_held_by_two_optimizers_that_have_gradients_of_their_own() -> None:
    history = run()
    history.parameters["trunk.weight"].optimizers = ("SGD", "Adam")
    assert not said(history, CODE)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=5))
def test_the_order_of_the_optimizers_does_not_matter(holders: list[str]) -> None:
    history = run()
    history.parameters["trunk.weight"].optimizers = tuple(holders)
    repeated = {holder for holder in holders if holders.count(holder) > 1}
    assert {finding.evidence["optimizer"] for finding in said(history, CODE)} == repeated
