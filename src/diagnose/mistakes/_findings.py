"""What mining has found, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnose.findings import Finding

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes


def findings(mistakes: Mistakes) -> tuple[Finding, ...]:
    """Findings of the mistakes themselves; those of the data are `Mistakes.problems`."""
    return ()
