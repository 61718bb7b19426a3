"""What mining has found, as findings: labels that are suspect, classes that are confused, groups that fare worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from diagnose.findings import Evidence, Finding, Severity
from diagnose.mistakes._lists import percent, percent_interval
from diagnose.mistakes._scores import Scores
from diagnose.mistakes._suspects import TIERS
from diagnose.stats.intervals import wilson

if TYPE_CHECKING:
    from diagnose.mistakes._confusions import Confusion
    from diagnose.mistakes._mistakes import Mistakes

SUSPECT_LABELS: Final = "suspect-labels"
CONFUSED_CLASSES: Final = "confused-classes"
WEAK_SLICE: Final = "weak-slice"

_SHOWN: Final = 5


def findings(mistakes: Mistakes) -> tuple[Finding, ...]:
    """Findings of the mistakes themselves; those of the data are `Mistakes.problems`."""
    return (*suspect_labels(mistakes.scores), *confused_classes(mistakes), *weak_slices(mistakes))


# ---------------------------------------------------------------------- labels


def suspect_labels(
    scores: Scores, *, least: float = 0.01, flatness: float = 0.15, witness: float = 0.2
) -> tuple[Finding, ...]:
    """Labels of a classification that the model contradicts where it is surest.

    Mistakes of the model's own are where it is unsure: the surest quarter of the examples of a good model has hardly
    any. Wrong labels do not ask how sure the model is, so that they are in the surest quarter as often as elsewhere. So
    what counts is the share of labels in the surest quarter with a margin below -0.5, and nothing is said unless

    - that share is above `least`, by its whole interval. Public test sets with labels checked by people have 3 % of
      wrong ones on average, MNIST .15 % (Northcutt et al., "Pervasive label errors in test sets", 2021);
    - it is not small beside the share of mistakes among the others: at least `flatness` of it. Uniform noise on top of
      a perfect model has 1. Measured (digits, MNIST, tabular and made-up data; 10 and 100 epochs; data held out): 0 to
      .10 with clean labels where models err on less than 30 %, .26 to .55 with 5 % of the labels flipped.

    It is a warning only if the model errs on less than `witness` of all examples, as far as can be told: one that is
    often wrong, and sure of it, is no witness against labels (models that err on 28 to 38 % of clean made-up data have
    the numbers of flipped labels). The mean margins of a tracked training are judged by their own shape: wrong labels
    are a second hill far below 0, where hard examples thin out.
    """
    if scores.task != "classification" or not len(scores):
        return ()
    if scores.source == "training":
        return _of_training(scores, least)
    known = np.flatnonzero((scores.given >= 0) & np.isfinite(scores.margin))
    if len(known) < 4:
        return ()
    sure, wrong = _witness(scores, known)
    # Sorting by confidence, equals by position: the same quarter in each run.
    order = np.argsort(-sure, kind="stable")
    surest, others = order[: len(order) // 4], order[len(order) // 4 :]
    contradicted = wilson(int((scores.margin[known][surest] < TIERS["very-likely"]).sum()), len(surest))
    error, rest = wilson(int(wrong.sum()), len(known)), float(wrong[others].mean())
    if contradicted.low <= least or contradicted.value < flatness * rest:
        return ()
    suspects = int((scores.margin[known] < TIERS["suspect"]).sum())
    is_witness = error.low <= witness
    of = "out-of-fold predictions contradict" if scores.source == "out-of-fold" else "the model contradicts"
    message = (
        f"{suspects:,} of {len(known):,} labels are suspect: even on the quarter of the examples where it is surest, "
        f"{of} {percent_interval(contradicted)} of them."
    )
    evidence: dict[str, Evidence] = {
        "suspects": suspects,
        "contradicted_where_surest": contradicted.value,
        "interval": [contradicted.low, contradicted.high],
        "limit": least,
        "error_of_the_rest": rest,
        "error": error.value,
        "margin_limit": TIERS["suspect"],
        "source": scores.source,
    }
    return (_suspect(message, evidence, Severity.WARNING if is_witness else Severity.INFO, is_witness=is_witness),)


def _witness(scores: Scores, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(how sure what contradicts the labels is, whether it does) for the known rows."""
    if scores.source == "out-of-fold" and scores.probabilities is not None:
        folds = scores.probabilities[known]
        return folds.max(axis=1), folds.argmax(axis=1) != scores.given[known]
    return scores.confidence[known], scores.is_wrong[known]


def _of_training(scores: Scores, least: float) -> tuple[Finding, ...]:
    """By the shape of the mean margins: more below -0.5 than between there and 0, and more than `least` in all."""
    margin = scores.margin[np.isfinite(scores.margin)]
    if not len(margin):
        return ()
    if "suspect" not in scores.limits:
        return ()  # wrong labels cannot be told from hard examples
    low = int((margin < TIERS["very-likely"]).sum())
    between = int((margin < TIERS["look"]).sum()) - low
    share = wilson(low, len(margin))
    if share.low <= least or low <= between:
        return ()
    suspects = int((margin < scores.limits["suspect"]).sum())
    message = (
        f"{suspects:,} of {len(margin):,} labels are suspect: through the training the network preferred another "
        f"class, for {percent_interval(share)} of all by more than half of the probability."
    )
    evidence: dict[str, Evidence] = {
        "suspects": suspects,
        "far_below": low,
        "in_between": between,
        "share": share.value,
        "interval": [share.low, share.high],
        "limit": least,
        "epochs": scores.epochs,
        "source": scores.source,
    }
    return (_suspect(message, evidence, Severity.WARNING, is_witness=True),)


