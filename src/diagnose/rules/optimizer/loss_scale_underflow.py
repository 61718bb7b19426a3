"""loss-scale-underflow."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule(
    "loss-scale-underflow",
    explains=("parameter-not-updated", "update-too-small", "loss-not-decreasing"),
    overall=True,
)
def loss_scale_underflow(
    history: History,
    *,
    share: float = 0.3,
    at_least: int = 10,
    lowest: float = 1.0,
    nearly_all: float = 0.9,
    coarse: float = 0.1,
    min_samples: int = 4,
) -> Iterator[Finding]:
    """Gradients underflow in half precision: GradScaler's scale collapses, or the loss is not scaled enough.

    ## What it does
    Counts the steps that GradScaler skipped because gradients were not finite. It speaks if there are
    `at_least` = 10 of them, they are `share` = 30 % or more of all, and the scale had fallen below `lowest` = 1
    when the latest was skipped. From `nearly_all` = 90 % on it is an error.

    It also looks at gradients that came out of half precision unscaled: all their elements are multiples of 6e-8, its
    smallest number. It speaks if `coarse` = 10 % of the elements of an optimizer's gradients, or more, are 1 to 4 times
    that number, in the median of `min_samples` = 4 or more samples of the first half of the run, and in that of all.
    ## Why it matters
    A skipped step does nothing, and nobody says so. Each one halves the scale. Overflow that no scale cures has
    another reason, an infinite gradient for example: then the scale runs towards zero, and the gradients of the
    steps that are made underflow in half precision, where values below 6e-8 are zero.
    ## How to fix
    Look for what is not finite: a gradient that is infinite though the loss is not (`sqrt` or a norm at 0,
    division, `log` of 0), activations above 65,504 in float16, a learning rate that is too high. Run the same
    batch without autocast and scaler, or use bfloat16, which needs no scaling. If no GradScaler is used, use one, with
    its default initial scale; do not divide the loss by the size of the data set.
    ## Limits
    Silent while the scale is being searched for, that is, while it is above 1, however often steps are
    skipped; and where a loss, a gradient or a parameter was not finite in a step that was made: `nan-or-inf`
    tells that. A scale that is too small from the start is not seen where it is divided out again, or where
    gradients are clipped; nor are gradients that are zero throughout. ReLU's zeros do not count, only what is nearly
    zero. Late in a run gradients may be that small because it has converged.
    ## Source
    Micikevicius et al., *Mixed Precision Training*, sec. 3.2; PyTorch documentation, `torch.amp.GradScaler`: "ideally
    the scale should be as large as possible without incurring inf gradients". At the default growth interval of
    2,000 steps a healthy scaler skips about one in 2,000; with a scale below 1 gradients are made smaller, not
    larger, which is the reverse of what it is for. Magnitudes spread over orders: where a tenth of all elements
    have been rounded by 11 to 50 %, which is the error at 4 and at 1 units, at least as many lie near the limit and are
    zero. Measured: 10 to 30 % in runs whose gradients underflow, 0 to 0.2 % in half precision that needs no scale.
    """
    yield from _skipped(history, share, at_least, lowest, nearly_all)
    yield from _unscaled(history, coarse, min_samples)


def _unscaled(history: History, coarse: float, min_samples: int) -> Iterator[Finding]:
    for optimizer, facts in history.optimizers.items():
        steps, shares = _coarse(history, optimizer)
        early = [each for step, each in zip(steps, shares, strict=True) if 2 * step <= facts.steps]
        if len(early) < min_samples:
            continue
        part = min(median(early), median(shares))
        if part < coarse:
            continue
        yield Finding(
            "loss-scale-underflow",
            Severity.WARNING,
            f"{100 * part:.0f} % of the elements of {optimizer}'s gradients are 1 to 4 times the smallest number of "
            "half precision, and what is smaller has become 0",
            Location(file=facts.file, line=facts.line),
            steps[0],
            steps[-1],
            {"share": part, "limit": coarse, "samples": len(shares), "optimizer": optimizer},
            cause="The loss is not scaled, or too little, before backward() in half precision.",
            remedy="Use torch.amp.GradScaler with its default initial scale, or bfloat16.",
        )


def _coarse(history: History, optimizer: str) -> tuple[list[int], list[float]]:
    """Sampled steps, and the share of all elements of the optimizer's gradients that are coarse then."""
    coarse: dict[int, float] = {}
    elements: dict[int, int] = {}
    for name, facts in history.parameters.items():
        if optimizer not in facts.optimizers:
            continue
        series = history.series("grad_zero_share", name)
        for step in series.steps.tolist():
            elements[step] = elements.get(step, 0) + facts.size
        series = history.series("grad_coarse_share", name)
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            coarse[step] = coarse.get(step, 0.0) + value * facts.size
    steps = sorted(elements)
    return steps, [coarse.get(step, 0.0) / max(elements[step], 1) for step in steps]


def _skipped(history: History, share: float, at_least: int, lowest: float, nearly_all: float) -> Iterator[Finding]:
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
