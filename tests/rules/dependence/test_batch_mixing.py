"""batch-mixing: what the rule makes of a probe."""

from __future__ import annotations

from diagnose.rules.dependence.batch_mixing import batch_mixing
from tests.rules.dependence.probed import ProbeRuleTests


class TestBatchMixing(ProbeRuleTests):
    rule = staticmethod(batch_mixing)
    probe = "one-sample"
