"""labels-misaligned."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import AccuracyFacts, History
from diagnose.rules._base import rule
from diagnose.rules.data._success import class_entropy, left_to_learn
from diagnose.rules.loss._counterfactuals import (
    can_fit,
    fit_evidence,
    fit_of,
    is_no_better,
    knows_its_targets,
    pairing_of,
)

# No step is the right one where there is nothing to learn.
_SYMPTOMS = (
    "loss-not-decreasing", "underfitting", "overfitting", "constant-output", "class-imbalance-collapse",
    "update-too-large",
)  # fmt: skip


@rule("labels-misaligned", explains=_SYMPTOMS)
def labels_misaligned(
    history: History,
    *,
    kept: float = 0.2,
    at_least: int = 100,
    twins: float = 0.02,
    min_rows: int = 300,
    followed: float = 2.0,
    moved: float = 6.0,
    unlearned: float = 0.99,
    structured: float = 0.9,
    no_better: float = 3.0,
    renamed: float = 0.01,
) -> Iterator[Finding]:
    """Inputs and labels do not belong together: they were shuffled apart, moved against one another, or mixed up.

    ## What it does
    Asks two questions. *Do the same inputs keep their labels?* Knows rows of the training data again by their bytes
    and compares the label with that of the first time. Of `at_least` = 100 rows that were met again, so few have kept
    their label that it is less than `kept` = 20 % of the way from what chance gives, with the class frequencies of
    the run, to all of them.

    *Do near inputs have the same label?* Among at least `min_rows` = 300 different images or rows of a table, the
    labels of nearest neighbours agree as often as permuted ones would (less than `followed` = 2 standard deviations
    more often). It speaks if they agree by `moved` = 6 standard deviations once the labels of each batch are moved by
    up to three places, or reversed; or if neither a ridge regression on the columns and their squares nor the network
    found anything in the inputs. The network's loss ends at `unlearned` = 99 % or more of the entropy of the classes in
    every evaluation; where no loss is evaluated, its answers are never right more often than permuted ones would be, by
    `no_better` = 3 standard deviations (if the program compares them with labels by `==`), or only in passing, in less
    than half of the evaluations and not in the last, while more than `renamed` = 1 % of all ways to rename the classes
    would be as right; or else its loss in training ends there. For that the inputs must have a structure of their own:
    nearest neighbours are at most `structured` = 90 % as far apart as they would be if the columns were independent. In
    noise, which rows are near means nothing: labels that depend on it may be hard to learn, or drawn to try something
    out.
    Two experiments make it surer where they were made: labels permuted among the examples of a batch fit the outputs
    as well as their own, and copies of the weights can learn a few examples by heart, so that it is not the network.
    If own labels fit a tenth better or more, the network knows something, and the rule is silent.
    ## Why it matters
    There is nothing to learn: the best answer is the class frequencies, whatever the input. The loss falls to that of
    guessing and stays, though each batch looks right.
    ## How to fix
    Index inputs and labels with the same permutation, or put both into one data set: `TensorDataset(inputs, labels)`.
    Two loaders, or two calls of `randperm`, shuffle them apart.
    ## Limits
    By the first question only what changes from one time to the next is seen: labels that were permuted once, before
    training, stay as they are. Inputs must be floating point tensors and unchanged, so augmented ones are not judged,
    nor are rows of which `twins` = 2 % have an equal one in the same batch; ids recur with other labels by nature.
    Labels that are drawn anew on purpose look the same. The second question is asked of plain images and tables only.
    Of a task that neither neighbours nor the network can do at all, it cannot say whether it is hard or its labels
    are wrong: of inputs without structure it says nothing then, and `loss-not-decreasing` speaks for it. Nor is labels'
    wrong order seen that the network learns by heart, where no evaluation is seen.
    ## Source
    Zhang, Bengio, Hardt, Recht & Vinyals, "Understanding deep learning requires rethinking generalization", 2017: fixed
    random labels are learned by heart, so it is the change that leaves nothing to learn. The numbers are judgement:
    100 rows tell 20 % from chance by more than three standard errors; annotators who disagree keep far more. Cover &
    Hart, "Nearest neighbor pattern classification", 1967: with enough data the nearest neighbour errs at most twice as
    often as can be helped. 2 deviations are what chance alone exceeds once in 40 times; 6 allow for seven tries. The
    nearest neighbours in noise of 4 to 256 columns are 0.94 to 1.08 times as far apart as with independent columns; in
    digits, wines, tumours, series and prototypes with noise 0.4 to 0.89: hence 90 %.
    A network that has learned wrong labels by heart answers alike what is alike, so that it is right or wrong by whole
    clusters. Of 20 networks trained on permuted digits, 9 were right by 3 to 11 standard deviations in passing; for 8
    of these 4 % or more of the renamings would have been as right, while it was 1 % or less for all that knew something
    beyond 3, of digits with 90 % of wrong labels or of sums of two digits.
    """
    # What says most comes first: how labels are moved, that they change, that nothing connects them.
    found = list(_strangers(history, min_rows, followed, moved, unlearned, structured, no_better, renamed))
    certain = [finding for finding in found if finding.severity is Severity.ERROR]
    yield from certain or list(_shuffled_anew(history, kept, at_least, twins)) or found


def _shuffled_anew(history: History, kept: float, at_least: int, twins: float) -> Iterator[Finding]:
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


def _strangers(
    history: History,
    min_rows: int,
    followed: float,
    moved: float,
    unlearned: float,
    structured: float,
    no_better: float,
    renamed: float,
) -> Iterator[Finding]:
    for facts in history.neighbours.values():
        if facts.rows < min_rows or facts.classes < 2 or facts.sigmas >= followed:
            continue
        evidence: dict[str, Evidence] = {
            "neighbours_agree": facts.agree,
            "by_chance": facts.by_chance,
            "sigmas": facts.sigmas,
            "limit": followed,
            "rows": facts.rows,
            "nearness": facts.nearness,
            "optimizer": facts.optimizer,
        }
        where = Location(file=facts.file, line=facts.line)
        if facts.moved_sigmas >= moved:
            yield Finding(
                "labels-misaligned",
                Severity.ERROR,
                f"the labels follow the inputs once they are {facts.moved} within each batch: then "
                f"{facts.moved_agree:.0%} of nearest neighbours agree, now {facts.agree:.0%}, by chance "
                f"{facts.by_chance:.0%}",
                where,
                None,
                None,
                {**evidence, "moved": facts.moved, "agree_when_moved": facts.moved_agree},
                cause="Labels are offset against their inputs, or one of the two is reversed.",
                remedy="Compare some inputs with their labels by eye, right where the loss is called.",
            )
        elif (
            facts.nearness <= structured
            and facts.fitted_sigmas < followed
            and _nothing_found(history, facts.optimizer, unlearned, no_better, renamed)
        ):
            pairing, fit = pairing_of(history, facts.optimizer), fit_of(history, facts.optimizer)
            shown = ""
            if pairing is not None and is_no_better(pairing) and fit is not None and can_fit(fit):
                shown = (
                    f": on {pairing.batches} batches permuted labels fit as well as their own, though copies of its "
                    f"weights learn {fit.examples} examples by heart"
                )
            yield Finding(
                "labels-misaligned",
                Severity.WARNING,
                f"labels do not follow inputs: {facts.agree:.0%} of nearest neighbours agree, by chance "
                f"{facts.by_chance:.0%}, and the network finds nothing in the inputs either{shown}",
                where,
                None,
                None,
                evidence | fit_evidence(fit, pairing),
                cause="Inputs or labels were permuted, sorted or filtered without the other; or the inputs hold "
                "nothing that tells the label.",
                remedy="Compare some inputs with their labels by eye, right where the loss is called.",
            )


def _nothing_found(
    history: History,
    optimizer: str,
    unlearned: float,
    no_better: float,
    renamed: float,
    fewest: int = 100,
    constant: float = 0.9,
) -> bool:
    """Whether the network does no better than the frequencies of the classes: in evaluation, else in training."""
    entropy = class_entropy(history, optimizer)
    evaluated = [
        float(history.series("eval_loss", scope).values.min())
        for scope, facts in history.evaluations.items()
        if facts.optimizer == optimizer and len(history.series("eval_loss", scope))
    ]
    if evaluated and entropy > 0:
        return min(evaluated) >= unlearned * entropy
    # Answers that are nearly all the same are right by chance only, whatever was found.
    known = [a for a in history.accuracies.values() if a.examples >= fewest and a.by_chance < constant]
    if known:
        return not any(_is_right(a, no_better, renamed) for a in known)
    pairing = pairing_of(history, optimizer)
    if pairing is not None and knows_its_targets(pairing):
        return False
    return left_to_learn(history, optimizer) >= unlearned


def _is_right(facts: AccuracyFacts, no_better: float, renamed: float, fewest: int = 4) -> bool:
    """Whether answers are right beyond chance; once, by chance of a whole class, is not enough where there are many."""
    if facts.sigmas < no_better:
        return False
    often = [sigmas >= no_better for sigmas in facts.course]
    passing = len(often) >= fewest and not often[-1] and sum(often) < 0.5 * len(often)
    return not (passing and facts.renamed > renamed)
