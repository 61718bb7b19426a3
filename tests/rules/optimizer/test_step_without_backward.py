"""step-without-backward: steps that no new gradient belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of
from tests.rules.looking import said, the_only

CODE = "step-without-backward"


def run(empty: Iterable[int], steps: int = 100, **more: Any) -> History:
    more.setdefault("parameters", {"fc.weight": Parameter()})
    return history_of(steps=steps, events=[("no-new-gradient", step, {}) for step in empty], **more)


def test_backward_is_missing() -> None:
    still = {"fc.weight": Parameter(gradient=None, ratio=None, changed=False)}
    finding = the_only(run(range(1, 101), parameters=still, backwards=0), CODE)
    assert finding.severity is Severity.ERROR
    assert "not called at all" in finding.cause
    assert (finding.first_step, finding.last_step) == (1, 100)


def test_two_steps_for_each_backward() -> None:
    finding = the_only(run(range(2, 101, 2)), CODE)
    assert finding.evidence["share"] == 0.5
    assert "more often" in finding.cause


@pytest.mark.parametrize(("number", "fires"), [(9, False), (10, True)])
def test_the_limit_is_a_tenth_of_the_steps(number: int, fires: bool) -> None:
    assert bool(said(run(range(1, number + 1)), CODE)) is fires


# -- healthy look-alikes, and what another rule tells -------------------------------------------------


def test_an_optimizer_that_holds_the_wrong_parameters() -> None:
    orphan = Parameter(gradient=None, module="", module_type="")
    trained = Parameter(held=False)
    history = run(range(1, 101), parameters={"old": orphan, "fc.weight": trained})
    assert not said(history, CODE)


def test_an_optimizer_whose_turn_has_not_come() -> None:
    waiting = {"b.weight": Parameter(gradient=None, requires_grad=False)}
    history = run(range(1, 101), parameters=waiting)
    history_of(steps=100, parameters={"a.weight": Parameter()}, optimizer="other", into=history)
    assert not said(history, CODE)


def test_a_closure_without_backward() -> None:
    assert said(run(range(1, 101), closures=100), CODE)
    assert not said(run([], closures=100), CODE)


def test_a_single_step_too_many() -> None:
    assert not said(run([100], steps=3), CODE)
