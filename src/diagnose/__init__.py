"""Finds out why a PyTorch training run performs poorly. Names are loaded when they are first used.

Nothing is imported here, not even `typing`: a program under `diagnose run` is to find the interpreter as it was.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from diagnose.config import Config
    from diagnose.errors import (
        ConfigError,
        DiagnoseError,
        HistoryError,
        RuleError,
        RunDirectoryError,
    )
    from diagnose.findings import Finding, Location, Severity
    from diagnose.history import History
    from diagnose.rules import Diagnosis, rule
    from diagnose.watch import Watch, watch

__all__ = [
    "Config",
    "ConfigError",
    "DiagnoseError",
    "Diagnosis",
    "Finding",
    "History",
    "HistoryError",
    "Location",
    "RuleError",
    "RunDirectoryError",
    "Severity",
    "Watch",
    "rule",
    "watch",
]

_HOMES = {
    "Config": "config",
    "ConfigError": "errors",
    "DiagnoseError": "errors",
    "Diagnosis": "rules",
    "Finding": "findings",
    "History": "history",
    "HistoryError": "errors",
    "Location": "findings",
    "RuleError": "errors",
    "RunDirectoryError": "errors",
    "Severity": "findings",
    "Watch": "watch",
    "rule": "rules",
    "watch": "watch",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
