"""The exceptions that `diagnose` raises on purpose; all derive from DiagnoseError."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DiagnoseError(Exception):
    """Base class: catching it catches everything that `diagnose` raises on purpose."""


class ConfigError(DiagnoseError):
    """An option or a key of `[tool.diagnose]` is unknown or has an impossible value."""


class HistoryError(DiagnoseError):
    """A series was fed or asked for in a way that its contract forbids."""


class RuleError(DiagnoseError):
    """A rule is declared wrongly: a duplicate code, an undocumented page, an unknown quantity."""


class RunDirectoryError(DiagnoseError):
    """A run directory cannot be created, or does not hold a readable run."""


class FactoryError(DiagnoseError):
    """A FACTORY (`MODULE:NAME` or `FILE.py:NAME`) cannot be found, fails, or returns something else than it should."""


class InspectionError(DiagnoseError):
    """What was given to an Inspector does not fit together: numbers of ids, inputs and labels, or ids given twice."""


class CheckError(DiagnoseError):
    """What was given to a check cannot be checked: it raises, returns nothing to check, or has no such parameter."""


class MistakesError(DiagnoseError):
    """Mistakes cannot be mined: data cannot be read, or outputs and targets do not fit or leave the task open."""


class WrongGradientError(DiagnoseError, AssertionError):
    """A gradient is wrong, or could not be told right from wrong; the message is the report."""


class CheckFailedError(DiagnoseError, AssertionError):
    """A check has found something at `warning` or above; the message is its result.

    Attributes:
        findings: what was found, where the check has findings.
    """

    def __init__(self, message: str, findings: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings
