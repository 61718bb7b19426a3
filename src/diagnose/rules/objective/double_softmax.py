"""double-softmax."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Severity
from diagnose.history import History, ObjectiveFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import evidence, floor_of_cross_entropy, objectives, squashings, where


@rule(
    "double-softmax",
    explains=("loss-not-decreasing", "vanishing-gradient", "saturated-units", "update-too-small"),
)
def double_softmax(history: History, *, at_least: int = 3) -> Iterator[Finding]:
    """Softmax is applied twice: the loss takes the softmax of probabilities.

    ## What it does
    Looks at what `cross_entropy` is given, and at how it was made. It speaks if the last operation was a
    softmax, or if in all of `at_least` = 3 calls or more every row was a probability distribution (between 0
    and 1, with sum 1), however it was made. It speaks, too, if a `log_softmax`, or a logarithm of a softmax,
    was taken of what is a softmax already, before `nll_loss`, `kl_div` or in a loss written by hand.
    ## Why it matters
    `cross_entropy` applies log-softmax itself. Probabilities differ by 1 at most, so after a second softmax
    even the surest answer gets a probability of e / (e + K - 1): with 10 classes 23 %. The loss cannot fall
    below ln(1 + (K - 1) / e) (1.46 for 10 classes), the gradients are small everywhere, and smallest where
    the first softmax is sure of something wrong, so training is slow and stops early.
    ## How to fix
    Give `cross_entropy` the outputs of the last linear layer, and take the softmax only where probabilities
    are needed. Or keep the softmax and use `nll_loss` on its logarithm (`log_softmax` is safer).
    ## Limits
    Log-softmax before `cross_entropy` is not meant: normalising twice changes nothing. Neither is a softmax
    that is scaled afterwards, or one earlier in the network, as in attention. In compiled code operations are
    not seen, and the values decide.
    ## Source
    PyTorch documentation, `torch.nn.CrossEntropyLoss`: "the input is expected to contain the unnormalized
    logits for each class". The floor is the loss of a one-hot distribution taken for logits. Three calls are
    judgement: logits whose rows all sum to 1 by chance do not exist.
    """
    for _, facts in objectives(history, "cross_entropy", "nll_loss", "kl_div", "log"):
        by_graph = squashings(facts, "softmax") > 1
        by_values = facts.name == "cross_entropy" and facts.calls >= at_least and facts.distributions == facts.calls
        if by_graph or by_values:
            yield _finding(facts, by_graph=by_graph, at_least=at_least)


def _finding(facts: ObjectiveFacts, *, by_graph: bool, at_least: int) -> Finding:
    floor = floor_of_cross_entropy(facts.classes, 1.0) if facts.classes > 1 else None
    what = "the output of a softmax" if by_graph else "probabilities"
    if facts.name == "cross_entropy":
        message = f"cross_entropy is given {what}, and applies softmax once more"
    else:
        message = "a softmax is taken of the output of a softmax, before its logarithm becomes the loss"
    if floor is not None:
        message += f": with {facts.classes} classes the loss cannot fall below {floor:.3g}"
    return Finding(
        "double-softmax",
        Severity.ERROR,
        message,
        where(facts),
        facts.first_step,
        facts.last_step,
        evidence(
            facts,
            classes=facts.classes,
            calls_with_probabilities=facts.distributions,
            limit=at_least,
            lowest_possible_loss=floor,
        ),
        cause="A softmax at the end of the model, and a loss function that has one of its own.",
        remedy="Remove the softmax at the end of the model: the loss function wants raw outputs (logits).",
    )
