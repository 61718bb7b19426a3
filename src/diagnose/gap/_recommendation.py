"""What to change: a code, the hyperparameter in the user's own words, and what it should do to both errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from diagnose.findings import json_safe

Code: TypeAlias = Literal[
    "more-capacity",
    "better-optimization",
    "lower-lr",
    "higher-lr",
    "less-weight-decay",
    "less-dropout",
    "more-data",
    "less-capacity",
    "more-regularization",
    "fix-labels",
    "check-test-pipeline",
    "check-save-load",
    "check-leak",
    "rebalance",
    "target-met",
]
CODES: Final = get_args(Code)

Effect: TypeAlias = Literal["lower", "same", "higher", "unknown"]


@dataclass(frozen=True)
class Recommendation:
    """One thing to change.

    Attributes:
        code: what kind of change.
        reason: one sentence with the numbers that speak for it.
        hyperparameter: the name that the user calls it by; None if none is concerned or its name is unknown.
        kind: which row of table 11.1 of Goodfellow et al. it is, as "learning-rate" or "kernel-width"; None if none.
        current: its value now; None if unknown.
        suggested: a value, or (low, high), to try; None if nothing can be said.
        train_error, test_error: what the change should do to both errors.
        cost: in time and memory.
        caveat: when it will not help, or may do harm.
        evidence: numbers by name.
    """

    code: Code
    reason: str
    hyperparameter: str | None = None
    kind: str | None = None
    current: float | int | None = None
    suggested: float | int | tuple[float, float] | None = None
    train_error: Effect = "unknown"
    test_error: Effect = "unknown"
    cost: str = ""
    caveat: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data: dict[str, Any] = json_safe(asdict(self))
        return data
