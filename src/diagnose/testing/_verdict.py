"""How an assertion ends: it is noted, and a failure says what was found, why, what to do and how to run it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from diagnose.errors import CheckFailedError
from diagnose.findings import Finding, Severity
from diagnose.report import Report
from diagnose.sinks import wording
from diagnose.testing._record import Asserted, note, rerun_command

T = TypeVar("T")

FailOn = Literal["error", "warning", "info"]

SHOWN_IN_FULL: Final = 4
"""Findings of a failure; whoever mends the first ones runs again before reading the others."""


@dataclass(frozen=True)
class Verdict(Generic[T]):
    """What an assertion has looked at.

    Attributes:
        value: what the assertion returns if it holds.
        summary: one line with the key number.
        findings: all of them.
        failed: whether the assertion does not hold.
        report: of the training that was watched, if any: it knows how many steps there were.
        table: what is shown instead of the findings, where the check has a better picture of its own.
    """

    value: T
    summary: str
    findings: tuple[Finding, ...] = ()
    failed: bool = False
    report: Report | None = None
    table: str = ""


def concluded(name: str, look: Callable[[], Verdict[T]]) -> T:
    """What `look` has as its value, if its verdict is good.

    Raises:
        CheckFailedError: it is not.
    """
    __tracebackhide__ = True
    began = time.perf_counter()
    verdict = look()
    wall_s = time.perf_counter() - began
    note(Asserted(name, not verdict.failed, verdict.summary, verdict.findings, wall_s))
    if verdict.failed:
        raise CheckFailedError(failure(f"{name}: {verdict.summary}", verdict), findings=verdict.findings)
    return verdict.value


def failure(title: str, verdict: Verdict[T]) -> str:
    """The message of a failure."""
    lines = [title, ""]
    if verdict.table:
        codes = dict.fromkeys(finding.code for finding in verdict.findings)
        lines += [verdict.table, "", *(f"more: diagnose explain {code}" for code in codes)]
    else:
        lines += described(verdict.findings, verdict.report)
    return "\n".join([*lines, *how_to_rerun()])


def described(findings: Sequence[Finding], report: Report | None = None) -> list[str]:
    """The findings in words, the gravest in full."""
    report = report or Report()
    by_rank = sorted(findings, key=lambda finding: finding.severity.rank)
    lines: list[str] = []
    for finding in by_rank[:SHOWN_IN_FULL]:
        lines += [*_in_full(finding, report), ""]
    others = [f"{finding.severity.value} {wording.short(finding, report)}" for finding in by_rank[SHOWN_IN_FULL:]]
    return [*lines, *others, ""] if others else lines[:-1]


def how_to_rerun() -> list[str]:
    """The last lines of a failure; none outside of pytest."""
    command = rerun_command()
    return ["", f"run this test again: {command}"] if command else []


def at_or_above(findings: Iterable[Finding], level: FailOn) -> tuple[Finding, ...]:
    """The findings that are at least that severe."""
    return tuple(finding for finding in findings if finding.severity.at_least(Severity(level)))


def headline(findings: Sequence[Finding], level: FailOn) -> str:
    """What was found, codes first: it is all that the last lines of pytest have room for."""
    codes = list(dict.fromkeys(finding.code for finding in sorted(findings, key=lambda f: f.severity.rank)))
    more = f" and {len(codes) - 3} more" if len(codes) > 3 else ""
    return f"{', '.join(codes[:3])}{more} ({counted(findings)} at {level} or above)"


def counted(findings: Sequence[Finding]) -> str:
    """How many there are of each severity: "2 errors and 1 warning", "no findings"."""
    counts = [(level, sum(finding.severity is level for finding in findings)) for level in Severity]
    parts = [
        wording.counted(count, "info" if level is Severity.INFO else level.value) for level, count in counts if count
    ]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) if parts else "no findings"


def _in_full(finding: Finding, report: Report) -> Iterator[str]:
    place = wording.place_and_steps(finding, report)
    yield f"{finding.severity.value} {wording.visible(finding.code)} {place}".rstrip()
    yield f"  {wording.visible(finding.message)}"
    for label, text in wording.details(finding, report):
        yield f"  {label}: {wording.visible(text)}"
