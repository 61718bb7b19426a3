"""gradients-not-cleared."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule(
    "gradients-not-cleared",
    explains=("update-too-large", "exploding-gradient", "loss-diverging", "loss-not-decreasing"),
)
def gradients_not_cleared(history: History, *, share: float = 0.1, at_least: int = 3) -> Iterator[Finding]:
    """Gradients that one step has used survive into the next one.

    ## What it does
    Counts the optimizer steps whose gradients contain those that an earlier step had used already. It
    speaks if there are `at_least` = 3 of them and they are `share` = 10 % or more of the steps that the
    watch followed. Where no optimizer of torch's makes the steps, they are known by the parameters: of the first
    backward passes, it counts those before which parameters had changed and their gradients were just what the last
    one had left.
    ## Why it matters
    `backward()` adds to what is in `.grad`. Without clearing, step n follows the sum of n gradients:
    directions of long ago are followed again and again, and the step grows with the length of the run.
    It looks like momentum without friction: the loss oscillates, or falls for a while and then runs
    away.
    ## How to fix
    Call `optimizer.zero_grad()` once per optimizer step, before `backward()`. To accumulate gradients
    over several batches on purpose, put both `step()` and `zero_grad()` behind the same `if`.
    ## Limits
    Accumulation is not meant: gradients that no step has used yet may add up as long as they like. A
    step with a closure (LBFGS) is judged by the gradients that it ends with. Up to two such steps in a
    run are passed over, as at the change from one loop to the next.
    ## Source
    PyTorch documentation, `torch.optim.Optimizer.zero_grad`. Both numbers are judgement: a single
    missing `zero_grad` in a loop spoils all its steps, the mildest form that is stepped and cleared at
    different rates (cleared every second step) half of them, and one that is cleared once per epoch all
    but one in an epoch.
    """
    yield from _handmade(history, share, at_least)
    for optimizer, facts in history.optimizers.items():
        stale = history.count("stale-gradients", optimizer)
        steps = facts.followed
        if stale < at_least or steps <= 0 or stale < share * steps:
            continue
        when = [event.step for event in history.events("stale-gradients", optimizer)]
        yield Finding(
            "gradients-not-cleared",
            Severity.ERROR,
            f"{stale} of the {steps} steps of {optimizer} that were looked at used gradients again that an earlier "
            "step had used already",
            Location(file=facts.file, line=facts.line),
            min(when),
            max(when),
            {
                "stale_steps": stale,
                "steps_followed": steps,
                "share": stale / steps,
                "limit": share,
                "optimizer": optimizer,
            },
            cause="zero_grad() is missing, or is called less often than step(), or on another optimizer or model.",
            remedy=f"Call {optimizer}.zero_grad() once per step, before backward().",
        )


def _handmade(history: History, share: float, at_least: int) -> Iterator[Finding]:
    if any(facts.steps for facts in history.optimizers.values()):
        return
    for facts in history.handmade:
        if facts.stale < at_least or facts.stale < share * facts.steps:
            continue
        yield Finding(
            "gradients-not-cleared",
            Severity.ERROR,
            f"before {facts.stale} of {facts.steps} backward passes the parameters had been changed, and the gradients "
            "of the last one were still there: each adds to those of all before",
            Location(file=facts.file, line=facts.line),
            None,
            None,
            {
                "stale_steps": facts.stale,
                "steps_followed": facts.steps,
                "share": facts.stale / facts.steps,
                "limit": share,
            },
            cause="The steps are made by hand, and nothing clears the gradients.",
            remedy="Set p.grad = None for each parameter after its step, or call model.zero_grad().",
        )
