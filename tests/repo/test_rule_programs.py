"""Each rule's bad program is reported for what its page says, its good one gets no warning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diagnose.rules import all_rules
from tests.support.tree import ROOT

CODES = [
    code for code, rule in all_rules().items() if rule.function.__module__.startswith("diagnose.")
]


def findings_of(program: Path, folder: Path) -> list[dict[str, Any]]:
    """What `diagnose run` says of `program`, which must end well; infos left out."""
    report = folder / "report.json"
    child = subprocess.run(
        [sys.executable, "-m", "diagnose", "run", "--no-tensorboard", "--json", report, program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    return [finding for finding in findings if finding["severity"] != "info"]


@pytest.mark.parametrize("code", CODES)
def test_the_bad_program_is_reported_first_and_foremost(code: str, tmp_path: Path) -> None:
    found = findings_of(ROOT / "docs" / "rules" / code / "bad.py", tmp_path)
    assert [finding["code"] for finding in found][:1] == [code]


@pytest.mark.parametrize("code", CODES)
def test_the_good_program_gets_no_warning(code: str, tmp_path: Path) -> None:
    found = findings_of(ROOT / "docs" / "rules" / code / "good.py", tmp_path)
    assert [(finding["code"], finding["message"]) for finding in found] == []
