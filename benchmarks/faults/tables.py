"""The suite's results as a reader sees them: lines and tables in a terminal, and Markdown. No running, no scoring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.faults.scoring import (
    CodeTally,
    Outcome,
    Seen,
    Summary,
    Verdict,
    share,
    summarize,
    tally_by_code,
    wrong_alarms,
)
from diagnose.rules import all_rules

STYLES: dict[Verdict, str] = {
    "caught": "green",
    "accepted": "green",
    "quiet": "green",
    "missed": "bold red",
    "false alarm": "bold red",
    "crashed": "bold yellow",
    "timed out": "bold yellow",
}
CODE_COLUMNS = ("faulty", "caught", "accepted", "missed", "false alarms", "unrelated")


def script_line(outcome: Outcome) -> str:
    """One line about a script, in rich's markup: verdict, label, findings; under it the end of stderr if it failed.

    An `info` is in brackets; what stands under a finding follows it after `>`; `!` marks what the label does not know.
    """
    wrong = wrong_alarms(outcome.label, outcome.findings)
    found = ", ".join(_shown(finding, wrong=finding.code in wrong) for finding in outcome.findings) or "-"
    verdict = f"[{STYLES[outcome.verdict]}]{outcome.verdict:<12}[/]"
    line = f"{escape(outcome.script):<44} {verdict} {outcome.label.fault or '-':<27} {escape(found)}"
    if outcome.is_unsteady and outcome.repeated is not None:
        line += f"\n{'':<44} the second time: {escape(', '.join(_shown(f) for f in outcome.repeated) or '-')}"
    return f"{line}\n{escape(outcome.detail)}" if outcome.failure else line


def code_table(tallies: Iterable[CodeTally]) -> Table:
    """The tallies, a row each; zeros are left empty."""
    table = Table(title="By code", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("code", no_wrap=True, min_width=max(map(len, all_rules())))  # whole in 80 columns, too
    for column in CODE_COLUMNS:
        table.add_column(column, justify="right", min_width=max(map(len, column.split())))
    for tally in tallies:
        table.add_row(tally.code, *_cells(tally), style="" if not tally.missed else "red")
    return table


def summary_lines(summary: Summary) -> list[str]:
    """The figures of the whole, a sentence each."""
    faulty, healthy = summary.faulty, summary.healthy
    lines = [
        f"faulty scripts caught under their own code: {_of(summary.caught, faulty)}",
        f"... or under an accepted one: {_of(summary.caught + summary.accepted, faulty)}",
        f"faulty scripts whose first finding is the cause: {_of(summary.first_is_cause, faulty)}",
        f"faulty scripts with an unrelated finding: {_of(summary.unrelated, faulty)}",
        f"healthy scripts with a false alarm: {_of(summary.false_alarms, healthy)}",
    ]
    if summary.failed:
        lines.append(f"scripts that crashed or timed out, not counted above: {summary.failed}")
    if summary.unsteady:
        lines.append(f"scripts whose second watched run said something else: {summary.unsteady}")
    if summary.cpu_ratio is not None and summary.cpu_extra_s is not None:
        lines.append(
            f"CPU time, watched over plain: {summary.cpu_ratio:.2f} (median of {summary.timed} scripts; "
            f"{summary.cpu_extra_s:+.1f} s, start-up of Python, torch and diagnose included, so a long run pays less)"
        )
    return lines


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The figures and the table by code, for a page; the misses and false alarms by name."""
    lines = [f"- {line}" for line in summary_lines(summarize(outcomes))]
    lines += ["", "| code | " + " | ".join(CODE_COLUMNS) + " |", "|---" + "|---:" * len(CODE_COLUMNS) + "|"]
    lines += [f"| {tally.code} | " + " | ".join(_cells(tally)) + " |" for tally in tally_by_code(outcomes)]
    if wrong := list(_wrong_lines(outcomes)):
        lines += ["", "Not as labelled:", "", *wrong]
    return "\n".join(lines) + "\n"


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything, as plain data: `summary`, `codes` and `scripts`."""
    summary = summarize(outcomes)
    recalls = {"recall": summary.recall, "recall_with_accepted": summary.recall_with_accepted}
    known = {name: value for name, value in recalls.items() if value == value}  # NaN is no JSON
    return {
        "summary": {**asdict(summary), **known},
        "codes": [asdict(tally) for tally in tally_by_code(outcomes)],
        "scripts": [_script_json(outcome) for outcome in outcomes],
    }


def _script_json(outcome: Outcome) -> dict[str, Any]:
    label = outcome.label
    return {
        "script": outcome.script,
        "verdict": outcome.verdict,
        "fault": label.fault,
        "accept": sorted(label.accept),
        "near": label.near,
        "findings": [asdict(finding) for finding in outcome.findings],
        "wrong_alarms": sorted(wrong_alarms(label, outcome.findings)),
        "repeated": None if outcome.repeated is None else [asdict(finding) for finding in outcome.repeated],
        "plain": outcome.plain and asdict(outcome.plain),
        "watched": outcome.watched and asdict(outcome.watched),
        "detail": outcome.detail,
    }


def _wrong_lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        wrong = wrong_alarms(outcome.label, outcome.findings)
        if outcome.verdict in ("missed", "accepted", "false alarm", "crashed", "timed out") or wrong:
            found = ", ".join(f.code if f.is_alarm else f"({f.code})" for f in outcome.findings) or "nothing"
            yield f"- `{outcome.script}`, {outcome.label.fault or 'healthy'}: {outcome.verdict}; reported: {found}"


def _shown(finding: Seen, *, wrong: bool = False) -> str:
    text = finding.code if finding.is_alarm else f"({finding.code})"
    under = f" > {' '.join(finding.symptoms)}" if finding.symptoms else ""
    return f"{'!' if wrong else ''}{text}{under}"


def _cells(tally: CodeTally) -> list[str]:
    counts = (tally.faulty, tally.caught, tally.accepted, tally.missed, tally.false_alarms, tally.unrelated)
    return [str(count or "") for count in counts]


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({share(part, whole):.0%})" if whole else "none to judge"
