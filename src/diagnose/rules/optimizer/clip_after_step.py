"""clip-after-step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import Event, History
from diagnose.rules._base import rule

# What is clipped against a limit that is thousands of times too small hardly moves.
_SYMPTOMS = (
    "exploding-gradient", "update-too-large", "update-too-small", "loss-diverging", "loss-not-decreasing",
    "clip-always-active",
)  # fmt: skip


@rule("clip-after-step", explains=_SYMPTOMS)
def clip_after_step(history: History, *, share: float = 0.5, at_least: int = 3) -> Iterator[Finding]:
    """Gradients are clipped where it has no effect, or while a loss scale is in them.

    ## What it does
    Follows the gradients between two steps. It speaks if, before `at_least` = 3 steps that are `share` =
    50 % or more of those that the watch followed, gradients were clipped only after the step that used
    them, or before there were any; or if they were clipped before GradScaler divided them by its scale.
    ## Why it matters
    Clipping after `step()` changes gradients that nobody uses any more: the step took them unclipped, and
    the spikes against which clipping was put there go through. Clipping scaled gradients cuts them to
    limit / scale: with a scale of 65,536 nearly every step is cut to almost nothing.
    ## How to fix
    Clip between `backward()` and `step()`. With GradScaler, call `scaler.unscale_(optimizer)` first, then
    clip, then `scaler.step(optimizer)`.
    ## Limits
    Seen are `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_`, not clipping written by hand. A limit of
    infinity is a way to ask for the norm, and passed over. Clipping too late that would have found nothing
    to clip is an info. A step with a closure is not judged.
    ## Source
    PyTorch documentation, "Automatic Mixed Precision examples", "Gradient clipping"; Pascanu, Mikolov &
    Bengio, *On the difficulty of training recurrent neural networks*: the gradient is clipped before it is
    used. The share is judgement: a line in the wrong place is wrong in every round.
    """
    for optimizer, facts in history.optimizers.items():
        late = list(history.events("clipped-too-late", optimizer))
        count = history.count("clipped-too-late", optimizer)
        if count >= at_least and count >= share * facts.followed:
            norms = history.series("grad_norm", optimizer)
            size = dict(zip(norms.steps.tolist(), norms.values.tolist(), strict=True))
            cut = any(size.get(event.step, 0.0) > event.detail.get("limit", math.inf) for event in late)
            after = any(event.detail.get("after_step") for event in late)
            yield _finding(
                optimizer,
                late,
                f"{count} of the {facts.followed} steps of {optimizer} that were looked at used unclipped gradients: "
                + ("they were clipped after the step" if after else "clipping came before there were any"),
                {"steps_concerned": count, "steps_followed": facts.followed, "limit": share},
                cause="Clipping stands "
                + ("after step(), where its gradients have been used." if after else "before backward()."),
                remedy="Move clipping between backward() and step().",
                loud=cut or any(event.detail.get("exceeded") for event in late),
            )
        scaled = list(history.events("clipped-while-scaled", optimizer))
        count = history.count("clipped-while-scaled", optimizer)
        if count >= at_least and count >= share * facts.followed:
            scale = float(scaled[-1].detail.get("scale", 1.0))
            yield _finding(
                optimizer,
                scaled,
                f"gradients of {optimizer} were clipped {count} times while GradScaler's factor {scale:g} was in them: "
                f"the limit that counts is {scale:g} times smaller",
                {"steps_concerned": count, "steps_followed": facts.followed, "limit": share, "scale": scale},
                cause="GradScaler divides by its scale in step(), after clipping, unless it is told to before.",
                remedy=f"Call scaler.unscale_({optimizer}) before clipping.",
                loud=any(event.detail.get("exceeded") for event in scaled),
            )


def _finding(
    optimizer: str,
    events: Sequence[Event],
    message: str,
    evidence: dict[str, Evidence],
    *,
    cause: str,
    remedy: str,
    loud: bool,
) -> Finding:
    latest = events[-1].detail
    return Finding(
        "clip-after-step",
        Severity.WARNING if loud else Severity.INFO,
        message,
        Location(file=latest.get("file"), line=latest.get("line")),
        min(event.step for event in events),
        max(event.step for event in events),
        {**evidence, "optimizer": optimizer},
        cause=cause,
        remedy=remedy,
    )
