"""`diagnose rules` and `diagnose explain`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from diagnose.cli import main
from diagnose.config import load_config

pytestmark = pytest.mark.usefixtures("made_up_rules")


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


def on_terminal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> str:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(arguments) == 0
    return terminal.text


def test_rules_piped_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    x, y = capsys.readouterr().out.splitlines()
    assert x == "loss-says-x  The loss says x."
    assert y.startswith("norm-says-y  The norm says y, at such length")
    assert len(y) > 80


def test_rules_on_a_terminal_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(["rules"], monkeypatch).splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith(" " * len("norm-says-y  "))


def test_rules_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "code": "loss-says-x",
        "summary": "The loss says x.",
        "needs": ["loss"],
        "explains": [],
        "thresholds": {"limit": 0.5, "min_steps": 3, "on": True},
        "since": "0.1",
    }


def test_explain_piped_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "loss-says-x"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# loss-says-x\n\nThe loss says x.\n\n## What it does\nReads **the loss**")
    assert "```toml\n[tool.diagnose.rules.loss-says-x]\nlimit = 0.5\nmin-steps = 3\non = true\n```" in page
    assert main(["explain", "norm-says-y"]) == 0
    assert "Thresholds" not in capsys.readouterr().out


def test_the_thresholds_of_the_page_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "loss-says-x"])
    toml = capsys.readouterr().out.partition("```toml\n")[2].partition("```")[0]
    Path("pyproject.toml").write_text(toml)
    assert load_config(Path()).rules == {"loss-says-x": {"limit": 0.5, "min_steps": 3, "on": True}}


def test_explain_on_a_terminal_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    page = on_terminal(["explain", "loss-says-x"], monkeypatch)
    assert "\x1b[" in page
    assert "**" not in page
    assert "the loss" in page


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_explain_on_a_terminal_of_another_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "limit >= `limit`" in on_terminal(["explain", "loss-says-x"], monkeypatch, encoding)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("loss-say-x", 'Did you mean "loss-says-x"?'),
        ("LOSS_SAYS_X", 'Did you mean "loss-says-x"?'),
        ("qqqq", "`diagnose rules` lists all."),
    ],
)
def test_an_unknown_code(code: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 2
    captured = capsys.readouterr()
    assert captured.err == f'diagnose: explain: there is no rule "{code}". {hint}\n'
    assert captured.out == ""


def test_a_failed_rule_can_be_explained_too(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary shows its code as that of any other finding."""
    assert main(["explain", "rule-error"]) == 0
    assert "defect of the rule" in capsys.readouterr().out
