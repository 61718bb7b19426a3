"""The programs in docs/guides/my-test-error-is-bad.md run, and every verdict has its section."""

from __future__ import annotations

import re
from pathlib import Path

from diagnose.gap import VERDICTS
from tests.support.guides import blocks, run, unpacked
from tests.support.tree import ROOT

GUIDE = "my-test-error-is-bad.md"


def test_the_programs_run(tmp_path: Path) -> None:
    done = run(unpacked(GUIDE, tmp_path), "guide.py")
    assert done.returncode == 0, done.stderr
    for line in blocks(GUIDE, "text")[0].splitlines():
        assert line in done.stdout
    text = (ROOT / "docs" / "guides" / GUIDE).read_text(encoding="utf-8")
    for said in re.findall(r"# \.\.\. (.*?)(?: \.\.\.)?$", text, re.MULTILINE):
        assert said in done.stdout


def test_the_command_runs(tmp_path: Path) -> None:
    (command,) = blocks(GUIDE, "sh")
    program, *arguments = command.split()
    done = run(tmp_path, "-m", program, *arguments)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("underfitting: ")


def test_every_verdict_is_walked_through() -> None:
    text = (ROOT / "docs" / "guides" / GUIDE).read_text(encoding="utf-8")
    assert set(re.findall(r"^## ([a-z-]+)$", text, re.MULTILINE)) == set(VERDICTS)
