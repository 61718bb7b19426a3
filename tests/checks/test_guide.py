"""The programs in docs/guides/sanity-checks.md run, and say what the guide says; so does the example."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guides import blocks, run, unpacked
from tests.support.tree import ROOT

GUIDE = "sanity-checks.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(GUIDE, tmp_path)


def test_the_programs_run(folder: Path) -> None:
    done = run(folder, "guide.py")
    assert done.returncode == 0, done.stderr
    assert "fit-tiny: failed" in done.stdout
    assert "gradient-flow failed" in done.stdout
    assert "=== suggested" in done.stdout


def test_the_command_says_what_the_guide_shows(folder: Path) -> None:
    (command,) = blocks(GUIDE, "sh")
    program, *arguments = command.split()
    assert program == "diagnose"
    done = run(folder, "-m", program, *arguments)
    assert done.returncode == 1, done.stderr
    for line in blocks(GUIDE, "text")[0].splitlines():
        assert line in done.stdout


def test_the_example_is_sound() -> None:
    pytest.importorskip("sklearn")
    done = run(ROOT / "examples", "-m", "diagnose", "check", "check_digits.py:make", "--ignore", "gradients")
    assert done.returncode == 0, done.stdout + done.stderr
