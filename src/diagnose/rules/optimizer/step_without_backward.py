"""step-without-backward."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.optimizer._weights import stepped_by


@rule(
    "step-without-backward",
    explains=("parameter-not-updated", "update-too-small", "loss-not-decreasing"),
)
def step_without_backward(history: History, *, share: float = 0.1, at_least: int = 3) -> Iterator[Finding]:
    """The optimizer steps although no new gradient has been computed since its last step.

    ## What it does
    Counts the optimizer steps that found no gradient which the step before had not used. It speaks if
    there are `at_least` = 3 of them and they are `share` = 10 % or more of the steps that the watch
    followed.
    ## Why it matters
    Such a step does nothing, or it repeats the last one blindly: momentum and Adam's averages go on
    counting, weight decay goes on shrinking, the scheduler goes on. If no step finds a gradient, the
    model is not trained at all.
    ## How to fix
    Call `loss.backward()` before each `optimizer.step()`, and `zero_grad()` before `backward()`, never
    between the two. Call `step()` once per backward pass.
    ## Limits
    A step with a closure (LBFGS) is judged when it ends, by what the closure has computed. An optimizer
    whose parameters never got a gradient while others did holds the wrong parameters, or frozen ones:
    `parameter-not-updated` tells that case.
    ## Source
    PyTorch documentation, "Optimizing model parameters". Both numbers are judgement, as in
    `gradients-not-cleared`.
    """
    any_gradient = any(facts.gradients for facts in history.parameters.values())
    for optimizer, facts in history.optimizers.items():
        empty = history.count("no-new-gradient", optimizer)
        steps = facts.followed
        if empty < at_least or steps <= 0 or empty < share * steps:
            continue
        never = not any(history.parameters[name].gradients for name in stepped_by(history, optimizer))
        # Gradients that were cleared again are in no step, but a backward pass was there.
        never = never and not history.count("gradients-discarded", optimizer)
        if any_gradient and never:
            continue
        when = [event.step for event in history.events("no-new-gradient", optimizer)]
        yield Finding(
            "step-without-backward",
            Severity.ERROR,
            f"{empty} of the {steps} steps of {optimizer} that were looked at found no new gradient"
            + ("; no backward pass ever reached it" if never else ""),
            Location(file=facts.file, line=facts.line),
            min(when),
            max(when),
            {
                "steps_without_gradient": empty,
                "steps_followed": steps,
                "share": empty / steps,
                "limit": share,
                "backwards": facts.backwards,
                "optimizer": optimizer,
            },
            cause="backward() is not called at all."
            if never
            else "step() is called more often than backward(), or zero_grad() stands between backward() and step().",
            remedy="Call loss.backward() right before each step(), and zero_grad() before backward().",
        )