def _suspect(message: str, evidence: dict[str, Evidence], severity: Severity, *, is_witness: bool) -> Finding:
    doubt = "" if is_witness else " The model errs often, so many of these will be its own mistakes."
    return Finding(
        SUSPECT_LABELS,
        severity,
        message + doubt,
        evidence=evidence,
        cause="labels of another example or class, ambiguous examples, or a model that is sure where it is wrong",
        remedy="Look at the first suspects with their inputs, lowest margin first, and correct what people agree is "
        "wrong. Delete nothing unseen, least of all from test data.",
    )


# ---------------------------------------------------------------------- classes


def confused_classes(
    mistakes: Mistakes, *, least: float = 0.1, times: float = 3.0, fewest: int = 5
) -> tuple[Finding, ...]:
    """Pairs of classes of which one is taken for the other far more often than mistakes are spread.

    A pair counts if more than `least` of the class is taken for the other one, by the 99 % interval, and `times` as
    much as if all mistakes of the class were spread evenly over the other classes (which with two classes says nothing
    more). It is a warning where more than half of a class is taken for another one: then it is mistaken rather than
    confused (labels swapped or merged, hardly any examples). Of fewer than `fewest` nothing is said: one of one example
    is all of a class. Nor of a model that is no better than a constant, unless a class is mistaken: it confuses all.
    """
    scores = mistakes.scores
    pairs = [pair for pair in mistakes.confusions if pair.count >= fewest and _is_confused(pair, scores, least, times)]
    if not pairs:
        return ()
    pairs.sort(key=lambda pair: -pair.share.value)
    worst = pairs[0]
    mistaken = wilson(worst.count, worst.of, confidence=0.99).low > 0.5
    if mistakes.is_no_better_than_constant and not mistaken:
        return ()
    names = [f"{mistakes.class_name(pair.given)} for {mistakes.class_name(pair.predicted)}" for pair in pairs]
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return (
        Finding(
            CONFUSED_CLASSES,
            Severity.WARNING if mistaken else Severity.INFO,
            f"The model takes {', '.join(names[:_SHOWN])}{more}: {worst.count:,} of {worst.of:,} of the first "
            f"({percent_interval(worst.share)}).",
            evidence={
                "pairs": [
                    {"given": pair.given, "predicted": pair.predicted, "count": pair.count, "of": pair.of}
                    for pair in pairs
                ],
                "limit": least,
            },
            cause="classes that look alike, few examples of one of them, or labels that were swapped or merged",
            remedy="Look at examples of both classes side by side: can a person tell them apart from what the model is "
            "given? If so, more examples of this pair help most; if not, reconsider the labels.",
        ),
    )


def _is_confused(pair: Confusion, scores: Scores, least: float, times: float) -> bool:
    classes = scores.probabilities.shape[1] if scores.probabilities is not None else len(scores.classes)
    others = max(classes, len(np.unique(scores.given[scores.given >= 0]))) - 1
    of_class = scores.given == pair.given
    evenly = int((of_class & scores.is_wrong).sum()) / pair.of / max(others, 1)
    factor = min(times, others)
    return wilson(pair.count, pair.of, confidence=0.99).low > least and pair.share.value >= factor * evenly


# ---------------------------------------------------------------------- groups


def weak_slices(mistakes: Mistakes, *, alpha: float = 0.01) -> tuple[Finding, ...]:
    """Groups of the metadata whose error is above that of the rest; never more than worth knowing: some are harder.

    Args:
        alpha: of the p-values, which are corrected for all that was tried.
    """
    worse = [part for part in mistakes.slices if part.is_worse and part.p < alpha]
    if not worse:
        return ()
    worst, shares = worse[0], mistakes.scores.has_labels
    what = "error" if shares else "median loss"
    error = percent_interval(worst.error) if shares else str(worst.error)
    rest = percent(worst.rest) if shares else f"{worst.rest:.3g}"
    named = "; ".join(str(part) for part in worse[:_SHOWN])
    more = f" and {len(worse) - _SHOWN} more" if len(worse) > _SHOWN else ""
    return (
        Finding(
            WEAK_SLICE,
            Severity.INFO,
            f"The {what} is higher where {named}{more}: {error} on {worst.size:,} examples of the first, "
            f"{rest} elsewhere.",
            evidence={
                "slices": [
                    {"where": dict(part.where), "size": part.size, "error": part.error.value, "p": part.p}
                    for part in worse
                ],
                "limit": alpha,
                "tried": worst.tried,
            },
            cause="examples that are rare in training, recorded or labelled otherwise, or harder",
            remedy="Compare with how many training examples there are of the group, and look at its examples of "
            "highest loss: more data helps where it is rare, preprocessing where it is recorded otherwise.",
        ),
    )
