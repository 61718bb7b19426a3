"""Why the test error is above the train error, or both are too high, and what to change."""

from diagnose.gap._diagnose import diagnose_gap
from diagnose.gap._diagnosis import GapDiagnosis
from diagnose.gap._extrapolation import DataNeeded
from diagnose.gap._learning_curve import LearningCurve, learning_curve
from diagnose.gap._recommendation import CODES, Recommendation
from diagnose.gap._situation import VERDICTS, Evidence, Limits, ProbeResult
from diagnose.gap._space import recommend_space, sweep_parameters
from diagnose.gap._stopping import CheckpointChoice, best_checkpoint
from diagnose.gap._validation_curve import ValidationCurve, validation_curve

__all__ = [
    "CODES",
    "VERDICTS",
    "CheckpointChoice",
    "DataNeeded",
    "Evidence",
    "GapDiagnosis",
    "LearningCurve",
    "Limits",
    "ProbeResult",
    "Recommendation",
    "ValidationCurve",
    "best_checkpoint",
    "diagnose_gap",
    "learning_curve",
    "recommend_space",
    "sweep_parameters",
    "validation_curve",
]
