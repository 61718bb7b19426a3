"""Finds out why a PyTorch training run performs poorly. Names are loaded when they are first used.

Nothing is imported here, not even `typing`: a program under `diagnose run` is to find the interpreter as it was.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from diagnose.baseline import Baseline, default_baseline
    from diagnose.checks import CheckResult
    from diagnose.config import Config
    from diagnose.errors import (
        CheckError,
        CheckFailedError,
        ConfigError,
        DiagnoseError,
        FactoryError,
        HistoryError,
        MistakesError,
        RuleError,
        RunDirectoryError,
        WrongGradientError,
    )
    from diagnose.findings import Finding, Location, Severity
    from diagnose.gradcheck import GradientReport, check_gradients
    from diagnose.history import History
    from diagnose.mistakes import Mistakes, mine_mistakes
    from diagnose.rules import Diagnosis, rule
    from diagnose.watching import Watch, watch

__all__ = [
    "Baseline",
    "CheckError",
    "CheckFailedError",
    "CheckResult",
    "Config",
    "ConfigError",
    "DiagnoseError",
    "Diagnosis",
    "FactoryError",
    "Finding",
    "GradientReport",
    "History",
    "HistoryError",
    "Location",
    "Mistakes",
    "MistakesError",
    "RuleError",
    "RunDirectoryError",
    "Severity",
    "Watch",
    "WrongGradientError",
    "check_gradients",
    "default_baseline",
    "mine_mistakes",
    "rule",
    "watch",
]

_HOMES = {
    "Baseline": "baseline",
    "CheckError": "errors",
    "CheckFailedError": "errors",
    "CheckResult": "checks",
    "Config": "config",
    "ConfigError": "errors",
    "DiagnoseError": "errors",
    "Diagnosis": "rules",
    "FactoryError": "errors",
    "Finding": "findings",
    "GradientReport": "gradcheck",
    "History": "history",
    "HistoryError": "errors",
    "Location": "findings",
    "Mistakes": "mistakes",
    "MistakesError": "errors",
    "RuleError": "errors",
    "RunDirectoryError": "errors",
    "Severity": "findings",
    "Watch": "watching",
    "WrongGradientError": "errors",
    "check_gradients": "gradcheck",
    "default_baseline": "baseline",
    "mine_mistakes": "mistakes",
    "rule": "rules",
    "watch": "watching",
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
