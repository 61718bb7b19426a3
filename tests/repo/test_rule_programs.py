"""Each rule's bad program is reported for what its page says, its good one gets no warning, nor that remark."""

from __future__ import annotations

from pathlib import Path

import pytest

from diagnose.rules import all_rules
from tests.support.runs import codes_in, report_of
from tests.support.tree import ROOT

CODES = [code for code, rule in all_rules().items() if rule.function.__module__.startswith("diagnose.")]


@pytest.mark.parametrize("code", CODES)
def test_the_bad_program_is_reported_first_and_foremost(code: str, tmp_path: Path) -> None:
    report = report_of(ROOT / "docs" / "rules" / code / "bad.py", tmp_path)
    assert [finding["code"] for finding in report["findings"]][:1] == [code]


@pytest.mark.parametrize("code", CODES)
def test_the_good_program_gets_no_warning(code: str, tmp_path: Path) -> None:
    report = report_of(ROOT / "docs" / "rules" / code / "good.py", tmp_path)
    assert codes_in(report) == []
    assert code not in [finding["code"] for finding in report["findings"]]
