"""What every rule about one kind of probe holds; the real runs are in tests/collect/test_probes.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnose.findings import Finding, Severity
from diagnose.history import History, ProbeFacts


class ProbeRuleTests:
    """To be inherited: a rule and the probe that it is about."""

    rule: ClassVar[Callable[..., Iterator[Finding]]]
    probe: ClassVar[str]

    def findings(self, *facts: ProbeFacts, share: float = 0.0) -> list[Finding]:
        history = History()
        history.probes = {f"{index}": each for index, each in enumerate(facts)}
        return list(type(self).rule(history, share=share))

    def probed(self, affected: float, **options: Any) -> ProbeFacts:
        facts: dict[str, Any] = {"probe": self.probe, "model": "Net", "step": 3, "examples": 16, "affected": affected}
        return ProbeFacts(**{**facts, **options})

    def test_what_changed_is_reported_with_its_numbers(self) -> None:
        (finding,) = self.findings(self.probed(0.25))
        assert finding.severity is Severity.ERROR
        assert finding.where.module == "Net"
        assert finding.first_step == 3
        assert finding.evidence["affected_share"] == 0.25
        assert "25%" in finding.message

    @pytest.mark.parametrize(
        ("affected", "options"),
        [(0.0, {}), (0.5, {"reason": "it takes too long"}), (0.5, {"probe": "another"})],
    )
    def test_silent(self, affected: float, options: dict[str, Any]) -> None:
        assert self.findings(self.probed(affected, **options)) == []

    def test_no_probe_no_finding(self) -> None:
        assert self.findings() == []

    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(st.floats(0, 1), st.floats(0, 1))
    def test_exactly_at_the_limit_it_is_silent(self, affected: float, limit: float) -> None:
        found = self.findings(self.probed(affected), share=limit)
        assert bool(found) is (affected > limit)
        assert all(math.isfinite(f.evidence["affected_share"]) for f in found)  # type: ignore[arg-type]
