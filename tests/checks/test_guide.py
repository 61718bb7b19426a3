"""The programs in docs/guides/sanity-checks.md run, and say what the guide says; so does the example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT

GUIDE = ROOT / "docs" / "guides" / "sanity-checks.md"


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
    assert "fit-tiny: failed" in done.stdout
    assert "gradient-flow failed" in done.stdout
    assert "=== suggested" in done.stdout


def test_the_command_says_what_the_guide_shows(folder: Path) -> None:
    (command,) = blocks("sh")
    program, *arguments = command.split()
    assert program == "diagnose"
    done = run(folder, "-m", program, *arguments)
    assert done.returncode == 1, done.stderr
    for line in blocks("text")[0].splitlines():
        assert line in done.stdout


def test_the_example_is_sound() -> None:
    pytest.importorskip("sklearn")
    done = run(ROOT / "examples", "-m", "diagnose", "check", "check_digits.py:make", "--ignore", "gradients")
    assert done.returncode == 0, done.stdout + done.stderr
