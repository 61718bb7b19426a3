"""batch-mixing: what the rule makes of a probe. The real runs are in tests/collect/test_probes.py."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Finding, Severity
from diagnose.history import History, ProbeFacts
from diagnose.rules.dependence.batch_mixing import batch_mixing


def findings(*facts: ProbeFacts, share: float = 0.0) -> list[Finding]:
    history = History()
    history.probes = {f"{index}": each for index, each in enumerate(facts)}
    return list(batch_mixing(history, share=share))


def probed(affected: float, **options: object) -> ProbeFacts:
    return ProbeFacts(
        **{"probe": "one-sample", "model": "Net", "step": 3, "examples": 16, "affected": affected, **options}
    )  # type: ignore[arg-type]


def test_what_changed_is_reported_with_its_numbers() -> None:
    (finding,) = findings(probed(0.25))
    assert finding.severity is Severity.ERROR
    assert finding.where.module == "Net"
    assert finding.first_step == 3
    assert finding.evidence["affected_share"] == 0.25
    assert "25%" in finding.message


@pytest.mark.parametrize(
    "facts",
    [
        probed(0.0),
        probed(0.5, reason="it takes too long"),
        probed(0.5, probe="another"),
    ],
)
def test_silent(facts: ProbeFacts) -> None:
    assert findings(facts) == []


def test_no_probe_no_finding() -> None:
    assert findings() == []


@given(st.floats(0, 1), st.floats(0, 1))
def test_exactly_at_the_limit_it_is_silent(affected: float, limit: float) -> None:
    found = findings(probed(affected), share=limit)
    assert bool(found) is (affected > limit)
    assert all(math.isfinite(f.evidence["affected_share"]) for f in found)  # type: ignore[arg-type]
