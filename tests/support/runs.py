"""Runs a program under `diagnose run` and reads what it reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import forks


def report_of(program: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON report of `program`, run with `arguments` in `folder`; it must end well."""
    report = folder / "report.json"
    child = forks.diagnose(["run", "--no-tensorboard", "--json", str(report), str(program), *arguments], folder)
    assert child.returncode == 0, child.stderr
    loaded: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert loaded["run"]["failed"] == {}, "a collector failed"
    return loaded


def codes_in(report: dict[str, Any]) -> list[str]:
    """The codes of its findings in order; infos left out."""
    return [finding["code"] for finding in report["findings"] if finding["severity"] != "info"]
