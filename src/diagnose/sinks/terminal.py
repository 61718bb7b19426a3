"""The summary in the terminal: what a tired person needs, in ten seconds, at 80 columns.

Nothing here is interpreted: texts are Text objects, never rich markup, and pass through `wording.visible` for
the encoding of the stream. Our own words are ASCII, so that the layout is the same on every terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from diagnose.findings import Finding, Severity
from diagnose.report import Report
from diagnose.sinks import wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDEST: Final = 100
"""Columns; longer lines of prose are hard to read, however wide the terminal."""
NARROWEST: Final = 40
SHOWN_IN_FULL: Final = 4
"""Findings; whoever mends the first ones runs again before reading the others."""
MARGIN: Final = 10
"""Columns for labels, left of all text."""

_STYLES: Final = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.INFO: "cyan",
}
NOT_APPLICABLE: Final = "-"
_MARKS: Final = {"ok": "green", "FAILED": "bold red", NOT_APPLICABLE: "dim"}
_VERDICT_STYLES: Final = {
    "broken": "bold red",
    "at-risk": "bold yellow",
    "healthy": "green",
    "nothing-seen": "bold",
}


def print_report(report: Report, stream: TextIO | None = None, *, verbose: bool = False) -> None:
    """Prints the summary of `report`.

    Args:
        stream: stderr by default: the script owns stdout. Colours only if it is a terminal and NO_COLOR is
            not set; no character that its encoding lacks.
        verbose: also show all findings in full, what could not be seen, and the rules that could not run.
    """
    stream = stream if stream is not None else sys.stderr
    _Summary(report, _console(stream), verbose).print()


def print_checks(
    headline: str, rows: Sequence[Row], findings: Iterable[Finding], *, ok: bool, stream: TextIO | None = None
) -> None:
    """Prints a table of checks, then what they found in full.

    Args:
        headline: what was checked, and how many checks failed.
        stream: stdout by default.
    """
    summary = _Summary(Report(), _console(stream if stream is not None else sys.stdout), verbose=True)
    summary.labelled("diagnose:", headline, label_style="bold", style="green" if ok else "bold red")
    summary.write()
    summary.table(rows)
    for finding in findings:
        summary.write()
        summary.finding(finding)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    console = Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        force_jupyter=False,  # else a notebook shows it instead of the stream
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
    console.width = max(NARROWEST, min(console.width, WIDEST))
    return console


class Row(NamedTuple):
    """One line of a table of checks: "ok", "FAILED" or "-", the check's name, and what it says."""

    mark: str
    name: str
    text: str


class _Summary:
    """One summary on its way to one console."""

    def __init__(self, report: Report, console: Console, verbose: bool) -> None:
        from rich.text import Text

        self.report = report
        self.console = console
        self.verbose = verbose
        self.new_text: Callable[..., Text] = Text

    # -- what is said, in its order -----------------------------------------------------------------

    def print(self) -> None:
        grave = [f for f in self.report.findings if f.severity is not Severity.INFO]
        remarks = [f for f in self.report.findings if f.severity is Severity.INFO]
        in_full, in_brief = grave[:SHOWN_IN_FULL], [*grave[SHOWN_IN_FULL:], *remarks]
        if self.verbose:
            in_full, in_brief = [*grave, *remarks], []
        self.verdict()
        for finding in in_full:
            self.write()
            self.finding(finding)
        if in_full:
            self.write()
        for finding in in_brief:
            self.brief(finding)
        if in_full and in_brief:
            self.write()
        self.run()

    def verdict(self) -> None:
        """The verdict; of a healthy run, the whole story."""
        text = wording.headline(self.report)
        if self.report.verdict == "healthy":
            text = f"healthy. {wording.watched(self.report)}"
        self.labelled("diagnose:", text, label_style="bold", style=_VERDICT_STYLES[self.report.verdict])

    def finding(self, finding: Finding) -> None:
        """A finding in full."""
        title = self.new_text(self.safe(finding.code), style="bold")
        place = self.safe(wording.place_and_steps(finding, self.report))
        title.append(f" {place}".rstrip(), style="not bold")
        self.labelled(finding.severity.value.upper(), title, label_style=_STYLES[finding.severity])
        self.labelled("", finding.message)
        before = ""
        for label, text in wording.details(finding, self.report):
            self.labelled(label if label != before else "", text, style="bold" if label == "try" else "")
            before = label

    def brief(self, finding: Finding) -> None:
        """A finding in one line, cut where the line ends."""
        text = self.new_text(self.safe(f"{finding.code}: {finding.message}"))
        room = self.console.width - MARGIN
        if text.cell_len > room:
            text.truncate(room - len("..."))
            text = self.new_text(text.plain.rpartition(" ")[0] or text.plain).append("...")
        self.labelled(finding.severity.value.upper(), text, label_style=_STYLES[finding.severity])

    def table(self, rows: Sequence[Row]) -> None:
        """A line per check, its text wrapped to the right of its name."""
        width = max((len(row.name) for row in rows), default=0) + 2
        room = max(self.console.width - MARGIN - width, NARROWEST // 2)
        for row in rows:
            before = self.new_text(f"{row.mark:<{MARGIN}}", style=_MARKS[row.mark]).append(
                f"{row.name:<{width}}", style="not dim"
            )
            style = "dim" if row.mark == NOT_APPLICABLE else ""
            for line in self.new_text(self.safe(row.text), style=style).wrap(self.console, room) or [self.new_text()]:
                line.rstrip()
                self.write(self.new_text.assemble(before, line))  # type: ignore[attr-defined]
                before = self.new_text(" " * (MARGIN + width))

    def run(self) -> None:
        """What was watched, at what cost, what was not, and where it is stored."""
        if self.report.verdict == "nothing-seen":
            self.labelled(
                "",
                "Steps of torch.optim.Optimizer and its subclasses, in this process, are watched.",
            )
        elif self.report.verdict != "healthy":
            self.labelled("watched", wording.watched(self.report))
        self.labelled("ended", wording.ending(self.report))
        self.labelled("accepted", wording.accepted(self.report))
        self.labelled("labels", wording.labels(self.report))
        for gap in wording.gaps(self.report, all_of_them=self.verbose):
            self.labelled("unseen", gap)
        if self.verbose:
            for code, reason in self.report.not_run.items():
                self.labelled("not run", f"{code}: {reason.removeprefix('not run: ')}")
        if self.report.run.directory is not None:
            # A path is for copying: never broken, not even where the line ends.
            path = self.safe(wording.shortest_path(self.report.run.directory))
            self.write(self.new_text(f"{'stored':<{MARGIN}}", style="dim").append(path, style="not dim"))

    # -- how it is laid out -------------------------------------------------------------------------

    def labelled(self, label: str, text: str | Text, *, label_style: str = "dim", style: str = "") -> None:
        """`text`, wrapped, to the right of its label; nothing if it is empty."""
        content = text if not isinstance(text, str) else self.new_text(self.safe(text), style=style)
        start = self.new_text(f"{label:<{MARGIN}}", style=label_style)
        for line in content.wrap(self.console, self.console.width - MARGIN):
            if not line:
                continue
            line.rstrip()
            self.write(self.new_text.assemble(start, line))  # type: ignore[attr-defined]
            start = self.new_text(" " * MARGIN)

    def write(self, line: str | Text = "") -> None:
        """One line, as it is."""
        self.console.print(line, soft_wrap=True)

    def safe(self, text: object) -> str:
        return wording.visible(text, self.console.encoding)
