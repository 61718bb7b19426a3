"""The programs in docs/guides/check-a-custom-backward.md run, and say what the guide says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT

GUIDE = ROOT / "docs" / "guides" / "check-a-custom-backward.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the guide's files; blocks that begin with `# NAME.py` are files, the others one script."""
    script = []
    for block in blocks("python"):
        if name := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
        else:
            script.append(block)
    (tmp_path / "guide.py").write_text("\n".join(script), encoding="utf-8")
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_programs_run(folder: Path) -> None:
    done = run(folder, "guide.py")
    assert done.returncode == 0, done.stderr
    shown = blocks("text")[0].splitlines()
    assert done.stdout.splitlines()[2].split() == shown[2].split()
    assert "x: fault" in done.stdout
    assert shown[-1] in done.stdout


def test_the_command_does_what_it_says(folder: Path) -> None:
    (command,) = blocks("sh")
    program, *arguments = command.split()
    assert program == "diagnose"
    done = run(folder, "-m", program, *arguments)
    assert done.returncode == 1, done.stderr
    assert "suspect: autograd.Function Swish (swish.py:" in done.stdout
