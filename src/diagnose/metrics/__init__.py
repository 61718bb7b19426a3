"""How good predictions are: values with their confidence intervals, tables and curves (Goodfellow et al., ch. 11.1).

Which one fits a goal is a guide in the documentation: "What metric fits this goal?"
"""

from diagnose.metrics._class_table import ClassTable, per_class
from diagnose.metrics._classes import accuracy, error_rate, f_beta, precision, recall
from diagnose.metrics._coverage import Coverage, CoverageCurve, coverage, coverage_at_accuracy, coverage_curve
from diagnose.metrics._ranking import PrecisionRecallCurve, average_precision, precision_recall_curve, roc_auc
from diagnose.metrics._result import Metric

__all__ = [
    "ClassTable",
    "Coverage",
    "CoverageCurve",
    "Metric",
    "PrecisionRecallCurve",
    "accuracy",
    "average_precision",
    "coverage",
    "coverage_at_accuracy",
    "coverage_curve",
    "error_rate",
    "f_beta",
    "per_class",
    "precision",
    "precision_recall_curve",
    "recall",
    "roc_auc",
]
