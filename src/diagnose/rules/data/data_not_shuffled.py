"""data-not-shuffled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import Floats, History, Ints, LabelFacts
from diagnose.rules._base import rule
from diagnose.stats import composition

_SYMPTOMS = (
    "loss-not-decreasing",
    "loss-diverging",
    "underfitting",
    "constant-output",
    "class-imbalance-collapse",
)


@rule("data-not-shuffled", explains=_SYMPTOMS)
def data_not_shuffled(
    history: History,
    *,
    limit: float = 0.5,
    chance: float = 1e-6,
    at_least: int = 8,
    lasting: float = 0.25,
    pure: float = 0.9,
) -> Iterator[Finding]:
    """Training batches hold one class at a time, as when sorted data is not shuffled.

    ## What it does
    Compares the classes within the batches of the sampled steps with the classes over all of them. How far the
    batches divide the classes among them is 0 if they are drawn at random, whatever the class frequencies, and 1
    if each batch has a single class. It speaks above `limit` = 0.5, in at least `at_least` = 8 batches of which
    random ones would differ as much with a chance below `chance` = 1e-6. Besides, either one class must
    last over consecutive steps: two of their examples agree more often than two of any batches do, by
    `lasting` = 25 % of what is possible; or, with three classes or more, at least `pure` = 90 % of the
    batches must have one class only.
    ## Why it matters
    The gradient of a batch is meant to be an unbiased estimate of that of the whole training set. With one class per
    batch it says "answer this class, whatever the input"; the next class undoes it. The loss looks low for as long as
    a class lasts, and the model forgets the others.
    ## How to fix
    `DataLoader(..., shuffle=True)`, or a new `torch.randperm` of the examples (not of the batches) in every epoch. For
    an iterable data set, a shuffle buffer that is larger than the longest run of one class.
    ## Limits
    The order within a batch does not matter and is not looked at, nor is any flag: data that is stored in random
    order may be read in order. Silent for batches that are balanced on purpose (two or more classes in equal
    numbers stay below 0.5), for class-incremental training with two or more classes in turn, for one batch
    that is the whole data set, for targets of tokens or pixels, for models that are given the state they returned
    before, for batches of fewer than four examples, and for
    losses that are not functions of torch. A stream that is learned as it comes in looks the same.
    ## Source
    Bengio, "Practical recommendations for gradient-based training of deep architectures", 2012, section
    3.1, on the order of examples; Bottou, "Stochastic gradient descent tricks", 2012: "randomly shuffle the
    training examples". The measure is F_ST of Wright, 1951; 0.5 is what a batch that is shared by two classes
    cannot reach. The other numbers are judgement.
    """
    for facts in history.labels.values():
        steps, counts = _table(facts)
        if len(steps) < at_least or counts.shape[1] < 2:
            continue
        segregation, odds = composition.segregation(counts), composition.chance_of_composition(counts)
        if not segregation > limit or odds > chance:
            continue
        between = composition.agreement_between(counts)
        next_to = np.flatnonzero(np.diff(steps) == 1)
        lasts = composition.overlap(counts[next_to], counts[next_to + 1]) > between + lasting * (1 - between)
        of_one = float((counts.max(axis=1) == counts.sum(axis=1)).mean())
        if not lasts and (counts.shape[1] < 3 or of_one < pure):
            continue
        within = composition.agreement_within(counts)
        yield Finding(
            "data-not-shuffled",
            Severity.WARNING,
            f"two examples of one batch are of the same class in {within:.0%} of cases, of different batches in "
            f"{between:.0%}: the batches hold one class at a time",
            Location(file=facts.file, line=facts.line),
            int(steps[0]),
            int(steps[-1]),
            {
                "segregation": segregation,
                "limit": limit,
                "same_class_within_batch": within,
                "same_class_between_batches": between,
                "batches_of_one_class": of_one,
                "chance": odds,
                "batches": len(steps),
                "classes": counts.shape[1],
                "optimizer": facts.optimizer,
            },
            cause="The data is sorted by class and read in order, or whole batches are shuffled instead of examples.",
            remedy="Shuffle the examples in every epoch: DataLoader(..., shuffle=True), or a new torch.randperm(N).",
        )


def _table(facts: LabelFacts, fewest: int = 4) -> tuple[Ints, Floats]:
    """Steps of shape (B,) and class counts of shape (B, K), of the batches with at least `fewest` examples."""
    batches = [batch for batch in facts.batches if sum(batch[2]) >= fewest]
    classes = sorted({label for _, labels, _ in batches for label in labels})
    column = {label: index for index, label in enumerate(classes)}
    counts = np.zeros((len(batches), len(classes)))
    for row, (_, labels, numbers) in enumerate(batches):
        counts[row, [column[label] for label in labels]] = numbers
    return np.array([step for step, _, _ in batches], dtype=np.int64), counts
