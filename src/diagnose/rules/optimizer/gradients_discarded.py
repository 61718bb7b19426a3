"""gradients-discarded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("gradients-discarded", explains=("update-too-small", "loss-not-decreasing"))
def gradients_discarded(history: History, *, share: float = 0.5, at_least: int = 3) -> Iterator[Finding]:
    """Gradients are cleared before any step has used them.

    ## What it does
    Follows each backward pass to the step that uses it, or to the `zero_grad()` that throws it away. It
    counts the optimizer steps before which at least as many passes were thrown away as the step then used,
    and speaks if there are `at_least` = 3 of them and they are `share` = 50 % or more of the steps that
    the watch followed.
    ## Why it matters
    The work of these passes is lost. With `zero_grad()` inside of an accumulation loop, each step follows
    the last micro-batch alone: the batch is a fraction of what it was meant to be, the gradient as much
    noisier, and, where the loss was divided by the number of micro-batches, as much smaller. With
    `zero_grad()` between the passes of two losses, the first loss is not trained at all.
    ## How to fix
    Call `zero_grad()` once per optimizer step: right after `step()`, or before the first backward pass of
    the next one, never between the passes that belong together.
    ## Limits
    Passes that any optimizer steps with are used: a critic may clear what the generator's loss left in it.
    So are those after which the parameters were changed by hand, as in the first half of SAM, those whose
    step GradScaler skipped, and those from which the gradients of the step were put together by hand (gradient
    surgery, per-sample clipping). A pass that also gives gradients to its inputs is taken for an
    attack on them, and not counted. What an epoch leaves over is less than half. If the passes thrown away
    come from another line than those that are used, they may be made only to look at their gradients: then
    the finding is an info, unless they lead to parameters that the used passes do not lead to, which this
    optimizer holds and which have had no gradient at any step that was looked at: nothing else trains those.
    ## Source
    PyTorch documentation, "Gradient accumulation" in "Automatic Mixed Precision examples". Half: with k
    micro-batches per step, `zero_grad()` inside of the loop loses k - 1 of k passes.
    """
    for optimizer, facts in history.optimizers.items():
        lost, steps = history.count("gradients-discarded", optimizer), facts.followed
        if lost < at_least or steps <= 0 or lost < share * steps:
            continue
        events = list(history.events("gradients-discarded", optimizer))
        latest = events[-1].detail
        passes = sum(int(event.detail.get("discarded", 0)) for event in events)
        used = sum(int(event.detail.get("used", 0)) for event in events)
        same_line = sum(bool(event.detail.get("same_line")) for event in events) > len(events) / 2
        untrained = _never_trained(history, optimizer, latest.get("deprived") or ())
        sure = not used or same_line or bool(untrained)
        cleared = latest.get("cleared_line")
        yield Finding(
            "gradients-discarded",
            Severity.ERROR if sure else Severity.INFO,
            f"before {lost} of the {steps} steps of {optimizer} that were looked at, gradients were cleared that no "
            f"step had used: {passes} backward passes were thrown away, {used} used"
            + (f"; nothing else trains {_some(untrained)}" if untrained else ""),
            Location(file=latest.get("file"), line=latest.get("line")),
            min(event.step for event in events),
            max(event.step for event in events),
            {
                "steps_concerned": lost,
                "steps_followed": steps,
                "share": lost / steps,
                "limit": share,
                "passes_discarded": passes,
                "passes_used": used,
                "cleared_in_line": cleared,
                "optimizer": optimizer,
                "untrained": list(untrained),
            },
            cause="zero_grad() is called"
            + (f" in line {cleared}" if cleared is not None else "")
            + " between backward() and the step() that should use its gradients.",
            remedy=f"Call {optimizer}.zero_grad() once per step, before the first backward() that belongs to it.",
        )


def _never_trained(history: History, optimizer: str, names: Iterable[str]) -> list[str]:
    """Those of the parameters that only `optimizer` holds and that no step was seen to have a gradient of."""
    return [
        name
        for name in names
        if (facts := history.parameters.get(name)) is not None
        and facts.requires_grad
        and set(facts.optimizers) == {optimizer}
        and not (history.series("grad_rms", name).values > 0).any()
    ]


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
