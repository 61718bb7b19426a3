"""The code in a guide of docs/guides: its blocks, and a folder with its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.tree import ROOT


def blocks(guide: str, language: str) -> list[str]:
    """The blocks of code in `language` of the guide called `guide`, in order."""
    text = (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def unpacked(guide: str, folder: Path) -> Path:
    """`folder` with the files of a guide; blocks that begin with `# NAME.py` are files, the others make guide.py."""
    script = []
    for block in blocks(guide, "python"):
        if name := re.match(r"# (\w+\.py)\n", block):
            (folder / name[1]).write_text(block, encoding="utf-8")
        else:
            script.append(block)
    (folder / "guide.py").write_text("\n".join(script), encoding="utf-8")
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What Python does with `command` in `folder`."""
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
