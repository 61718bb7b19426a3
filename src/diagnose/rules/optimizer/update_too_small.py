"""update-too-small."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.loss._counterfactuals import can_fit, fit_evidence, fit_of
from diagnose.rules.loss._course import SOME, already_trained, horizon, learned, main_course, near_guessing, warming_up
from diagnose.rules.optimizer._weights import weights
from diagnose.stats.ratios import path_length


@rule(
    "update-too-small",
    needs=("update_ratio",),
    explains=("loss-not-decreasing",),
    overall=True,
)
def update_too_small(
    history: History,
    *,
    limit: float = 0.01,
    limit_in_doubt: float = 0.003,
    limit_shown: float = 0.05,
    ratio_shown: float = 1e-4,
    improvement: float = 0.02,
    min_steps: int = 100,
) -> Iterator[Finding]:
    """The optimizer hardly moves the weights, and the loss does not fall.

    ## What it does
    Adds up rms(update) / rms(weight) over all steps, interpolated between the sampled ones. The sum
    bounds how far a weight can have moved. It speaks if the sum stays below `limit` = 1 % for the bulk
    of the weights (at least half of all their elements) over at least `min_steps` = 100 steps, while the
    loss fell by less than `improvement` = 2 % of its start. Only for a classifier it is sure that the
    loss is one of guessing; otherwise the limit is `limit_in_doubt` = 0.3 %.

    Where it is one of guessing, and copies of the weights were seen to fit a few examples within 100 steps of Adam,
    it is known that larger steps would do more. Then the limit is `limit_shown` = 5 %, if the median of
    rms(update) / rms(weight) is below `ratio_shown` = 1e-4.
    ## Why it matters
    A network that may differ from its initialisation by 1 % at most is still its initialisation: it has
    used the whole run for what a single ordinary step does.
    ## How to fix
    Raise the learning rate of the named optimizer by factors of 10 until the update ratio is about
    0.001. If the learning rate is an ordinary one, the gradient is too small: look at what scales the
    loss down.
    ## Limits
    Silent while the learning rate is still warming up, after it has decayed to less than a tenth of
    where it began, if the loss falls (a wide pre-trained network learns by moving very little), and
    where an earlier training of the same run had already brought the loss down. Without a loss it says
    nothing.
    ## Source
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5: one update should be about 1 % of the
    parameter; here all updates together stay below that. CS231n course notes, "Ratio of
    weights:updates": at the usual 1e-3 the sum reaches 1 % after 10 steps. Braiek & Khomh,
    *TheDeepChecker*, take a ratio below 1e-4 for too small: over 100 steps that is the limit, over 500 it
    is 5 %. 0.3 %: with Adam at a learning rate of 1e-5, the lowest in use for fine-tuning, 100 steps move
    weights of the usual size by about 0.5 %.
    """
    for optimizer, facts in history.optimizers.items():
        until = horizon(history, optimizer)
        course = main_course(history, optimizer)
        own = weights(history, optimizer, before=until)
        if course is None or len(course) < min_steps or facts.steps < min_steps or not len(own.steps):
            continue
        if learned(history, optimizer, improvement) is not False or already_trained(history, course):
            continue
        # A warm-up that lasts as long as the run is no excuse once the run has ended.
        if (warming_up(history, optimizer) and not history.run.ending) or _decayed(history, optimizer):
            continue
        bulk = own.bulk(own.ratios)
        usable = np.isfinite(bulk)
        first, last = int(course.steps[0]), int(course.steps[-1])
        moved = path_length(own.steps[usable], bulk[usable], first, last)
        # Where the loss does not tell that the model only guesses, it may be a fine-tune at its optimum.
        guesses = course.uninformed is not None or near_guessing(history, course, 1 - SOME)
        bound = limit if guesses else limit_in_doubt
        fit = fit_of(history, optimizer)
        typical = float(np.median(bulk[usable])) if usable.any() else math.inf
        if guesses and fit is not None and can_fit(fit) and typical < ratio_shown:
            bound = max(bound, limit_shown)
        if not moved < bound:
            continue
        rate = _latest_rate(history, optimizer)
        yield Finding(
            "update-too-small",
            Severity.WARNING,
            f"{last - first + 1} steps together moved the weights by at most {100 * moved:.2g} % of their own size, "
            f"and the loss stayed at {course.late:.3g}",
            Location(parameter=own.names[int(np.argmax(own.sizes))]),
            first,
            last,
            {
                "moved": moved,
                "limit": bound,
                "median_update_ratio": typical,
                "loss_at_start": course.start,
                "loss_at_end": course.late,
                "learning_rate": rate,
                "optimizer": optimizer,
                **fit_evidence(fit, None),
            },
            cause="The learning rate is too low, or something scales the gradients down.",
            remedy=f"Raise the learning rate of {optimizer} by factors of 10 until the update ratio is about 0.001.",
        )


def _decayed(history: History, optimizer: str) -> bool:
    """Whether the learning rate has come down to less than a tenth of where the watch first saw it."""
    for scope in history.scopes("lr"):
        rates = history.series("lr", scope).values
        if scope.rpartition("/")[0] == optimizer and len(rates) > 1 and rates[-1] < 0.1 * rates[0]:
            return True
    return False


def _latest_rate(history: History, optimizer: str) -> float | None:
    rates = [
        float(history.series("lr", scope).values[-1])
        for scope in history.scopes("lr")
        if scope.rpartition("/")[0] == optimizer and len(history.series("lr", scope))
    ]
    return max((rate for rate in rates if math.isfinite(rate)), default=None)
