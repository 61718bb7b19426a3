"""target-not-normalized."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import REGRESSION, evidence, objectives, where


@rule(
    "target-not-normalized",
    needs=("output_scale",),
    explains=("loss-not-decreasing", "loss-diverging", "constant-output", "exploding-gradient"),
    overall=True,
)
def target_not_normalized(
    history: History, *, limit: float = 100.0, reached: float = 0.5, min_steps: int = 100, window: int = 3
) -> Iterator[Finding]:
    """The targets are far from 1 in size, and the outputs do not get there.

    ## What it does
    In regressions (`mse_loss`, `l1_loss`, `smooth_l1_loss`, `huber_loss`) whose targets have a root mean square of
    `limit` = 100 or more, it asks after `min_steps` = 100 steps whether the outputs have come to `reached` = 50 % of
    that in any of the last `window` = 3 samples. If they have not, it speaks; if they have, training has coped.
    ## Why it matters
    Networks start with outputs around 1 and move by steps of about the learning rate. To answer 250,000 the last bias
    has to walk there, and until then the loss says nothing about the inputs. With a squared loss the gradients are as
    large as the targets, so learning rates that are known to work blow up.
    ## How to fix
    Standardise the targets by mean and standard deviation of the training set, and turn the predictions back. Or put
    the mean of the targets into the bias of the last layer, and a factor behind it. Logarithms suit targets that are
    positive and span orders of magnitude, such as prices.
    ## Limits
    Targets that were never reached for another reason (a learning rate of 0) look the same. Losses that are
    written by hand are not seen.
    ## Source
    LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998, sec. 4 (targets within the range of the outputs). 100 is
    two orders of magnitude from where outputs begin; half of the way is judgement.
    """
    for scope, facts in objectives(history, *REGRESSION):
        size = math.sqrt(facts.target_square)
        scale = history.series("output_scale", scope)
        if size < limit or facts.both_learn or len(scale) < window or scale.steps[-1] < min_steps:
            continue
        best = float(np.max(scale.values[-window:]))
        # What has run away has passed the targets, too; that is told by others.
        if best >= reached * size:
            continue
        yield Finding(
            "target-not-normalized",
            Severity.WARNING,
            f"the targets have a size of {size:.3g} (mean {facts.target_mean:.3g}, standard deviation "
            f"{math.sqrt(facts.target_variance):.3g}), and after {int(scale.steps[-1])} steps the outputs have come to "
            f"{best:.3g}",
            where(facts),
            facts.first_step,
            int(scale.steps[-1]),
            evidence(
                facts,
                target_size=size,
                target_mean=facts.target_mean,
                output_size=best,
                size_limit=limit,
                limit=reached * size,
            ),
            cause="Targets in their natural unit, and outputs that start around 1.",
            remedy="Standardise the targets with mean and standard deviation of the training set.",
        )
