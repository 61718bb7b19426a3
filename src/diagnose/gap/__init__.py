"""Why the test error is above the train error, or both are too high, and what to change."""

from diagnose.gap._diagnose import diagnose_gap
from diagnose.gap._diagnosis import GapDiagnosis
from diagnose.gap._recommendation import CODES, Recommendation
from diagnose.gap._situation import VERDICTS, Evidence, Limits, ProbeResult

__all__ = [
    "CODES",
    "VERDICTS",
    "Evidence",
    "GapDiagnosis",
    "Limits",
    "ProbeResult",
    "Recommendation",
    "diagnose_gap",
]
