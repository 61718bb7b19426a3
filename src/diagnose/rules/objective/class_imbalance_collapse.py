"""class-imbalance-collapse."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, ObjectiveFacts, SamplerFacts
from diagnose.rules._base import rule
from diagnose.rules.objective._calls import evidence, objectives, prior, stream_of, where
from diagnose.stats.curves import mean_and_error

_REWEIGHTED = {"weight", "pos_weight", "label_smoothing"}


@rule(
    "class-imbalance-collapse",
    needs=("answer_share",),
    explains=("loss-not-decreasing", "underfitting", "constant-output"),
)
def class_imbalance_collapse(
    history: History,
    *,
    majority: float = 0.6,
    minority: int = 20,
    window: int = 5,
    min_steps: int = 200,
    limit: float = 0.97,
    error_limit: float = 0.05,
    set_size: int = 100,
) -> Iterator[Finding]:
    """Only the most frequent class is ever predicted, and the loss is that of knowing its frequency.

    ## What it does
    Speaks if three things hold after `min_steps` = 200 steps: one class has `majority` = 60 % of the labels or
    more, and at least `minority` = 20 examples of other classes were seen; in the last `window` = 5 samples every
    example was given that class; and the loss at the end is `limit` = 97 % or more of the entropy of the labels,
    which is what a model gets that knows the frequencies and nothing else, with a standard error of at most
    `error_limit` = 5 %.

    The loss is not asked for if a `WeightedRandomSampler` was made, for `set_size` = 100 examples or more, and nothing
    was ever drawn from it: then the classes were to be balanced, and are not.
    ## Why it matters
    The accuracy looks good, for it is the share of the majority, and nothing about the inputs was learned.
    ## How to fix
    Measure recall per class or balanced accuracy. Weight the loss (`weight`, `pos_weight`), sample the classes
    evenly (`WeightedRandomSampler`), use a focal loss. If the loss does not fall on balanced batches
    either, the fault is another one: learning rate, inputs, labels.
    ## Limits
    Rare events are seldom more likely than not even for a perfect model: it is the loss that decides. Losses
    with class weights or label smoothing, and losses of several terms, are not judged.
    ## Source
    He & Garcia, "Learning from Imbalanced Data", IEEE TKDE 2009. The numbers are judgement: a model whose inputs
    tell something worth having comes to a few per cent below the entropy of the labels.
    """
    for scope, facts in objectives(
        history, "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"
    ):
        shares = prior(facts)
        stream = stream_of(history, facts)
        if not shares or stream is None or facts.reduction != "mean" or _REWEIGHTED & set(facts.options):
            continue
        label = max(shares, key=shares.__getitem__)
        others = sum(facts.labels.values()) - facts.labels[label]
        entropy = -sum(share * math.log(share) for share in shares.values() if share > 0)
        if shares[label] < majority or others < minority or not _answers_only(history, scope, label, window, min_steps):
            continue
        loss = history.series("loss", stream)
        late = loss.values[loss.steps > 0.8 * loss.steps[-1]] if len(loss) else loss.values
        mean, error = mean_and_error(late)
        unused = _unused_sampler(history, set_size)
        if unused is not None:
            yield _of_unused(facts, label, shares[label], unused)
        elif mean >= limit * entropy and error <= error_limit * entropy:
            yield _finding(facts, label, shares[label], mean, entropy, limit)


def _answers_only(history: History, scope: str, label: str, window: int, min_steps: int) -> bool:
    steps, (answers, shares) = history.aligned("answer", "answer_share", scope=scope)
    if len(steps) < window or steps[-1] < min_steps:
        return False
    return bool((answers[-window:] == float(label)).all() and (shares[-window:] == 1.0).all())


def _unused_sampler(history: History, set_size: int) -> SamplerFacts | None:
    """A weighted sampler from which nothing was drawn; None if there is none, or if another one was used."""
    if any(facts.passes for facts in history.samplers):
        return None
    return next((facts for facts in history.samplers if facts.examples >= set_size), None)


def _of_unused(facts: ObjectiveFacts, label: str, share: float, sampler: SamplerFacts) -> Finding:
    return Finding(
        "class-imbalance-collapse",
        Severity.WARNING,
        f"class {label}, with {share:.0%} of the labels, is all that is ever predicted, and nothing was ever drawn "
        "from the WeightedRandomSampler that was made to balance the classes",
        Location(file=sampler.file, line=sampler.line),
        facts.first_step,
        facts.last_step,
        evidence(facts, majority_class=label, majority_share=share, sampler_examples=sampler.examples),
        cause="The sampler was not given to the DataLoader that training reads.",
        remedy="DataLoader(..., sampler=sampler), without shuffle=True.",
    )


def _finding(facts: ObjectiveFacts, label: str, share: float, loss: float, entropy: float, limit: float) -> Finding:
    return Finding(
        "class-imbalance-collapse",
        Severity.WARNING,
        f"class {label}, with {share:.0%} of the labels, is all that is ever predicted, and the loss ({loss:.3g}) is "
        f"that of knowing the frequencies ({entropy:.3g})",
        where(facts),
        facts.first_step,
        facts.last_step,
        evidence(
            facts,
            majority_class=label,
            majority_share=share,
            loss_at_end=loss,
            entropy_of_labels=entropy,
            limit=limit * entropy,
        ),
        cause="The majority class outweighs the others in the loss, or nothing else could be learned.",
        remedy="Weight or sample the classes evenly, and watch recall per class instead of accuracy.",
    )
