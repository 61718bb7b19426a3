"""The model to begin with, and to compare with: chosen by the kind of data (Goodfellow et al., section 11.2)."""

from diagnose.baseline._baseline import Baseline, Fit, default_baseline
from diagnose.baseline._data import Examples, Kind, Task, examples_in

__all__ = ["Baseline", "Examples", "Fit", "Kind", "Task", "default_baseline", "examples_in"]
