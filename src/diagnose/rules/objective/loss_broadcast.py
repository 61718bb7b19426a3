"""loss-broadcast."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import evidence, objectives, where


@rule("loss-broadcast", explains=("loss-not-decreasing", "constant-output"))
def loss_broadcast(history: History, *, at_least: int = 2, share: float = 0.5) -> Iterator[Finding]:
    """Outputs and targets have different shapes, and the loss compares each output with each target.

    ## What it does
    Speaks if in `at_least` = 2 calls, and `share` = 50 % of those looked at, a loss function was given an
    input and a target of which one has a dimension that the other lacks, and broadcasting enlarges both:
    `[N, 1]` and `[N]` become `[N, N]`. The same is looked for in losses written by hand: a difference or a
    product of two such tensors, of as many rows each, that leads to the loss without a layer in between.
    ## Why it matters
    Each output is then drawn towards all targets of the batch. The best that the model can do is to answer
    the mean of the targets, whatever the input: the loss falls a little, to the variance of the targets, and
    stays there.
    ## How to fix
    Give both the same shape: `outputs.squeeze(1)`, or `targets.unsqueeze(1)`. `assert outputs.shape ==
    targets.shape` before the loss keeps it so.
    ## Limits
    Pairs that are meant are silent: both operands have the same number of dimensions there
    (`a[:, None] - b[None, :]`). So is broadcasting that enlarges one operand only, such as weights per
    channel. A difference in a hand-written loss is seen if its operands are plain tensors.
    ## Source
    PyTorch warns of it in `mse_loss` and its kind ("Using a target size that is different to the input
    size"), not in hand-written losses. Both numbers are judgement: one odd batch in a run is passed over.
    """
    for _, facts in objectives(history):
        if facts.broadcast < at_least or facts.broadcast < share * facts.calls:
            continue
        together = _together(facts.input_shape, facts.target_shape)
        by_hand = facts.name == "difference"
        what = "a loss written by hand combines" if by_hand else f"{facts.name} is given"
        yield Finding(
            "loss-broadcast",
            Severity.ERROR,
            f"{what} shapes {list(facts.input_shape)} and {list(facts.target_shape)}, which broadcast to "
            f"{list(together)}: each output is compared with the targets of all examples",
            where(facts),
            facts.first_step,
            facts.last_step,
            evidence(
                facts,
                target_shape=list(facts.target_shape),
                broadcast_shape=list(together),
                numbers=math.prod(together),
                calls_with_broadcasting=facts.broadcast,
                limit=at_least,
            ),
            cause="A trailing dimension of size 1 on one of outputs and targets.",
            remedy="Squeeze the outputs or unsqueeze the targets, so that both have the same shape.",
        )


def _together(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    dims = max(len(first), len(second))
    padded = [(1,) * (dims - len(shape)) + shape for shape in (first, second)]
    return tuple(max(pair) for pair in zip(*padded, strict=True))
