"""The summary in the terminal: what it says, and that nothing hostile and nothing unprintable gets out."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from diagnose.findings import Finding, Location, Severity
from diagnose.report import Report
from diagnose.sinks.terminal import print_report
from tests.sinks.reports import (
    HEALTHY,
    NOT_CLEARED,
    NOTHING_SEEN,
    REMARK,
    RUN,
    UNHEALTHY,
    reports,
)


class Stream(io.TextIOWrapper):
    """A strict stream: what its encoding lacks raises UnicodeEncodeError, as on a terminal."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def shown(report: Report, *, verbose: bool = False) -> str:
    stream = Stream()
    print_report(report, stream, verbose=verbose)
    return stream.text


def test_unhealthy() -> None:
    assert (
        shown(UNHEALTHY)
        == """\
diagnose: training is broken: 1 error, 1 warning

ERROR     update-too-large in head.weight and 2 more, since step 3
          SGD moves head.weight by 43 % of its size, 40 samples in a row.
evidence  update ratio 0.431 (limit 0.1); learning rate 4; also at
          body.0.weight, body.2.weight
cause     The learning rate is too high for this model.
try       Divide the learning rate by 10 (now 4).
explains  dead-units (body.7, since step 9)
          loss-not-decreasing (steps 40 to 80)
more      diagnose explain update-too-large

WARNING   gradients-not-cleared in train.py:31, since step 2
          Each step uses gradients that the step before it has used already.
evidence  stale share 99.8 % (limit 50 %)
try       Call optimizer.zero_grad() before loss.backward().
more      diagnose explain gradients-not-cleared

INFO      bias-before-batchnorm: The bias of conv1 is removed by the...

watched   CNN with SGD; 412 steps (38 sampled) in 12 s, overhead 1.2 %
stored    /runs/train-20260102-030405
"""
    )


def test_healthy_is_one_calm_line_and_the_place() -> None:
    assert (
        shown(HEALTHY)
        == """\
diagnose: healthy. CNN with SGD; 412 steps (38 sampled) in 12 s, overhead 1.2 %
stored    /runs/train-20260102-030405
"""
    )


def test_a_remark_leaves_the_run_healthy() -> None:
    lines = shown(Report((REMARK,), {}, RUN)).splitlines()
    assert lines[0].startswith("diagnose: healthy.")
    assert lines[1] == "INFO      bias-before-batchnorm: The bias of conv1 is removed by the..."
    assert len(lines) == 3


def test_nothing_seen() -> None:
    text = shown(NOTHING_SEEN)
    assert text.startswith("diagnose: nothing to diagnose: no optimizer step was seen\n")
    assert "ended     the script raised an exception\n" in text


def test_verbose_shows_everything() -> None:
    run = replace(RUN, not_seen={"block": "compiled"}, failed={"updates": "KeyError: 'a'"})
    text = shown(replace(UNHEALTHY, run=run), verbose=True)
    assert "not run   exploding-gradient: needs grad_norm\n" in text
    assert "16 of 12,345\n          parameters do nothing.\n" in text
    assert "unseen    updates: switched off after an error of ours: KeyError: 'a'\n" in text
    assert "unseen    block: compiled\n" in text
    assert "exploding-gradient" not in shown(UNHEALTHY)


def test_the_first_findings_in_full_the_others_in_a_line() -> None:
    many = tuple(replace(NOT_CLEARED, code=f"fault-{n}") for n in range(7))
    text = shown(Report(many, {}, RUN))
    assert text.count("more      diagnose explain") == 4
    assert text.count("WARNING   fault-") == 7
    assert shown(Report(many, {}, RUN), verbose=True).count("more      diagnose explain") == 7


def test_a_long_path_is_not_broken() -> None:
    path = Path("/runs/" + "very-long-name-" * 12)
    assert f"stored    {path}\n" in shown(replace(HEALTHY, run=replace(RUN, directory=path)))


def test_a_directory_below_the_current_one_is_shown_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = replace(RUN, directory=tmp_path / "diagnose-runs" / "a")
    assert f"stored    {Path('diagnose-runs/a')}\n" in shown(replace(HEALTHY, run=run))


def test_colour_only_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Stream(is_terminal=True)
    print_report(UNHEALTHY, terminal)
    assert "\x1b[1;31m" in terminal.text
    assert "\x1b" not in shown(UNHEALTHY)

    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Stream(is_terminal=True)
    print_report(UNHEALTHY, terminal)
    assert terminal.text == shown(UNHEALTHY)

    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    terminal = Stream(is_terminal=True)
    print_report(UNHEALTHY, terminal)
    assert "\x1b" not in terminal.text


@pytest.mark.parametrize("columns", [1, 40, 60, 100, 300])
def test_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(UNHEALTHY).splitlines()
    assert max(len(line) for line in lines) <= min(max(columns, 40), 100)
    assert all(line == line.rstrip() for line in lines)


@given(
    report=reports(),
    encoding=st.sampled_from(["utf-8", "ascii", "cp1252"]),
    verbose=st.booleans(),
    is_terminal=st.booleans(),
)
def test_hostile_text(report: Report, encoding: str, verbose: bool, is_terminal: bool) -> None:
    stream = Stream(encoding, is_terminal=is_terminal)
    print_report(report, stream, verbose=verbose)
    lines = stream.text.split("\n")
    if not is_terminal:
        assert all(line.isprintable() for line in lines)
        wide = [line for line in lines if cell_len(line) > 80 and not line.startswith("stored")]
        assert not wide


def test_markup_and_escape_sequences_are_only_text() -> None:
    name = "[bold red]x[/] \x1b]0;owned\x07 :boom: [link=http://evil]y[/link]"
    finding = Finding("x", Severity.ERROR, name, Location(module=name), remedy=name)
    terminal = Stream(is_terminal=True)
    print_report(Report((finding,), {}, RUN), terminal)
    assert "\x1b]" not in terminal.text
    plain = shown(Report((finding,), {}, RUN)).replace("\n          ", " ")
    assert plain.count(r"[bold red]x[/] \x1b]0;owned\x07 :boom: [link=http://evil]y[/link]") == 3


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(HEALTHY)
    captured = capsys.readouterr()
    assert captured.err.startswith("diagnose: healthy.")
    assert captured.out == ""


def test_rich_is_imported_only_when_something_is_shown() -> None:
    source = "import diagnose.sinks.terminal, sys; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", source], check=True)
