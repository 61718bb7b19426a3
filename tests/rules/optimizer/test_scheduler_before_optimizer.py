"""scheduler-before-optimizer: the first value of the schedule is skipped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History, SchedulerFacts
from diagnose.testing import history_of
from tests.rules.looking import flat, said, the_only

CODE = "scheduler-before-optimizer"


def run(early: int, kind: str = "StepLR") -> History:
    history = history_of(steps=40, loss=flat(40))
    history.schedulers[kind] = SchedulerFacts(type=kind, optimizer="SGD", early=early, file="train.py", line=7)
    return history


@pytest.mark.parametrize(("early", "times"), [(1, "once"), (3, "3 times")])
def test_stepped_before(early: int, times: str) -> None:
    finding = the_only(run(early), CODE)
    assert finding.severity is Severity.INFO
    assert finding.where.line == 7
    assert times in finding.message


def test_in_the_right_order() -> None:
    assert not said(run(0), CODE)


def test_a_scheduler_that_waits_for_a_plateau() -> None:
    assert not said(run(2, "ReduceLROnPlateau"), CODE)


@given(st.integers(0, 100))
def test_any_number_of_times(early: int) -> None:
    assert len(said(run(early), CODE)) == (early > 0)
