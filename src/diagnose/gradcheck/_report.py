"""What a gradient check has found: entries per tensor, and the table that a person reads."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from diagnose.errors import WrongGradientError
from diagnose.findings import Finding, Location, Severity
from diagnose.gradcheck._custom import Source
from diagnose.gradcheck._examine import Verdict
from diagnose.gradcheck._localise import Element
from diagnose.gradcheck._problem import Kind

WIDEST: Final = 100
SHOWN: Final = 5
"""Elements of a tensor that the table lists."""
VERSION: Final = 1


@dataclass(frozen=True)
class Entry:
    """The verdict on one tensor.

    Attributes:
        name: of a parameter as in `named_parameters()`, of an input as in the signature.
        kind: "input", "parameter", or "upstream" for what a second-order check feeds in.
        order: 1 for gradients, 2 for gradients of gradients.
        checked: how many numbers were looked at one by one; the screen looks at all of them together.
        total: how many numbers it has; a complex number counts as two.
        faults, kinks: how many of those looked at are wrong, or lie at a kink with a valid subgradient.
        error: the largest relative error seen.
        detects: the smallest relative error of the whole gradient that would have been seen; infinite where the
            gradient is zero to rounding, NaN if not checked.
        worst: the worst element, or None if none was looked at.
        elements: the wrong ones and those at a kink that are worth showing, worst first.
        pattern: a guess at what happened.
        reason: why it is not "ok", or what else is to be said.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    verdict: Verdict
    total: int
    order: int = 1
    checked: int = 0
    faults: int = 0
    kinks: int = 0
    error: float = 0.0
    detects: float = math.nan
    worst: Element | None = None
    elements: tuple[Element, ...] = ()
    pattern: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Suspect:
    """Where the wrong backward is.

    Attributes:
        module: the first module, in the order of the forward, whose own backward is wrong, given its own inputs;
            "" is the model itself, None if that is not known.
        kind: the module's class.
        functions: the custom functions that take part.
        why: what is wrong with it, if more is known than the entries say.
    """

    module: str | None = None
    kind: Source | None = None
    functions: tuple[Source, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        parts = []
        if self.kind is not None:
            place = f"the module {self.module!r}, " if self.module else "the forward of the model itself, "
            parts.append(f"{place}a {self.kind}")
        if self.functions:
            parts.append("autograd.Function " + ", ".join(map(str, self.functions)))
        return "; ".join(parts) + (f": its backward {self.why}" if self.why else "")


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found. `str()` of it is a table.

    Attributes:
        ok: True only if no gradient is wrong and none is unresolved.
        entries: one per tensor and order.
        suspect: where the wrong backward is, if that could be told.
        notes: what else to know: precision, random numbers, what was not looked at.
        forwards: how many times the function was run.
        rerun: a call or command that repeats the check.
    """

    entries: tuple[Entry, ...]
    subject: str
    mode: str
    precision: str
    seed: int
    suspect: Suspect | None = None
    notes: tuple[str, ...] = ()
    forwards: int = 0
    wall_s: float = 0.0
    rerun: str = ""

    @property
    def ok(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> tuple[Entry, ...]:
        """The entries that are faulty or unresolved."""
        return tuple(entry for entry in self.entries if entry.verdict in ("fault", "unresolved"))

    def raise_if_wrong(self) -> None:
        """Does nothing if the report is `ok`.

        Raises:
            WrongGradientError: a gradient is wrong or unresolved; its text is the report.
        """
        if not self.ok:
            raise WrongGradientError(str(self))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """`wrong-gradient` (error) and `unresolved-gradient` (warning), one per tensor concerned."""
        return tuple(self._finding(entry) for entry in self.wrong)

    def _finding(self, entry: Entry) -> Finding:
        fault = entry.verdict == "fault"
        source = None
        if self.suspect is not None:
            source = next(iter(self.suspect.functions), self.suspect.kind)
        return Finding(
            "wrong-gradient" if fault else "unresolved-gradient",
            Severity.ERROR if fault else Severity.WARNING,
            _sentence(entry),
            where=Location(
                module=self.suspect.module or None if self.suspect else None,
                parameter=entry.name,
                file=source.file if source and fault else None,
                line=source.line if source and fault else None,
            ),
            evidence=_evidence(entry),
            cause=(f"Suspect: {self.suspect}." if self.suspect else entry.pattern or "") if fault else entry.reason,
            remedy=(
                "Correct the backward; check it alone with check_gradients and the inputs shown here."
                if fault
                else "Check in float64, with inputs and outputs around 1, and without noise in the forward."
            ),
        )

    # ------------------------------------------------------------------ forms

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN and infinities become strings."""
        data = {
            "version": VERSION,
            "ok": self.ok,
            "subject": self.subject,
            "mode": self.mode,
            "precision": self.precision,
            "seed": self.seed,
            "entries": [asdict(entry) for entry in self.entries],
            "suspect": asdict(self.suspect) if self.suspect else None,
            "notes": list(self.notes),
            "findings": [finding.to_json() for finding in self.findings],
            "forwards": self.forwards,
            "wall_s": self.wall_s,
            "rerun": self.rerun,
        }
        safe: dict[str, Any] = _json_safe(data)
        return safe

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __str__(self) -> str:
        lines = [self._headline(), "", *_table(self.entries)]
        for entry in self.entries:
            if entry.verdict not in ("ok", "not-checkable") or (entry.reason and entry.verdict != "ok"):
                lines += _details(entry)
        if self.suspect is not None:
            lines += ["", f"suspect: {self.suspect}"]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        if self.rerun and not self.ok:
            lines += ["", f"again: {self.rerun}"]
        return "\n".join(lines)

    def _headline(self) -> str:
        counts = {
            v: sum(e.verdict == v for e in self.entries) for v in ("fault", "unresolved", "kink", "ok", "not-checkable")
        }
        words = {
            "fault": "wrong",
            "unresolved": "unresolved",
            "kink": "at a kink",
            "ok": "right",
            "not-checkable": "not checkable",
        }
        told = (
            ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count) or "nothing to check"
        )
        return f"gradients of {self.subject}: {told} ({self.precision}, {self.forwards} forwards, {self.wall_s:.2g} s)"


