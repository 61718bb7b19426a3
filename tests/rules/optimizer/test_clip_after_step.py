"""clip-after-step: clipping that comes too late, or before its time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import EventKind, History
from diagnose.testing import history_of, sampled_steps
from tests.rules.looking import flat, said, the_only

CODE = "clip-after-step"
LATE: EventKind = "clipped-too-late"
SCALED: EventKind = "clipped-while-scaled"


def run(kind: EventKind, concerned: Iterable[int], steps: int = 40, norm: float = 0.1, **changed: Any) -> History:
    detail = {"after_step": True, "exceeded": True, "limit": 1.0, "scale": 65536.0, "file": "train.py", "line": 22}
    return history_of(
        steps=steps,
        loss=flat(steps),
        grad_norm=norm,
        events=[(kind, step, detail | changed) for step in concerned],
    )


def test_after_the_step() -> None:
    finding = the_only(run(LATE, range(2, 41)), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.file, finding.where.line) == ("train.py", 22)
    assert "after the step" in finding.message


def test_before_backward_where_the_step_was_above_the_limit() -> None:
    finding = the_only(run(LATE, range(2, 41), norm=3.0, after_step=False, exceeded=False), CODE)
    assert finding.severity is Severity.WARNING
    assert "before there were any" in finding.message


def test_nothing_would_have_been_clipped() -> None:
    assert the_only(run(LATE, range(2, 41), exceeded=False), CODE).severity is Severity.INFO


def test_while_scaled() -> None:
    finding = the_only(run(SCALED, range(2, 41)), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["scale"] == 65536
    assert "unscale_" in finding.remedy


@pytest.mark.parametrize("kind", [LATE, SCALED])
@pytest.mark.parametrize(("number", "fires"), [(19, False), (20, True)])
def test_the_limit_is_half_of_the_steps(kind: EventKind, number: int, fires: bool) -> None:
    assert bool(said(run(kind, range(1, number + 1)), CODE)) is fires


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_units_of_the_gradient_do_not_matter(norm: float, limit: float) -> None:
    def severity(factor: float) -> Severity:
        history = run(LATE, sampled_steps(40), norm=norm * factor, limit=limit * factor, exceeded=False)
        return the_only(history, CODE, share=0.1).severity

    assert severity(1.0) is severity(2.0**20)
