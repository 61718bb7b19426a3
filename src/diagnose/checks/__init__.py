"""Active experiments on a model, a batch and a loss (Goodfellow, Bengio & Courville, section 11.5), all on copies."""

from diagnose.checks._baseline import baseline
from diagnose.checks._batch_independence import batch_independence
from diagnose.checks._causality import causality
from diagnose.checks._device_and_dtype_transfer import device_and_dtype_transfer
from diagnose.checks._guarantees import Moment, guarantees
from diagnose.checks._result import CheckResult, Status
from diagnose.checks._save_load import save_load
from diagnose.checks._train_eval_consistency import train_eval_consistency

__all__ = [
    "CheckResult",
    "Moment",
    "Status",
    "baseline",
    "batch_independence",
    "causality",
    "device_and_dtype_transfer",
    "guarantees",
    "save_load",
    "train_eval_consistency",
]
