"""target-leakage."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("target-leakage")
def target_leakage(history: History, *, share: float = 0.0) -> Iterator[Finding]:
    """A sequence model sees what it is to predict.

    ## What it does
    Where the targets are the inputs moved by one place, as in language modelling, it runs the model, unnoticed and
    in evaluation mode, on a sequence of training, and once more with everything from the middle on replaced.
    It speaks if the outputs of more than `share` = 0 of the earlier places change by more than 1/1,000 of the
    spread of all outputs.
    ## Why it matters
    The output at place t is to predict the input at t + 1. If it depends on it, copying is the best answer: the
    loss falls to nearly nothing, in evaluation too, and the model generates rubbish.
    ## How to fix
    Mask the future: `is_causal=True`, or a mask that is added before the softmax and has -inf above the diagonal.
    Check the sense of a boolean mask (True hides in `nn.MultiheadAttention`, and shows in
    `scaled_dot_product_attention`). Pad convolutions on the left only; do not use a bidirectional RNN.
    ## Limits
    Silent about models whose targets are not their next inputs (masked language models, labels per place), and
    about those that are given the sequence in another form than as one tensor. Not run on a model whose forward
    may leave something behind, or that answers differently each time. `--no-probes` switches all probes off.
    ## Source
    Karpathy, "A Recipe for Training Neural Networks", 2019: dependencies on the future are found by looking at
    what changes. No earlier place may change; 1/1,000 is far above rounding.
    """
    for facts in history.probes.values():
        if facts.probe != "next-token" or facts.reason or facts.affected <= share:
            continue
        target = ", the one that it predicts included" if facts.sees_target else ""
        yield Finding(
            "target-leakage",
            Severity.ERROR,
            f"replacing the second half of a sequence changes {facts.affected:.0%} of the outputs before it{target}",
            Location(module=facts.model),
            facts.step,
            None,
            {
                "affected_share": facts.affected,
                "limit": share,
                "places": facts.examples,
                "sees_target": facts.sees_target,
            },
            cause="The mask of the future is missing, is inverted, or is applied at the wrong place; or a layer looks "
            "both ways.",
            remedy="Mask the future in every layer that mixes places; changing token t + 1 must not change "
            "the output at t.",
        )
