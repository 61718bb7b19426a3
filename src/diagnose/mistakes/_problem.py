"""What is wrong with the data behind the mistakes: a finding, and the examples that it is about."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from diagnose.findings import Finding
from diagnose.mistakes._scores import Id


@dataclass(frozen=True)
class Problem(Finding):
    """One fault of the data.

    Attributes:
        groups: ids of the examples, the worst first. What belongs together (copies of one another) is one group; where
            nothing does, each group holds one id. () if the fault is one of the whole set.
    """

    groups: tuple[tuple[Id, ...], ...] = ()

    @classmethod
    def of(cls, finding: Finding, groups: tuple[tuple[Id, ...], ...] = ()) -> Problem:
        """`finding`, and the examples that it is about."""
        return cls(**{field.name: getattr(finding, field.name) for field in fields(Finding)}, groups=groups)

    @property
    def ids(self) -> tuple[Id, ...]:
        """All examples, the worst first, each once."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group))

    def named(self, *, most: int = 5) -> str:
        """The first groups: "3=17, 5=9, ..."."""
        examples = ", ".join("=".join(map(str, group[:4])) for group in self.groups[:most])
        return examples + (", ..." if len(self.groups) > most else "")

    def to_json(self, *, most: int = 1000) -> dict[str, Any]:
        """Plain data for `json.dumps`.

        Args:
            most: how many groups are written; `groups_left_out` counts the others.
        """
        data = super().to_json()
        data["groups"] = [list(group) for group in self.groups[:most]]
        data["groups_left_out"] = max(0, len(self.groups) - most)
        return data

    def __str__(self) -> str:
        lines = [f"{self.severity.value} {self.code}: {self.message}"]
        lines += [f"    examples: {self.named()}"] if self.groups else []
        lines += [f"    what to do: {self.remedy}"] if self.remedy else []
        return "\n".join(lines)


def by_severity(problems: list[Problem]) -> list[Problem]:
    """The most severe first, else in the order in which they came."""
    return sorted(problems, key=lambda problem: problem.severity.rank)
