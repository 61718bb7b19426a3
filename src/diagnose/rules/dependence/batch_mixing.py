"""batch-mixing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("batch-mixing", explains=("loss-not-decreasing", "loss-diverging", "constant-output"))
def batch_mixing(history: History, *, share: float = 0.0) -> Iterator[Finding]:
    """The output for one example depends on the other examples of its batch.

    ## What it does
    Runs the model, unnoticed and in evaluation mode, on a batch that a training step was given, and once more
    with the first and with the last example replaced by another one. It speaks if the outputs of more than
    `share` = 0 of the other examples change by more than 1/1,000 of the spread of all outputs.
    ## Why it matters
    Examples are drawn independently and belong together only by accident. A model that mixes them learns
    from noise, and answers otherwise when it is asked about one example alone: the metrics of training say
    nothing about its use.
    ## How to fix
    Look for an operation along the wrong dimension: `view` or `reshape` where `permute` or `transpose` was meant,
    an RNN or an attention without `batch_first=True`, a mean, norm or softmax over dimension 0.
    ## Limits
    Needs a loss function of torch with a target for each example, to know what an example is. Not run on models
    that are meant to compare examples, as far as that shows: with a matrix between examples or edges of a graph
    among their inputs, with such a matrix as output, with several inputs of one shape, or with batch statistics
    in evaluation mode. A model whose forward may leave something behind, or that answers differently each time, is
    not run either. `--no-probes` switches all probes off.
    ## Source
    Karpathy, "A Recipe for Training Neural Networks", 2019 ("use backprop to chart dependencies"). No share of
    other examples may be affected; 1/1,000 is far above the rounding of float32 and far below any real dependence.
    """
    for facts in history.probes.values():
        if facts.probe != "one-sample" or facts.reason or facts.affected <= share:
            continue
        yield Finding(
            "batch-mixing",
            Severity.ERROR,
            f"replacing one of {facts.examples} examples changes the outputs of {facts.affected:.0%} of the others",
            Location(module=facts.model, file=facts.file, line=facts.line),
            facts.step,
            None,
            {"affected_share": facts.affected, "limit": share, "examples": facts.examples},
            cause="An operation goes along the dimension of the examples: a reshape for a transpose, a recurrent or "
            "attention layer that expects sequences first, a mean or softmax over dimension 0.",
            remedy="Follow the shapes through forward(); give batch_first=True where examples come first.",
        )
