"""Two made-up rules instead of the real ones, so that these tests do not change when rules do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnose import config, rules
from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.rules import Rule, _base

PAGE = """\
The loss says x.

## What it does
Reads **the loss** (limit \u2265 `limit`).
## Why it matters
It does.
## How to fix
Do so.
## Limits
None.
## Source
Here.
"""


def loss_says_x(history: History, *, limit: float = 0.5, min_steps: int = 3, on: bool = True) -> Iterator[Finding]:
    for scope in history.scopes("loss"):
        last = float(history.series("loss", scope).values[-1])
        if on and last > limit:
            yield Finding(
                "loss-says-x",
                Severity.WARNING,
                "The loss is large.",
                evidence={"loss": last, "limit": limit},
            )


def norm_says_y(history: History) -> Iterator[Finding]:
    for _ in history.scopes("grad_norm"):
        yield Finding("norm-says-y", Severity.ERROR, "The norm is there.")


loss_says_x.__doc__ = PAGE
norm_says_y.__doc__ = PAGE.replace("The loss says x", "The norm says y, at such length that the line does not fit " * 2)


@pytest.fixture
def made_up_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Rule]:
    """The rules `loss-says-x` (a warning) and `norm-says-y` (an error), in place of all others."""
    monkeypatch.setattr(_base, "_REGISTER", {})
    rules.rule("loss-says-x", needs=("loss",))(loss_says_x)
    rules.rule("norm-says-y", needs=("grad_norm",), explains=("loss-says-x",), since="0.2")(norm_says_y)
    made_up = _base.registered()
    monkeypatch.setattr(rules, "all_rules", lambda: made_up)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "loss_says_x.py").write_text(
        "def loss_says_x(history, *, limit: float = 0.5, min_steps: int = 3, on: bool = True): ..."
    )
    (folder / "norm_says_y.py").write_text("def norm_says_y(history): ...")
    monkeypatch.setattr(config, "RULES_FOLDER", folder)
    return made_up


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory that belongs to no project."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", "80")
