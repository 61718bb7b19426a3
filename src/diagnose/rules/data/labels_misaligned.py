"""labels-misaligned."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules._base import rule

_SYMPTOMS = ("loss-not-decreasing", "underfitting", "overfitting", "constant-output", "class-imbalance-collapse")


@rule("labels-misaligned", explains=_SYMPTOMS)
def labels_misaligned(
    history: History,
    *,
    kept: float = 0.2,
    at_least: int = 100,
    twins: float = 0.02,
) -> Iterator[Finding]:
    """The same inputs come with other labels each time, as when inputs and labels are shuffled apart.

    ## What it does
    Knows rows of the training data again by their bytes and compares the label with that of the first time. Of
    `at_least` = 100 rows that were met again, so few have kept their label that it is less than `kept` = 20 % of the
    way from what chance gives, with the class frequencies of the run, to all of them.
    ## Why it matters
    There is nothing to learn: the best answer is the class frequencies, whatever the input. The loss falls to that of
    guessing and stays, though each batch looks right.
    ## How to fix
    Index inputs and labels with the same permutation, or put both into one data set: `TensorDataset(inputs, labels)`.
    Two loaders, or two calls of `randperm`, shuffle them apart.
    ## Limits
    Seen is only what changes from one time to the next: labels that were permuted once, before training, stay as
    they are. Inputs must be floating point tensors and unchanged, so augmented ones are not judged, nor are rows
    of which `twins` = 2 % have an equal one in the same batch; ids recur with other labels by nature. Labels that are
    drawn anew on purpose look the same.
    ## Source
    Zhang, Bengio, Hardt, Recht & Vinyals, "Understanding deep learning requires rethinking generalization", 2017: fixed
    random labels are learned by heart, so it is the change that leaves nothing to learn. The numbers are judgement:
    100 rows tell 20 % from chance by more than three standard errors; annotators who disagree keep far more.
    """
    for facts in history.pairs.values():
        if facts.again < at_least or facts.by_chance >= 0.95 or facts.twins > twins * facts.drawn:
            continue
        agree = facts.agreed / facts.again
        beyond_chance = (agree - facts.by_chance) / (1 - facts.by_chance)
        if beyond_chance >= kept:
            continue
        yield Finding(
            "labels-misaligned",
            Severity.ERROR,
            f"of {facts.again} training rows that were met again, {agree:.0%} had the label of the first time; "
            f"labels drawn at random would be {facts.by_chance:.0%}",
            Location(file=facts.file, line=facts.line),
            None,
            None,
            {
                "same_label": agree,
                "by_chance": facts.by_chance,
                "beyond_chance": beyond_chance,
                "limit": kept,
                "rows_met_again": facts.again,
                "optimizer": facts.optimizer,
            },
            cause="Inputs and labels are shuffled apart: two permutations, or two loaders.",
            remedy="Use one permutation for both, or TensorDataset(inputs, labels) with one loader.",
        )