def _sentence(entry: Entry) -> str:
    order = "gradient" if entry.order == 1 else "gradient of the gradient"
    if entry.verdict == "unresolved":
        return f"The {order} of {entry.name} could not be checked: {entry.reason or 'too much rounding noise'}."
    text = f"The {order} of {entry.name} is wrong"
    if entry.worst is not None and entry.worst.verdict == "fault":
        worst = entry.worst
        text += (
            f": at {list(worst.index)} {worst.analytic:.6g} was back-propagated, differences give {worst.numeric:.6g}"
        )
    elif entry.reason:
        text += f": {entry.reason}"
    return text + (f"; {entry.pattern}." if entry.pattern else ".")


def _evidence(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {
        "shape": list(entry.shape),
        "checked": entry.checked,
        "total": entry.total,
        "wrong": entry.faults,
        "relative_error": entry.error,
        "detects": entry.detects,
    }
    if entry.worst is not None:
        data |= {
            "index": list(entry.worst.index),
            "back_propagated": entry.worst.analytic,
            "numeric": entry.worst.numeric,
            "step": entry.worst.step,
            "noise": entry.worst.noise,
        }
    if entry.pattern:
        data["pattern"] = entry.pattern
    return data


def _table(entries: Sequence[Entry]) -> list[str]:
    """One line per tensor."""
    if not entries:
        return []
    rows = [("tensor", "shape", "verdict", "looked at", "error", "would show")]
    for entry in entries:
        name = entry.name if entry.order == 1 else f"{entry.name} (2nd order)"
        checked = f"{entry.checked} of {entry.total}" if entry.checked else "together" if entry.detects > 0 else "-"
        measured = entry.verdict != "not-checkable" and math.isfinite(entry.detects)
        rows.append(
            (
                name,
                "x".join(map(str, entry.shape)) or "scalar",
                entry.verdict,
                checked,
                f"{entry.error:.1e}" if measured else "-",
                f"{entry.detects:.1e}" if measured else "zero" if entry.detects == math.inf else "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows] + [
        line
        for entry in entries
        if entry.verdict == "not-checkable"
        for line in [f"{entry.name}: not checkable: {entry.reason}"]
    ]


def _details(entry: Entry) -> list[str]:
    name = entry.name if entry.order == 1 else f"{entry.name} (2nd order)"
    parts = [part for part in (entry.pattern, entry.reason) if part]
    lines = ["", f"{name}: {entry.verdict}" + (f": {'; '.join(parts)}" if parts else "")]
    if not entry.elements:
        return lines
    rows = [("index", "back-propagated", "numeric", "ratio", "error", "step", "noise", "")]
    for e in entry.elements[:SHOWN]:
        rows.append(
            (
                str(list(e.index)),
                f"{e.analytic:.6g}",
                f"{e.numeric:.6g}",
                f"{e.ratio:.4g}" if math.isfinite(e.ratio) else "-",
                f"{e.error:.1e}",
                f"{e.step:.1e}",
                f"{e.noise:.1e}",
                ("kink" if e.verdict == "kink" else "") + (" large upstream" if e.upstream == "large" else ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    count = entry.faults if entry.verdict == "fault" else entry.kinks
    shown = min(len(entry.elements), SHOWN)
    if count > shown:
        lines.append(f"  and {count - shown} more of {entry.checked} looked at")
    return lines


def _json_safe(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return value
