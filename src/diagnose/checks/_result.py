"""What a check returns: passed, failed or not applicable, with findings and the numbers that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from diagnose.errors import CheckFailedError
from diagnose.findings import Evidence, Finding, Severity, json_safe


class Status(Enum):
    """Whether a check found something at `warning` or above, found nothing, or had nothing to look at."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        name: of the check, kebab-case ("fit-tiny").
        summary: one line with the key number, for passed checks too.
        findings: most severe first.
        evidence: what was measured, by name.
        reason: why the check does not apply; None if it does.
    """

    name: str
    summary: str
    findings: tuple[Finding, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    reason: str | None = None

    @classmethod
    def not_applicable(cls, name: str, reason: str) -> CheckResult:
        """The result of a check that has nothing to look at."""
        return cls(name, f"not applicable: {reason}", reason=reason)

    @property
    def status(self) -> Status:
        if self.reason is not None:
            return Status.NOT_APPLICABLE
        failed = any(finding.severity.at_least(Severity.WARNING) for finding in self.findings)
        return Status.FAILED if failed else Status.PASSED

    @property
    def ok(self) -> bool:
        """Whether nothing was found at `warning` or above; a check that does not apply is not ok."""
        return self.status is Status.PASSED

    def raise_if_failed(self) -> None:
        """Does nothing for a check that passed or does not apply.

        Raises:
            CheckFailedError: an AssertionError whose message is `str(self)`.
        """
        if self.status is Status.FAILED:
            raise CheckFailedError(str(self))

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            "name": self.name,
            "status": self.status.value,
            "summary": self.summary,
            "findings": [finding.to_json() for finding in self.findings],
            "evidence": json_safe(dict(self.evidence)),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.status.value}: {self.summary}"]
        for finding in self.findings:
            lines.append(f"  {finding.severity.value} {finding.code} {finding.where}".rstrip())
            lines.append(f"    {finding.message}")
            lines += [f"    {name}: {value}" for name, value in finding.evidence.items()]
            lines += [f"    likely cause: {finding.cause}"] if finding.cause else []
            lines += [f"    what to do: {finding.remedy}"] if finding.remedy else []
        return "\n".join(lines)
