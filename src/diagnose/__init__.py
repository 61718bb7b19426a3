"""Finds out why a PyTorch training run performs poorly. Names are loaded when they are first used.

Nothing is imported here, not even `typing`: a program under `diagnose run` is to find the interpreter as it was.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from diagnose import metrics as metrics
    from diagnose.baseline import Baseline, default_baseline
    from diagnose.checks import CheckResult
    from diagnose.config import Config
    from diagnose.errors import (
        CheckError,
        CheckFailedError,
        ConfigError,
        DiagnoseError,
        FactoryError,
        GapError,
        HistoryError,
        MetricError,
        MistakesError,
        RuleError,
        RunDirectoryError,
        WrongGradientError,
    )
    from diagnose.findings import Finding, Location, Severity
    from diagnose.gap import (
        GapDiagnosis,
        LearningCurve,
        ValidationCurve,
        diagnose_gap,
        learning_curve,
        validation_curve,
    )
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
    "GapDiagnosis",
    "GapError",
    "GradientReport",
    "History",
    "HistoryError",
    "LearningCurve",
    "Location",
    "MetricError",
    "Mistakes",
    "MistakesError",
    "RuleError",
    "RunDirectoryError",
    "Severity",
    "ValidationCurve",
    "Watch",
    "WrongGradientError",
    "check_gradients",
    "default_baseline",
    "diagnose_gap",
    "learning_curve",
    "mine_mistakes",
    "rule",
    "validation_curve",
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
    "GapDiagnosis": "gap",
    "GapError": "errors",
    "GradientReport": "gradcheck",
    "History": "history",
    "HistoryError": "errors",
    "LearningCurve": "gap",
    "Location": "findings",
    "MetricError": "errors",
    "Mistakes": "mistakes",
    "MistakesError": "errors",
    "RuleError": "errors",
    "RunDirectoryError": "errors",
    "Severity": "findings",
    "ValidationCurve": "gap",
    "Watch": "watching",
    "WrongGradientError": "errors",
    "check_gradients": "gradcheck",
    "default_baseline": "baseline",
    "diagnose_gap": "gap",
    "learning_curve": "gap",
    "mine_mistakes": "mistakes",
    "rule": "rules",
    "validation_curve": "gap",
    "watch": "watching",
}


_PACKAGES = ("metrics",)
"""What is used as `diagnose.metrics.accuracy(...)` after `import diagnose`."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if home is None:
        return importlib.import_module(f"{__name__}.{name}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
