"""train-test-overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import EvaluationRows, History
from diagnose.rules._base import rule
from diagnose.stats import composition


@rule("train-test-overlap")
def train_test_overlap(
    history: History,
    *,
    share: float = 0.05,
    at_least: int = 10,
    beyond_chance: float = 1.5,
    covered: float = 0.9,
) -> Iterator[Finding]:
    """The model is evaluated on rows that it is trained on.

    ## What it does
    Compares the rows that the model is given in the latest evaluation with those of the training steps sampled before
    it, by hashes of their bytes. It speaks if `at_least` = 10 rows and `share` = 5 % of the different rows of the
    evaluation were among them, beyond `beyond_chance` = 1.5 times what chance explains: how often two rows of the
    evaluation itself are equal tells how many any other rows have in common with them. Measurements whose different
    rows share no value in several columns are not equal by chance: where those are, more or fewer of them than a
    finite set of rows drawn from evenly would give, they are copies. An evaluation that takes in
    `covered` = 90 % of the training rows is meant to measure the training error: `info`, if there is no other.
    ## Why it matters
    What was seen in training is recalled, so the measured error is too small, and whatever is chosen by it (a model, a
    stopping time, a threshold) is chosen for how well it memorises.
    ## How to fix
    Split before everything else, once, by index: `perm = torch.randperm(n)`, then `perm[:k]` and `perm[k:]`. Remove
    duplicates and group what belongs together (patients, films, augmented copies) before the split.
    ## Limits
    Rows are equal only if their bytes are: an augmented or resized copy is another row. The rows of training steps that
    were not sampled are unknown, so the share is a lower bound; an estimate of the true one stands beside it. Silent
    for data of few different rows, for batches that are evaluated within a training step (teachers, pseudo-labels,
    policies), for a look at one training batch, for evaluations that draw other rows each time, and where one place
    of the program evaluates the training set and the test set one after the other: some batches are of training rows
    then, the others not, and none is mixed. A single pass over one DataLoader is one set for all that. More than
    32,768 different rows, or 8,192 in one call, are not followed.
    ## Source
    Kapoor & Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", 2023: type L1, no
    clean separation of training and test data. Barz & Denzler, "Do we train on test data?", 2020, find 3 % near
    duplicates in the test set of CIFAR-10: hence 5 %. The other numbers are judgement.
    """
    for name, facts in history.evaluated.items():
        if facts.seen < at_least or not facts.trained:
            continue
        found = facts.seen / facts.distinct
        by_chance = _by_chance(facts)
        if found < share + beyond_chance * by_chance or _is_within_training(facts):
            continue
        others = [other for key, other in history.evaluated.items() if key != name and other.model == facts.model]
        is_training_set = facts.trained_met >= covered * facts.trained
        entirely = found >= covered * min(1.0, max(facts.coverage, 0.3))
        if entirely and (_has_clean(facts, others) or (not is_training_set and _is_a_look(facts))):
            continue
        if _is_of_two_kinds(facts):
            continue
        yield Finding(
            "train-test-overlap",
            Severity.INFO if is_training_set else Severity.WARNING,
            f"{facts.seen} of {facts.distinct} rows that {facts.model} is evaluated on were met in training too"
            + (": this is the training error" if is_training_set else ""),
            Location(file=facts.file, line=facts.line),
            None,
            None,
            {
                "share": found,
                "limit": share + beyond_chance * by_chance,
                "estimated_share": min(1.0, found / facts.coverage) if facts.coverage > 0.1 else None,
                "by_chance": by_chance,
                "rows_evaluated": facts.distinct,
                "rows_in_common": facts.seen,
                "training_rows_known": facts.trained,
                "share_of_training_rows": facts.trained_met / facts.trained,
                "phases": facts.phases,
            },
            cause="The sets were split from each other wrongly, or the data holds rows twice, as after oversampling.",
            remedy="Split by a permutation of the row numbers, before anything is copied or resampled.",
        )


def _by_chance(facts: EvaluationRows) -> float:
    """Share of the evaluated rows that would be met among as many training rows if these were all others.

    Of measurements none would. Whole numbers may well be equal by chance though no two of these rows are: one pair is
    added.
    """
    pairs = facts.rows * (facts.rows - 1) / 2
    if facts.fine and not _is_a_finite_set(facts, pairs):
        return 0.0
    return min(1.0, (facts.equal_pairs + facts.discrete) / pairs * facts.trained) if pairs else 1.0


def _is_a_finite_set(facts: EvaluationRows, pairs: float, sigmas: float = 4.0) -> bool:
    """Whether rows are equal as often as if all were drawn evenly from one finite set, such as the points of a grid.

    Then a training row is met as often, in `trained` trials, as another one of the evaluation is. Copies of some rows
    only (a rare class that was multiplied) make far more equal pairs than that.
    """
    expected = facts.seen / facts.distinct / facts.trained * pairs
    spread = np.sqrt(max(expected, 1.0) + expected**2 / max(facts.seen, 1))
    return bool(facts.equal_pairs > 0 and abs(facts.equal_pairs - expected) <= sigmas * spread)


def _is_within_training(facts: EvaluationRows, repeated: float = 0.8, beside: float = 0.3) -> bool:
    """Whether this is a part of training, or draws other rows each time."""
    return facts.repeated < repeated or facts.beside > beside * facts.phases


def _has_clean(facts: EvaluationRows, others: list[EvaluationRows], clean: float = 0.02, size: float = 0.2) -> bool:
    """Whether there is another evaluation, of rows that were not met in training: then this one is meant."""
    return any(
        (other.seen <= clean * other.distinct and other.distinct >= size * facts.distinct) or _is_of_two_kinds(other)
        for other in others
    )


def _is_a_look(facts: EvaluationRows, fewest: int = 100, smallest: float = 0.05) -> bool:
    """Whether these are some training examples to be shown, rather than a set to be measured on."""
    is_one_batch = len(facts.batches) == 1 and facts.distinct <= facts.training_batch < facts.trained / 2
    return facts.distinct < fewest or facts.distinct < smallest * facts.trained or is_one_batch


def _is_of_two_kinds(
    facts: EvaluationRows, odds: float = 1e-4, sigmas: float = 4.0, clean: float = 0.02, few: int = 5
) -> bool:
    """Whether some batches are of training rows and some of others, and none is mixed: two sets one after the other.

    Of whole numbers a clean set has some rows in common by chance, and no batch can be told to be mixed. What one pass
    over one DataLoader gives is one set: that its overlap ends with a batch is chance.
    """
    if facts.one_loader:
        return False
    counts = np.array([(seen, rows - seen) for rows, seen in facts.batches], dtype=np.float64)
    if composition.chance_of_composition(counts) > odds:
        return False
    sizes = counts.sum(axis=1)
    shares = counts[:, 0] / sizes
    known = shares > clean
    # Of a few batches the mixed one would lower the median.
    level = float(np.median(shares[known]) if known.sum() > few else shares.max())
    mixed = known & (shares < level - sigmas * np.sqrt(level * (1 - level) / sizes) - clean)
    return facts.discrete or (not bool(mixed.any()) and not bool(known.all()))
