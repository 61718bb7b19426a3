"""What is wrong with the data behind the mistakes: a finding, and the examples that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnose.findings import Finding, Severity
from diagnose.mistakes._scores import Id


@dataclass(frozen=True)
class Problem:
    """One fault of the data.

    Attributes:
        finding: code, severity, message, evidence, remedy.
        groups: ids of the examples, the worst first. What belongs together (copies of one another) is one group; where
            nothing does, each group holds one id. () if the fault is one of the whole set.
    """

    finding: Finding
    groups: tuple[tuple[Id, ...], ...] = ()

    @property
    def code(self) -> str:
        return self.finding.code

    @property
    def severity(self) -> Severity:
        return self.finding.severity

    @property
    def message(self) -> str:
        return self.finding.message

    @property
    def ids(self) -> tuple[Id, ...]:
        """All examples, the worst first, each once."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group))

    def to_json(self, *, most: int = 1000) -> dict[str, Any]:
        """Plain data for `json.dumps`.

        Args:
            most: how many groups are written; `groups_left_out` counts the others.
        """
        data = self.finding.to_json()
        data["groups"] = [list(group) for group in self.groups[:most]]
        data["groups_left_out"] = max(0, len(self.groups) - most)
        return data

    def __str__(self) -> str:
        examples = ", ".join("=".join(map(str, group[:4])) for group in self.groups[:5])
        more = ", ..." if len(self.groups) > 5 else ""
        lines = [f"{self.severity.value} {self.code}: {self.message}"]
        lines += [f"    examples: {examples}{more}"] if examples else []
        lines += [f"    what to do: {self.finding.remedy}"] if self.finding.remedy else []
        return "\n".join(lines)


def by_severity(problems: list[Problem]) -> list[Problem]:
    """The most severe first, else in the order in which they came."""
    return sorted(problems, key=lambda problem: problem.severity.rank)
