"""loss-scale-underflow."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule(
    "loss-scale-underflow",
    explains=("parameter-not-updated", "update-too-small", "loss-not-decreasing"),
    overall=True,
)
def loss_scale_underflow(
    history: History, *, share: float = 0.3, at_least: int = 10, lowest: float = 1.0, nearly_all: float = 0.9
) -> Iterator[Finding]:
    """GradScaler goes on skipping steps, and its scale collapses.

    ## What it does
    Counts the steps that GradScaler skipped because gradients were not finite. It speaks if there are
    `at_least` = 10 of them, they are `share` = 30 % or more of all, and the scale had fallen below `lowest` = 1
    when the latest was skipped. From `nearly_all` = 90 % on it is an error.
    ## Why it matters
    A skipped step does nothing, and nobody says so. Each one halves the scale. Overflow that no scale cures has
    another reason, an infinite gradient for example: then the scale runs towards zero, and the gradients of the
    steps that are made underflow in half precision, where values below 6e-8 are zero.
    ## How to fix
    Look for what is not finite: a gradient that is infinite though the loss is not (`sqrt` or a norm at 0,
    division, `log` of 0), activations above 65,504 in float16, a learning rate that is too high. Run the same
    batch without autocast and scaler, or use bfloat16, which needs no scaling.
    ## Limits
    Silent while the scale is being searched for, that is, while it is above 1, however often steps are
    skipped; and where a loss, a gradient or a parameter was not finite in a step that was made: `nan-or-inf`
    tells that. A scale that is too small from the start and never overflows is not seen.
    ## Source
    Micikevicius et al., *Mixed Precision Training*, sec. 3.2; PyTorch documentation, `torch.amp.GradScaler`: "ideally
    the scale should be as large as possible without incurring inf gradients". At the default growth interval of
    2,000 steps a healthy scaler skips about one in 2,000; with a scale below 1 gradients are made smaller, not
    larger, which is the reverse of what it is for.
    """
    names = dict.fromkeys(event.scope for event in history.events("step-skipped"))
    for optimizer in names:
        facts = history.optimizers.get(optimizer)
        skipped, made = history.count("step-skipped", optimizer), facts.steps if facts else 0
        latest = list(history.events("step-skipped", optimizer))[-1]
        scale = float(latest.detail.get("scale", 1.0))
        part = skipped / (skipped + made)
        if skipped < at_least or part < share or not scale < lowest:
            continue
        if any(event.step <= latest.step for event in history.events("non-finite")):
            continue
        yield Finding(
            "loss-scale-underflow",
            Severity.ERROR if part >= nearly_all else Severity.WARNING,
            f"GradScaler skipped {skipped} of {skipped + made} steps of {optimizer}, and its scale fell to {scale:.2g}",
            Location(file=latest.detail.get("file"), line=latest.detail.get("line")),
            None if not made else 1,
            None if not made else max(latest.step, 1),
            {
                "steps_skipped": skipped,
                "steps_made": made,
                "share": part,
                "limit": share,
                "scale": scale,
                "lowest_scale": lowest,
                "optimizer": optimizer,
            },
            cause="Some gradient is not finite whatever the scale.",
            remedy="Find what is not finite: run the same batch without autocast and GradScaler.",
        )
