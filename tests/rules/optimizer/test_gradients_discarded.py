"""gradients-discarded: backward passes that no step uses."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import Parameter, history_of
from tests.rules.looking import flat, said, the_only

CODE = "gradients-discarded"


def run(
    concerned: Iterable[int], steps: int = 40, *, discarded: int = 3, used: int = 1, same_line: bool = True
) -> History:
    detail = {
        "discarded": discarded,
        "used": used,
        "same_line": same_line,
        "file": "train.py",
        "line": 12,
        "cleared_line": 10,
    }
    return history_of(
        steps=steps, loss=flat(steps), events=[("gradients-discarded", step, detail) for step in concerned]
    )


def test_zero_grad_inside_of_accumulation() -> None:
    finding = the_only(run(range(2, 41)), CODE)
    assert finding.severity is Severity.ERROR
    assert (finding.where.file, finding.where.line) == ("train.py", 12)
    assert "line 10" in finding.cause
    assert finding.evidence["steps_concerned"] == 39
    assert (finding.first_step, finding.last_step) == (2, 40)


def test_all_passes_are_thrown_away() -> None:
    assert the_only(run(range(2, 41), discarded=1, used=0, same_line=False), CODE).severity is Severity.ERROR


def test_passes_of_another_line_may_be_for_looking_only() -> None:
    assert the_only(run(range(2, 41), discarded=1, same_line=False), CODE).severity is Severity.INFO


def deprived(head: Parameter) -> History:
    detail = {"discarded": 1, "used": 1, "same_line": False, "deprived": ["head.weight"]}
    return history_of(
        steps=40,
        loss=flat(40),
        parameters={"body.weight": Parameter(), "head.weight": head},
        events=[("gradients-discarded", step, detail) for step in range(2, 41)],
    )


@pytest.mark.parametrize("gradient", [None, 0.0])
def test_what_only_the_lost_passes_would_train(gradient: float | None) -> None:
    finding = the_only(deprived(Parameter(gradient=gradient)), CODE)
    assert finding.severity is Severity.ERROR
    assert "head.weight" in finding.message


def test_what_is_trained_at_other_steps_or_elsewhere_or_not_to_be_is_not_lost() -> None:
    for head in (
        Parameter(gradient=lambda step: float(step == 20)),
        Parameter(gradient=None, held=False),
        Parameter(gradient=None, requires_grad=False),
    ):
        assert the_only(deprived(head), CODE).severity is Severity.INFO


@pytest.mark.parametrize(("number", "fires"), [(19, False), (20, True)])
def test_the_limit_is_half_of_the_steps(number: int, fires: bool) -> None:
    assert bool(said(run(range(1, number + 1)), CODE)) is fires


def test_a_run_of_few_steps() -> None:
    assert said(run([2, 3, 4], steps=4), CODE)
    assert not said(run([2, 3], steps=3), CODE)


@given(st.sets(st.integers(1, 40)))
def test_it_depends_on_the_count_alone(concerned: set[int]) -> None:
    assert bool(said(run(sorted(concerned)), CODE)) is (len(concerned) >= 20)
