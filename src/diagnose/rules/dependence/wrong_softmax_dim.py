"""wrong-softmax-dim."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("wrong-softmax-dim", explains=("batch-mixing", "loss-not-decreasing", "vanishing-gradient"))
def wrong_softmax_dim(history: History, *, min_examples: int = 3) -> Iterator[Finding]:
    """A softmax goes along the examples of the batch instead of the classes.

    ## What it does
    Sees along which dimension each softmax and log-softmax goes while the model is run on a batch of at least
    `min_examples` = 3 examples. It speaks if that is the first one, of a tensor with a row for each example and
    several columns. Softmaxes that the training loop itself calls on such a tensor count too.
    ## Why it matters
    The examples of a batch compete with one another: the outputs of one row do not sum to 1, and depend on which
    other examples happen to be there. The loss often falls all the same, which hides it.
    ## How to fix
    Give the dimension of the classes: `softmax(x, dim=-1)`, or `dim=1` for `[N, C, ...]`. Without `dim`, torch
    takes dimension 0 of a three-dimensional tensor.
    ## Limits
    Silent about a softmax of one column (weights over the examples of a bag) and about square matrices between the
    examples (contrastive losses). A softmax along the wrong one of the other dimensions is not found. Needs a
    loss function of torch with a target for each example; `--no-probes` switches it off.
    ## Source
    Warning of `torch.nn.functional.softmax` about its implicit dimension; NeuraLint (Nikanjam et al., 2021) lists
    the fault. With fewer than 3 examples a shape says too little.
    """
    for facts in history.probes.values():
        if facts.probe != "one-sample" or not facts.softmax_across or facts.examples < min_examples:
            continue
        yield Finding(
            "wrong-softmax-dim",
            Severity.ERROR,
            f"a softmax of shape {facts.softmax_shape} goes along its {facts.examples} examples",
            Location(module=facts.model, file=facts.file, line=facts.line),
            facts.step,
            None,
            {
                "examples": facts.examples,
                "shape": list(facts.softmax_shape),
                "affected_share": facts.affected,
                "limit": min_examples,
            },
            cause="dim=0 was given, or no dim at all.",
            remedy="Give the dimension of the classes: dim=-1.",
        )
