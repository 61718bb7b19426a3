"""clip-always-active."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("clip-always-active")
def clip_always_active(
    history: History, *, share: float = 0.9, factor: float = 10.0, at_least: int = 10
) -> Iterator[Finding]:
    """Clipping cuts nearly every gradient, and by a large factor.

    ## What it does
    Compares the norm that `clip_grad_norm_` found with its limit. It speaks if at least `share` = 90 % of
    the sampled steps with clipping were cut, at least `at_least` = 10 of them, and half of these by more
    than `factor` = 10.
    ## Why it matters
    Clipping is meant for the rare spike. Where it cuts every step, the gradient keeps only its direction: the
    learning rate times the limit sets the size of every step, however flat or steep the loss is, and with plain
    SGD training is slower than the learning rate says. It can also hide that the loss is badly scaled.
    ## How to fix
    If training is slow, raise the limit to a high quantile of the norms that are found without it, or lower
    the scale of the loss (a mean in place of a sum). If it trains well, nothing needs to be done.
    ## Limits
    An info and no more: many good recipes clip every step, language models and recurrent networks first of all,
    and Adam takes the same steps whatever the scale of the gradient. On an accelerator the norm is not read.
    ## Source
    Pascanu, Mikolov & Bengio, *On the difficulty of training recurrent neural networks*, sec. 3.2: "one good
    heuristic for setting this threshold is to look at statistics on the average norm over a sufficiently
    large number of updates", from half to ten times that average. `factor` is beyond that range.
    """
    for optimizer, facts in history.optimizers.items():
        cut = history.count("clipped", optimizer)
        if cut < at_least or cut < share * max(facts.clipped, 1):
            continue
        events = list(history.events("clipped", optimizer))
        ratios = [
            event.detail["norm"] / event.detail["limit"]
            for event in events
            if math.isfinite(event.detail.get("norm", math.nan)) and event.detail.get("limit", 0.0) > 0
        ]
        if not ratios or (typical := float(np.median(ratios))) <= factor:
            continue
        latest = events[-1].detail
        yield Finding(
            "clip-always-active",
            Severity.INFO,
            f"clipping cut {cut} of {facts.clipped} sampled steps of {optimizer}, half of them by more than a factor "
            f"of {typical:.3g}",
            Location(file=latest.get("file"), line=latest.get("line")),
            min(event.step for event in events),
            max(event.step for event in events),
            {
                "steps_cut": cut,
                "steps_clipped": facts.clipped,
                "typical_ratio": typical,
                "limit": factor,
                "clip_limit": float(latest.get("limit", math.nan)),
                "optimizer": optimizer,
            },
            cause="The limit is far below the usual norm of the gradient.",
            remedy="If training is slow, raise the limit to a high quantile of the norms found without it.",
        )
