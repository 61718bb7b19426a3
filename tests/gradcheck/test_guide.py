"""The programs in docs/guides/check-a-custom-backward.md run, and say what the guide says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guides import blocks, run, unpacked

GUIDE = "check-a-custom-backward.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(GUIDE, tmp_path)


def test_the_programs_run(folder: Path) -> None:
    done = run(folder, "guide.py")
    assert done.returncode == 0, done.stderr
    shown = blocks(GUIDE, "text")[0].splitlines()
    assert done.stdout.splitlines()[2].split() == shown[2].split()
    assert "x: fault" in done.stdout
    assert shown[-1] in done.stdout


def test_the_command_does_what_it_says(folder: Path) -> None:
    (command,) = blocks(GUIDE, "sh")
    program, *arguments = command.split()
    assert program == "diagnose"
    done = run(folder, "-m", program, *arguments)
    assert done.returncode == 1, done.stderr
    assert "suspect: autograd.Function Swish (swish.py:" in done.stdout
