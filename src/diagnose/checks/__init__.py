"""Active experiments on a model, a batch and a loss (Goodfellow, Bengio & Courville, section 11.5), all on copies."""

from diagnose.checks._all import run_all
from diagnose.checks._baseline import baseline
from diagnose.checks._batch_independence import batch_independence
from diagnose.checks._causality import causality
from diagnose.checks._descent import descent
from diagnose.checks._determinism import determinism
from diagnose.checks._device_and_dtype_transfer import device_and_dtype_transfer
from diagnose.checks._fit_tiny import fit_tiny
from diagnose.checks._gradient_flow import gradient_flow
from diagnose.checks._gradients import gradients
from diagnose.checks._guarantees import Moment, guarantees
from diagnose.checks._input_sensitivity import input_sensitivity
from diagnose.checks._loss_at_init import loss_at_init
from diagnose.checks._lr_range import LrRangeResult, lr_range_test
from diagnose.checks._result import CheckResult, Status
from diagnose.checks._save_load import save_load
from diagnose.checks._train_eval_consistency import train_eval_consistency

__all__ = [
    "CheckResult",
    "LrRangeResult",
    "Moment",
    "Status",
    "baseline",
    "batch_independence",
    "causality",
    "descent",
    "determinism",
    "device_and_dtype_transfer",
    "fit_tiny",
    "gradient_flow",
    "gradients",
    "guarantees",
    "input_sensitivity",
    "loss_at_init",
    "lr_range_test",
    "run_all",
    "save_load",
    "train_eval_consistency",
]
