"""bias-before-batchnorm."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule


@rule("bias-before-batchnorm")
def bias_before_batchnorm(history: History, *, at_least: int = 1) -> Iterator[Finding]:
    """A bias is trained that the normalisation behind it subtracts again.

    ## What it does
    Looks, in the graph of sampled steps, at what a batch or instance normalisation that uses the statistics of the
    batch was given: if it is what a linear layer or a convolution has just put out, that layer's bias has no
    effect. It speaks if there are `at_least` = 1 such biases that an optimizer trains.
    ## Why it matters
    The normalisation subtracts the mean of each channel, and the bias with it: its gradient is zero up to
    rounding. It costs memory and time, weight decay and noise move it for nothing, and its tiny gradients look like a
    fault to whoever looks for vanishing ones. The model is not wrong: the normalisation has a bias of its own.
    ## How to fix
    Write `bias=False` in the layer before: `nn.Conv2d(16, 32, 3, bias=False)`. Weights that are loaded may need the
    bias; then leave it.
    ## Limits
    Always an info. Only what follows directly counts: with an activation in between the bias is of use. Layer and
    group normalisation take out the mean over several channels, not that of each, and are not meant; nor is
    normalisation in evaluation mode, with a mean that does not follow the bias. If the layer's output is used
    elsewhere, too, the bias has an effect there, which is not looked at.
    ## Source
    Ioffe & Szegedy, "Batch Normalization", 2015, sec. 3.2: "the bias b can be ignored since its effect will be canceled
    by the subsequent mean subtraction".
    """
    found = {
        name: facts.removed_by
        for name, facts in sorted(history.parameters.items())
        if facts.removed_by and facts.requires_grad and facts.optimizers
    }
    if len(found) < at_least or not found:
        return
    name, norm = next(iter(found.items()))
    more = f", and so are {len(found) - 1} more" if len(found) > 1 else ""
    others: list[Evidence] = [*list(found)[1:]]
    yield Finding(
        "bias-before-batchnorm",
        Severity.INFO,
        f"{name} is subtracted again by {norm}, which takes the mean out of each channel{more}",
        Location(module=history.parameters[name].module or None, parameter=name),
        None,
        None,
        {
            "biases": len(found),
            "elements": sum(history.parameters[bias].size for bias in found),
            "limit": at_least,
            "normalisation": norm,
            "also_at": others,
        },
        cause="A layer with a bias directly before a batch or instance normalisation.",
        remedy="Write bias=False in that layer; the normalisation has a bias of its own.",
    )
