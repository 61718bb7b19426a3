"""Active experiments on a model, a batch and a loss (Goodfellow, Bengio & Courville, section 11.5), all on copies."""

from diagnose.checks._result import CheckResult, Status

__all__ = ["CheckResult", "Status"]
