"""How good predictions are: values with their confidence intervals, tables and curves (Goodfellow et al., ch. 11.1).

Which one fits a goal is a guide in the documentation: "What metric fits this goal?"
"""

from diagnose.metrics._calibration import Calibration, ReliabilityBin, brier, calibration, log_loss
from diagnose.metrics._class_table import ClassRow, ClassTable, Confusion, per_class
from diagnose.metrics._classes import accuracy, error_rate, f_beta, precision, recall
from diagnose.metrics._coverage import Coverage, CoverageCurve, coverage, coverage_at_accuracy, coverage_curve
from diagnose.metrics._ranking import PrecisionRecallCurve, average_precision, precision_recall_curve, roc_auc
from diagnose.metrics._regression import RegressionErrors, regression_errors
from diagnose.metrics._report import Report, report
from diagnose.metrics._result import Metric
from diagnose.metrics._segmentation import mean_iou

__all__ = [
    "Calibration",
    "ClassRow",
    "ClassTable",
    "Confusion",
    "Coverage",
    "CoverageCurve",
    "Metric",
    "PrecisionRecallCurve",
    "RegressionErrors",
    "ReliabilityBin",
    "Report",
    "accuracy",
    "average_precision",
    "brier",
    "calibration",
    "coverage",
    "coverage_at_accuracy",
    "coverage_curve",
    "error_rate",
    "f_beta",
    "log_loss",
    "mean_iou",
    "per_class",
    "precision",
    "precision_recall_curve",
    "recall",
    "regression_errors",
    "report",
    "roc_auc",
]
