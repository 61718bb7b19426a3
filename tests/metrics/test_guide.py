"""The programs in docs/guides/choose-a-metric.md run, and say what the guide says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diagnose import metrics
from tests.support.guides import blocks, run, unpacked
from tests.support.tree import ROOT

GUIDE = "choose-a-metric.md"


def test_the_programs_run(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = run(unpacked(GUIDE, tmp_path), "guide.py")
    assert done.returncode == 0, done.stderr
    for block in blocks(GUIDE, "text"):
        for line in block.splitlines():
            assert line in done.stdout
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "coverage.png",
        "precision-recall.png",
        "reliability.png",
    }


def test_what_it_names_exists() -> None:
    text = (ROOT / "docs" / "guides" / GUIDE).read_text(encoding="utf-8")
    table = text[text.index("| Goal") : text.index("All of them are functions")]
    assert {name for name in re.findall(r"`(\w+)`", table) if name != "n"} <= set(metrics.__all__)
    for link in re.findall(r"\(#([\w-]+)\)", table):
        assert link in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings(text)}


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)
