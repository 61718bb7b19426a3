"""target-leakage: what the rule makes of a probe."""

from __future__ import annotations

import pytest

from diagnose.rules.dependence.target_leakage import target_leakage
from tests.rules.dependence.probed import ProbeRuleTests


class TestTargetLeakage(ProbeRuleTests):
    rule = staticmethod(target_leakage)
    probe = "next-token"

    @pytest.mark.parametrize("sees_target", [True, False])
    def test_it_says_whether_the_answer_itself_is_seen(self, sees_target: bool) -> None:
        (finding,) = self.findings(self.probed(0.25, sees_target=sees_target))
        assert ("the one that it predicts included" in finding.message) is sees_target
