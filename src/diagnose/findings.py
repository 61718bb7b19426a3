"""What a rule or a check has to say: immutable values that go to every sink unchanged.

A Finding is data, never an exception: whether it fails a build is the caller's policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

Evidence: TypeAlias = "str | int | float | bool | None | list[Evidence] | dict[str, Evidence]"

DOCS_FOLDER = "docs/rules"


class Severity(Enum):
    """How bad and how sure: `error` training is broken, `warning` likely costs quality, `info`."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most severe: sorting by rank puts errors first."""
        return ("error", "warning", "info").index(self.value)

    def at_least(self, other: Severity) -> bool:
        """Whether this is as severe as `other`, or more."""
        return self.rank <= other.rank


@dataclass(frozen=True)
class Location:
    """Where the fault shows; what is not known is None.

    Attributes:
        module: qualified module name ("encoder.layers.0"), or the name of an activation.
        parameter: qualified parameter name ("encoder.layers.0.weight").
        file, line: the user's own source line.
    """

    module: str | None = None
    parameter: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.parameter or self.module or ""
        source = f"{self.file}:{self.line}" if self.file and self.line else self.file or ""
        if place and source:
            return f"{place} ({source})"
        return place or source


@dataclass(frozen=True)
class Finding:
    """One fault, with its evidence.

    Attributes:
        code: the rule's kebab-case code.
        severity: how bad and how sure.
        where: the place that shows it first or worst.
        first_step, last_step: optimizer steps (of the optimizer concerned, counted from 1)
            between which the fault was seen; None if no step is concerned.
        message: one sentence that states the fault with its key number.
        evidence: numbers by name, the threshold beside the value it was compared with.
        cause: what usually causes it.
        remedy: what to try first.
        symptoms: findings that this one explains; shown under it, never beside it.
    """

    code: str
    severity: Severity
    message: str
    where: Location = field(default_factory=Location)
    first_step: int | None = None
    last_step: int | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    cause: str = ""
    remedy: str = ""
    symptoms: tuple[Finding, ...] = ()

    @property
    def doc(self) -> str:
        """The rule's page, relative to the project's documentation; `diagnose explain` shows it."""
        return f"{DOCS_FOLDER}/{self.code}.md"

    def with_symptoms(self, symptoms: Iterable[Finding]) -> Finding:
        """A copy that also explains `symptoms`."""
        return replace(self, symptoms=(*self.symptoms, *symptoms))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; non-finite numbers become the strings "nan", "inf", "-inf"."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "where": {
                "module": self.where.module,
                "parameter": self.where.parameter,
                "file": self.where.file,
                "line": self.where.line,
            },
            "first_step": self.first_step,
            "last_step": self.last_step,
            "message": self.message,
            "evidence": json_safe(dict(self.evidence)),
            "cause": self.cause,
            "remedy": self.remedy,
            "doc": self.doc,
            "symptoms": [symptom.to_json() for symptom in self.symptoms],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """The inverse of `to_json`; evidence keeps its strings for non-finite numbers.

        Raises:
            KeyError, ValueError, TypeError: `data` was not written by `to_json`.
        """
        return cls(
            code=str(data["code"]),
            severity=Severity(data["severity"]),
            message=str(data["message"]),
            where=Location(**data["where"]),
            first_step=data["first_step"],
            last_step=data["last_step"],
            evidence=data["evidence"],
            cause=data.get("cause", ""),
            remedy=data["remedy"],
            symptoms=tuple(cls.from_json(symptom) for symptom in data.get("symptoms", ())),
        )


def json_safe(value: Any) -> Any:
    """JSON has no NaN: a strict reader must be able to load what we write."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value
