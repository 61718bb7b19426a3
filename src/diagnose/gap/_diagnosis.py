"""What `diagnose_gap` has found: a verdict, its evidence, and what to change, in that order."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any, Final

from diagnose.findings import Finding, Severity, json_safe
from diagnose.gap._error import Measured, figure
from diagnose.gap._hyperparameters import recognised
from diagnose.gap._names import KINDS
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Evidence, ProbeResult, Verdict
from diagnose.gap._space import recommend_space
from diagnose.gap._stopping import CheckpointChoice

VERSION: Final = 1
_WIDTH: Final = 100
_CODES: Final[Mapping[str, str]] = {"save-load-bug": "save-load-mismatch", "data-quality": "label-noise"}
"""Verdicts whose fault a rule knows already by another code."""
_SILENT: Final = frozenset({"target-met", "cannot-tell"})


@dataclass(frozen=True)
class GapDiagnosis:
    """Why the errors are what they are, and what to change.

    Attributes:
        verdict: one of `VERDICTS`.
        sentence: the verdict with its numbers.
        evidence: by name, in the order in which it was looked at.
        recommendations: the most promising first; empty where nothing can be said.
        train_error, test_error, train_dev_error, human_error: as measured; None if unknown.
        target_error: what is wanted; None if nobody said.
        checkpoint: whether the last epoch was the one to keep, from the curve of the test error, or of the test loss;
            None without a curve.
        probes: the experiments that were made.
        notes: what was assumed, and what could not be done.
        hyperparameters: the user's own names and values, for `recommend_space`.
    """

    verdict: Verdict
    sentence: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    recommendations: tuple[Recommendation, ...] = ()
    train_error: Measured | None = None
    test_error: Measured | None = None
    train_dev_error: Measured | None = None
    human_error: Measured | None = None
    target_error: float | None = None
    checkpoint: CheckpointChoice | None = None
    probes: tuple[ProbeResult, ...] = ()
    notes: tuple[str, ...] = ()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The verdict as a finding; none where the target is met, or nothing can be told."""
        if self.verdict in _SILENT:
            return ()
        first = self.recommendations[0] if self.recommendations else None
        return (
            Finding(
                code=_CODES.get(self.verdict, self.verdict),
                severity=Severity.WARNING,
                message=self.sentence,
                evidence={name: one.interval.value for name, one in self.evidence.items() if one.interval is not None},
                cause=first.reason if first else "",
                remedy=_headline(first) if first else "",
            ),
        )

    def recommend_space(self, *, also: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """The next search space, in plain data, from the recommendations and the hyperparameters that were given.

        Args:
            also: names of more hyperparameters to search, around their present values.

        Raises:
            GapError: a hyperparameter is NaN or infinite, or `also` names what there is not.
        """
        kinds = {
            one.name: one.kind
            for one in recognised(self.hyperparameters).known
            if one.kind in KINDS and one.name in self.hyperparameters
        }
        return recommend_space(self.recommendations, self.hyperparameters, kinds=kinds, also=also)

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.sentence}", ""]
        lines += [f"  {name:<16}{text}" for name, text in self._errors()]
        if self.recommendations:
            lines += ["", "What to do, the most promising first:"]
        for number, one in enumerate(self.recommendations, 1):
            lines.append(f"  {number}. {_headline(one)}")
            lines.append(_indented(f"because {one.reason}."))
            if number == 1:
                lines += [_indented(f"{name}: {text}.") for name, text in _details(one)]
        seen = [one.message for name, one in self.evidence.items() if name not in ("target", "train-error")]
        if seen:
            lines += ["", "What it rests on:", *(_indented(f"- {text}", 2) for text in seen)]
        if self.notes:
            lines += ["", *(_indented(f"Note: {note}", 2) for note in self.notes)]
        return "\n".join(lines)

    def _errors(self) -> list[tuple[str, str]]:
        named = (
            ("train error", self.train_error),
            ("train-dev error", self.train_dev_error),
            ("test error", self.test_error),
            ("human error", self.human_error),
        )
        rows = [(one.name or name, _described(one)) for name, one in named if one is not None]
        if self.test_error is not None and self.train_error is not None:
            both_known = self.test_error.is_share and self.train_error.is_share
            gap = self.test_error.minus(self.train_error)
            low, high = figure(gap.low, both_known), figure(gap.high, both_known)
            rows.append(("gap", f"{figure(gap.value, both_known)} [{low}, {high}]"))
        if self.target_error is not None:
            is_share = self.test_error is None or self.test_error.is_share
            rows.append(("target", figure(self.target_error, is_share)))
        return rows

    def _repr_html_(self) -> str:
        text = html.escape
        rows = "".join(f"<tr><td>{text(name)}</td><td>{text(value)}</td></tr>" for name, value in self._errors())
        advice = "".join(
            f"<li><b>{text(_headline(one))}</b><br>{text(one.reason)}."
            + "".join(f"<br><i>{text(name)}: {text(value)}.</i>" for name, value in _details(one))
            + "</li>"
            for one in self.recommendations
        )
        seen = "".join(f"<li>{text(one.message)}</li>" for one in self.evidence.values())
        notes = "".join(f"<p><small>{text(note)}</small></p>" for note in self.notes)
        return (
            f"<div><p><b>{text(self.verdict)}</b>: {text(self.sentence)}</p><table>{rows}</table>"
            f"<ol>{advice}</ol><details><summary>evidence</summary><ul>{seen}</ul></details>{notes}</div>"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        errors = {
            "train": self.train_error,
            "test": self.test_error,
            "train_dev": self.train_dev_error,
            "human": self.human_error,
        }
        data: dict[str, Any] = json_safe(
            {
                "version": VERSION,
                "verdict": self.verdict,
                "sentence": self.sentence,
                "errors": {name: None if one is None else _as_json(one) for name, one in errors.items()},
                "target": self.target_error,
                "recommendations": [one.to_json() for one in self.recommendations],
                "evidence": {name: one.to_json() for name, one in self.evidence.items()},
                "findings": [one.to_json() for one in self.findings],
                "notes": list(self.notes),
            }
        )
        return data


def _as_json(one: Measured) -> dict[str, Any]:
    interval = one.interval()
    return {
        "value": one.value,
        "low": interval.low,
        "high": interval.high,
        "confidence": interval.confidence,
        "n": one.n,
        "is_share": one.is_share,
        "assumed": one.assumed,
    }


def _described(one: Measured) -> str:
    if one.is_share:
        return f"{one.text()} of {one.n:,.0f} examples{' (assumed)' if one.assumed else ''}"
    return f"{one.text()}{' (standard error assumed)' if one.assumed else ''}"


def _headline(one: Recommendation) -> str:
    """As "more-capacity: hidden_units 16 -> 32 to 128"."""
    if one.hyperparameter is None and one.suggested is None:
        return one.code
    name = one.hyperparameter or one.kind or ""
    now = "" if one.current is None else f" {_number(one.current)}"
    return f"{one.code}: {name}{now}" + ("" if one.suggested is None else f" -> {_suggested(one.suggested)}")


def _suggested(value: float | int | tuple[float, float]) -> str:
    if isinstance(value, tuple | list):
        return f"{_number(value[0])} to {_number(value[1])}"
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _details(one: Recommendation) -> list[tuple[str, str]]:
    known = [("expect", f"train error {one.train_error}, test error {one.test_error}")]
    known += [("cost", one.cost)] if one.cost else []
    known += [("caveat", one.caveat)] if one.caveat else []
    return [pair for pair in known if "unknown, test error unknown" not in pair[1]]


def _indented(text: str, by: int = 5) -> str:
    space = " " * by
    return fill(text, _WIDTH, initial_indent=space, subsequent_indent=space)
