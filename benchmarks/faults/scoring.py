"""How the suite is scored: from labels and findings to figures. Pure functions; `run.py` does the running.

A *finding* is one that the report lists; what it lists under a finding, as a symptom, is none. It is an *alarm* at
severity `warning` or `error`.

- A faulty script is `caught` when an alarm has its code, `accepted` when an alarm has a code that its label accepts,
  else `missed`. For the codes of INFO_CODES, whose rules never report more, a finding of severity `info` will do.
- An alarm of a faulty script is *unrelated* when its code is neither the label's nor accepted.
- A healthy script is `quiet` when it has no alarm but those that its label accepts, else a `false alarm`.
- The *first finding is the cause* when the report of a faulty script has a finding, and the one listed first, of
  whatever severity, has its code or an accepted one. Faulty scripts without any finding count against it.
- A script that crashed or timed out, plain or watched, is scored as nothing, and shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.faults.labels import Label

INFO_CODES = frozenset({"bias-before-batchnorm", "clip-always-active", "scheduler-before-optimizer"})

Verdict = Literal["caught", "accepted", "missed", "quiet", "false alarm", "crashed", "timed out"]


@dataclass(frozen=True)
class Seen:
    """One finding of a report.

    Attributes:
        symptoms: codes of the findings that are listed under it.
    """

    code: str
    severity: str
    symptoms: tuple[str, ...] = ()

    @property
    def is_alarm(self) -> bool:
        """Whether it says more than `info`."""
        return self.severity != "info"


@dataclass(frozen=True)
class Cost:
    """Seconds of the whole process, start-up included."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Outcome:
    """What came of one script.

    Attributes:
        script: its name in the tables.
        findings: of the watched run, in the order of the report.
        plain, watched: what the two runs took; None where there was none, or it failed.
        failure: "crashed" or "timed out" if a run failed, with `detail`, the end of what it wrote to stderr.
        repeated: the findings of a second watched run, if there was one.
    """

    script: str
    label: Label
    findings: tuple[Seen, ...] = ()
    plain: Cost | None = None
    watched: Cost | None = None
    failure: Literal["crashed", "timed out"] | None = None
    detail: str = ""
    repeated: tuple[Seen, ...] | None = None

    @property
    def verdict(self) -> Verdict:
        """The script's score; see the module."""
        return self.failure or judge(self.label, self.findings)

    @property
    def is_unsteady(self) -> bool:
        """Whether a second watched run said something else."""
        return self.repeated is not None and _said(self.repeated) != _said(self.findings)


@dataclass(frozen=True)
class CodeTally:
    """How one code fared: of the scripts that have the fault, and on all others."""

    code: str
    faulty: int = 0
    caught: int = 0
    accepted: int = 0
    missed: int = 0
    false_alarms: int = 0
    unrelated: int = 0


@dataclass(frozen=True)
class Summary:
    """The figures of a whole run.

    Attributes:
        faulty, healthy: scripts that could be scored.
        failed: scripts that crashed or timed out.
        false_alarms: healthy scripts with a false alarm.
        unrelated: faulty scripts with an unrelated alarm.
        first_is_cause: faulty scripts whose first finding has their code or an accepted one.
        unsteady: scripts whose second watched run said something else.
        timed: scripts whose both runs were timed.
        cpu_ratio, cpu_extra_s: medians over them of watched over plain CPU time, and of the difference.
    """

    faulty: int
    healthy: int
    failed: int
    caught: int
    accepted: int
    missed: int
    false_alarms: int
    unrelated: int
    first_is_cause: int
    unsteady: int
    timed: int
    cpu_ratio: float | None
    cpu_extra_s: float | None

    @property
    def recall(self) -> float:
        """Share of the faulty scripts that are caught under their own code; NaN if there is none."""
        return share(self.caught, self.faulty)

    @property
    def recall_with_accepted(self) -> float:
        """Share of the faulty scripts that are caught under their own or an accepted code."""
        return share(self.caught + self.accepted, self.faulty)


def findings_of(report: Mapping[str, Any]) -> tuple[Seen, ...]:
    """The findings of a JSON report of `diagnose run`, in its order."""
    return tuple(
        Seen(item["code"], item["severity"], tuple(symptom["code"] for symptom in item["symptoms"]))
        for item in report["findings"]
    )


def judge(label: Label, findings: Sequence[Seen]) -> Verdict:
    """The verdict on a script that ran to its end."""
    alarms = _alarms(findings)
    if label.fault is None:
        return "false alarm" if alarms - label.accept else "quiet"
    heard = alarms | {finding.code for finding in findings if finding.code in INFO_CODES}
    if label.fault in heard:
        return "caught"
    return "accepted" if heard & label.accept else "missed"


def wrong_alarms(label: Label, findings: Sequence[Seen]) -> frozenset[str]:
    """The codes of the alarms that the label neither names nor accepts."""
    return frozenset(_alarms(findings) - label.accept - {label.fault})


def first_is_cause(label: Label, findings: Sequence[Seen]) -> bool:
    """Whether the finding listed first has the code of the fault, or an accepted one."""
    return bool(findings) and findings[0].code in label.accept | {label.fault}


def tally_by_code(outcomes: Iterable[Outcome]) -> list[CodeTally]:
    """One tally per code that is the fault of a script or was named wrongly, in alphabetical order."""
    counts: dict[str, dict[str, int]] = {}

    def add(code: str, *columns: str) -> None:
        row = counts.setdefault(code, {})
        for column in columns:
            row[column] = row.get(column, 0) + 1

    for outcome in outcomes:
        if outcome.failure:
            continue
        wrong_column = "false_alarms" if outcome.label.fault is None else "unrelated"
        if outcome.label.fault is not None:
            add(outcome.label.fault, "faulty", outcome.verdict)
        for code in wrong_alarms(outcome.label, outcome.findings):
            add(code, wrong_column)
    return [CodeTally(code, **columns) for code, columns in sorted(counts.items())]


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    """The figures of all scripts together."""
    scored = [outcome for outcome in outcomes if not outcome.failure]
    faulty = [outcome for outcome in scored if outcome.label.fault is not None]
    costs = [(o.plain, o.watched) for o in scored if o.plain is not None and o.watched is not None]

    def count(verdict: Verdict) -> int:
        return sum(outcome.verdict == verdict for outcome in scored)

    return Summary(
        faulty=len(faulty),
        healthy=len(scored) - len(faulty),
        failed=len(outcomes) - len(scored),
        caught=count("caught"),
        accepted=count("accepted"),
        missed=count("missed"),
        false_alarms=count("false alarm"),
        unrelated=sum(bool(wrong_alarms(outcome.label, outcome.findings)) for outcome in faulty),
        first_is_cause=sum(first_is_cause(outcome.label, outcome.findings) for outcome in faulty),
        unsteady=sum(outcome.is_unsteady for outcome in scored),
        timed=len(costs),
        cpu_ratio=statistics.median(watched.cpu_s / plain.cpu_s for plain, watched in costs) if costs else None,
        cpu_extra_s=statistics.median(watched.cpu_s - plain.cpu_s for plain, watched in costs) if costs else None,
    )


def share(part: int, whole: int) -> float:
    """`part / whole`; NaN if there is nothing to share."""
    return part / whole if whole else float("nan")


def _alarms(findings: Iterable[Seen]) -> frozenset[str]:
    return frozenset(finding.code for finding in findings if finding.is_alarm)


def _said(findings: Iterable[Seen]) -> set[tuple[str, str]]:
    return {(finding.code, finding.severity) for finding in findings}
