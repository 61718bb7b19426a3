"""Who imports whom (docs/architecture.md), and what importing costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tree import ROOT

SRC = ROOT / "src"

# What each part of `diagnose` may import of ours. A part that is not listed puts others together
# (watch, launch, cli, checks, ...) and may import any of them.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "findings": {"errors"},
    "stats": {"errors"},
    "history": {"stats", "errors"},
    "storage": {"history", "findings", "rules", "errors"},
    "program": {"errors"},
    "acceptance": {"findings", "storage", "errors"},
    "config": {"acceptance", "rules", "errors"},
    "schedule": {"errors"},
    "collect": {"history", "stats", "schedule", "errors"},
    "rules": {"history", "stats", "findings", "errors"},
    "isolation": {"errors"},
    "progress": set(),
    "plots": {"storage"},
    "gradcheck": {"collect", "isolation", "progress", "findings", "errors"},
    "baseline": {"errors"},
    "metrics": {"stats", "findings", "plots", "errors"},
    "checks": {"baseline", "collect", "isolation", "rules", "stats", "findings", "errors", "gradcheck"},
    "gap": {
        "baseline",
        "checks",
        "collect",
        "errors",
        "findings",
        "history",
        "isolation",
        "mistakes",
        "plots",
        "progress",
        "rules",
        "stats",
        "storage",
    },
    "mistakes": {"collect", "isolation", "progress", "report", "sinks", "stats", "storage", "findings", "errors"},
    "report": {"history", "stats", "findings", "rules", "errors"},
    "sinks": {"history", "stats", "findings", "storage", "report", "errors"},
}

# Slow to import, or not installed everywhere.
HEAVY = ("torch", "numpy", "rich", "tensorboard", "torchvision", "sklearn", "matplotlib", "pytest")


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import of ours in `source`, a module of `package`, wherever it stands.

    Imports for type checkers count as well: what a part knows of another is what couples them.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # `from diagnose import history` names a part, `from diagnose import Finding` does not.
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] in ("diagnose", "tuning"))


def part_of(dotted: str) -> str:
    """The part of `diagnose` that a dotted name belongs to; "" for the package itself."""
    name = dotted.partition(".")[2].partition(".")[0]
    return name if (SRC / "diagnose" / name).is_dir() or (SRC / "diagnose" / f"{name}.py").is_file() else ""


def forbidden(path: Path, source: str) -> list[str]:
    """The imports in the file `path` (below src/) that its part may not make, one line each."""
    module = path.with_suffix("").parts
    package = ".".join(module[:-1])
    part = module[1]
    found = []
    for line, name in imports(source, package):
        if name.split(".")[0] == "tuning":
            found.append(f"{path}:{line} imports {name}: diagnose never imports tuning")
        elif part in ALLOWED and part_of(name) not in ALLOWED[part] | {part}:
            allowed = ", ".join(sorted(ALLOWED[part])) or "nothing of ours"
            found.append(f"{path}:{line} imports {name}: {part} may import {allowed}")
    return found


def test_every_part_imports_only_what_lies_before_it() -> None:
    files = sorted((SRC / "diagnose").rglob("*.py"))
    assert files
    wrong = [w for f in files for w in forbidden(f.relative_to(SRC), f.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("diagnose/findings.py", "from diagnose.history import History"),
        ("diagnose/history/_facts.py", "import diagnose.findings"),
        ("diagnose/history/_facts.py", "from .. import findings"),
        ("diagnose/rules/loss/loss_diverging.py", "from diagnose.collect import reading"),
        ("diagnose/rules/loss/loss_diverging.py", "from ...collect import reading"),
        ("diagnose/rules/loss/loss_diverging.py", "def f():\n    from diagnose import collect"),
        ("diagnose/rules/loss/loss_diverging.py", "from diagnose import Finding"),
        ("diagnose/cli/__init__.py", "import tuning"),
    ],
)
def test_the_check_finds_a_wrong_import(path: str, source: str) -> None:
    assert len(forbidden(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "diagnose/rules/loss/loss_diverging.py",
            "from diagnose.rules._base import rule\nimport numpy",
        ),
        ("diagnose/rules/loss/loss_diverging.py", "from .._base import rule"),
        ("diagnose/cli/__init__.py", "from diagnose import collect, sinks"),
    ],
)
def test_the_check_lets_a_right_import_pass(path: str, source: str) -> None:
    assert forbidden(Path(path), source) == []


def loaded_by(code: str) -> list[str]:
    """The heavy packages that are imported after `code` has run in a fresh process."""
    report = f"\nimport sys; print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    child = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.rpartition("LOADED")[2].split()


IMPORT = "import diagnose"
HELP = """
import sys
sys.argv = ["diagnose", "--help"]
from diagnose.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("code", [IMPORT, HELP, "import tuning"], ids=["import", "help", "tuning"])
def test_nothing_heavy_is_imported(code: str) -> None:
    assert loaded_by(code) == []


def test_the_check_sees_a_heavy_import() -> None:
    assert loaded_by("import numpy") == ["numpy"]


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_it_takes_at_most_200_ms(code: str) -> None:
    # CPU time, and the best of five: what else the machine does comes on top of what the import costs.
    def seconds(source: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    bare = min(seconds("pass") for _ in range(5))
    assert min(seconds(code) for _ in range(5)) - bare <= 0.2
