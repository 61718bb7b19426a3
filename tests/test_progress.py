"""A progress bar only where somebody waits for it."""

from __future__ import annotations

import pytest

from diagnose.progress import Progress


def test_none_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(None) as progress:
        progress.told(1, 3)
    with Progress(False) as progress:
        progress.told(1, 3)
    assert capsys.readouterr() == ("", "")


def test_on_stderr_if_it_is_wanted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    with Progress(True) as progress:
        progress.told(1, 3)
        progress.told(2, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "gradients" in captured.err
    assert "2/3" in captured.err


def test_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress(None) as progress:
        progress.told(1, 3)
        assert progress._bar is None
