"""scheduler-before-optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("scheduler-before-optimizer")
def scheduler_before_optimizer(history: History, *, at_least: int = 1) -> Iterator[Finding]:
    """A learning rate scheduler is stepped before its optimizer has made a step.

    ## What it does
    Asks each scheduler, at the first step of its optimizer, how often it has been stepped: it speaks from
    `at_least` = 1 time on.
    ## Why it matters
    Making a scheduler sets the first learning rate. A `scheduler.step()` before the first `optimizer.step()`
    skips it: every step of the run gets the learning rate of the next one, a warm-up begins a step later,
    milestones come one epoch too early.
    ## How to fix
    Call `scheduler.step()` after `optimizer.step()`: at the end of the epoch, or of the iteration if it counts
    iterations.
    ## Limits
    `ReduceLROnPlateau` is not asked, nor are optimizers that were restored from a checkpoint or whose first
    step GradScaler skipped. A scheduler that is stepped once on purpose looks the same: an info.
    ## Source
    PyTorch documentation, `torch.optim`, "How to adjust learning rate"; PyTorch warns of the same once, on
    standard error. Once is enough: a scheduler that is right has not been stepped at all.
    """
    for name, facts in history.schedulers.items():
        if facts.early < at_least or facts.type == "ReduceLROnPlateau":
            continue
        times = "once" if facts.early == 1 else f"{facts.early} times"
        yield Finding(
            "scheduler-before-optimizer",
            Severity.INFO,
            f"{name} was stepped {times} before the first step of {facts.optimizer}",
            Location(file=facts.file, line=facts.line),
            1,
            1,
            {"calls_before_first_step": facts.early, "limit": at_least, "optimizer": facts.optimizer},
            cause="scheduler.step() stands before optimizer.step() in the loop.",
            remedy="Call scheduler.step() after optimizer.step().",
        )
