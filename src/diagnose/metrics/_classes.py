"""Metrics of decisions: accuracy and error rate, precision, recall, F-beta.

A confusion matrix is one `bincount`, so nothing but NumPy is needed here; the tests compare with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from diagnose.errors import MetricError
from diagnose.metrics._inputs import Answers, Floats, Ints, answers
from diagnose.metrics._result import Metric
from diagnose.stats.bootstrap import bootstrap
from diagnose.stats.intervals import CONFIDENCE, Interval, mean_share, smoothed_shares, wilson

Average: TypeAlias = Literal["binary", "macro", "micro"]
Kind: TypeAlias = Literal["precision", "recall", "f"]


@dataclass(frozen=True)
class Counts:
    """How often each class was found, invented and missed: true positives, false positives, false negatives, (K,)."""

    tp: Floats
    fp: Floats
    fn: Floats

    @classmethod
    def of(cls, said: Answers) -> Counts:
        if said.task == "multilabel":
            right, given = said.labels, said.predicted
            tp = (right & given).sum(0)
            return cls(*(x.astype(float) for x in (tp, given.sum(0) - tp, right.sum(0) - tp)))
        # Not from the confusion matrix, which has no room for a vocabulary.
        count = len(said.names)
        tp = np.bincount(said.labels[said.labels == said.predicted], minlength=count)
        predicted, there = (np.bincount(part, minlength=count) for part in (said.predicted, said.labels))
        return cls(*(x.astype(float) for x in (tp, predicted - tp, there - tp)))


def confusion_matrix(said: Answers) -> Ints:
    """Shape (K, K): examples by class (rows) and predicted class."""
    count = len(said.names)
    return np.bincount(said.labels * count + said.predicted, minlength=count**2).reshape(count, count)


def accuracy(
    predictions: Any,
    labels: Any,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Metric:
    """The share of examples that are predicted right, with Wilson's interval.

    Of several labels per example, all have to be right; `details["labels"]` is the share of single labels.

    Args:
        predictions: class numbers, shape (N,); or scores: (N, K), of which the largest is predicted, or the probability
            of class 1, (N,). With labels of shape (N, K), the probability of each label, or 0 and 1 as integers.
        labels: class numbers, (N,); or 0 and 1 of labels that do not exclude each other, (N, K).
        threshold: the probability from which class 1, or a label, is predicted.
        from_logits: scores are logits.
        confidence: of the interval.

    Raises:
        MetricError: the arguments do not fit each other or hold NaN; labels are out of range; scores that are to be
            compared with `threshold` are no probabilities; there are no examples.
    """
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits)
    return share_right(said, confidence)


def error_rate(
    predictions: Any,
    labels: Any,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Metric:
    """The share of examples that are predicted wrong: 1 - accuracy. Arguments and errors as for `accuracy`."""
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits)
    right = share_right(said, confidence)
    count = len(said)
    wrong = wilson(count - round(right.value * count), count, confidence=confidence)
    return Metric.of("error rate", wrong, count, method="Wilson")


def share_right(said: Answers, confidence: float) -> Metric:
    """The accuracy of checked answers."""
    same = said.labels == said.predicted
    right = same.all(1) if same.ndim == 2 else same
    details = {"labels": float(same.mean())} if same.ndim == 2 else {}
    share = wilson(int(right.sum()), len(right), confidence=confidence)
    return Metric.of("accuracy", share, len(right), method="Wilson", details=details)


def precision(
    predictions: Any,
    labels: Any,
    *,
    average: Average | None = None,
    positive: int | None = None,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Metric:
    """The share of what is predicted positive that is positive: how far a detection can be believed.

    Args:
        predictions, labels, threshold, from_logits, confidence: as for `accuracy`.
        average: "binary", of the class `positive`; "macro", the mean over classes or labels, each weighted alike;
            "micro", over all decisions together, for classes that exclude each other the accuracy. By default "binary"
            for two classes, else "macro".
        positive: the class that counts as positive, by default 1; given, it implies "binary".

    Returns:
        nan with a reason where nothing is predicted positive. In a macro mean, a class that has examples and is never
        predicted counts as 0, as in scikit-learn; one that has none and is never predicted is left out.

    Intervals: Wilson's for one class, and for the macro mean over classes, with as many trials as fit its variance.
        Labels of one example go together, so for multilabel data examples are resampled.

    Raises:
        MetricError: as for `accuracy`.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", section 11.1.
    """
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits)
    return measured(said, "precision", 1.0, average, positive, confidence)


def recall(
    predictions: Any,
    labels: Any,
    *,
    average: Average | None = None,
    positive: int | None = None,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Metric:
    """The share of what is positive that is predicted so: how many of the rare events are found.

    The macro mean over classes is also called balanced accuracy.

    Returns:
        nan with a reason where nothing is positive; a class without examples is left out of a macro mean.

    Arguments, intervals and errors: as for `precision`.
    """
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits)
    return measured(said, "recall", 1.0, average, positive, confidence)


def f_beta(
    predictions: Any,
    labels: Any,
    *,
    beta: float = 1.0,
    average: Average | None = None,
    positive: int | None = None,
    threshold: float = 0.5,
    from_logits: bool = False,
    confidence: float = CONFIDENCE,
) -> Metric:
    """The harmonic mean of precision and recall, recall weighted `beta` squared times: F1 for `beta` 1.

    Args:
        beta: above 0; 2 if a miss is worse than a false alarm, 0.5 if it is the other way round.

    Returns:
        nan with a reason where nothing is positive and nothing is predicted so.

    Intervals: F1 is 2 J / (1 + J) of the share J = TP / (TP + FP + FN), so it gets Wilson's, of J. For another beta see
        `f_interval`. In a macro mean over classes an example that is wrong counts for two of them, which at most
        doubles the variance; it is taken to.

    Other arguments and errors: as for `precision`.
    """
    if not (beta > 0 and math.isfinite(beta)):
        raise MetricError(f"beta is {beta}, and has to be above 0: below 1 precision counts more, above 1 recall.")
    said = answers(predictions, labels, threshold=threshold, from_logits=from_logits)
    return measured(said, "f", beta, average, positive, confidence)


# ---------------------------------------------------------------------- of checked answers


def measured(
    said: Answers, kind: Kind, beta: float, average: Average | None, positive: int | None, confidence: float
) -> Metric:
    """Precision, recall or F-beta of checked answers, averaged as asked for."""
    how = average or ("binary" if said.task == "binary" or positive is not None else "macro")
    if how not in get_args(Average):
        raise MetricError(f"average is {average!r}, and has to be one of {', '.join(get_args(Average))}.")
    if positive is not None and (how != "binary" or not 0 <= positive < len(said.names)):
        raise MetricError(
            f"positive is {positive} with average {how!r}: it is a class from 0 to {len(said.names) - 1}, "
            "and goes with average 'binary'."
        )
    if how == "binary":
        if positive is None and said.task != "binary":
            raise MetricError(f"average 'binary' needs positive=..., one of the {len(said.names)} classes.")
        return of_class(said, Counts.of(said), 1 if positive is None else positive, kind, beta, confidence)
    if said.task == "multilabel":
        return _of_labels(said, kind, beta, how, confidence)
    return _micro(said, kind, beta, confidence) if how == "micro" else _macro(said, kind, beta, confidence)


def of_class(said: Answers, counts: Counts, number: int, kind: Kind, beta: float, confidence: float) -> Metric:
    """Of one class against all others."""
    tp, fp, fn = (float(part[number]) for part in (counts.tp, counts.fp, counts.fn))
    default = said.task == "binary" and number == 1 and said.names == ("0", "1")
    name = title(kind, beta) + ("" if default else f" of {said.names[number]}")
    details = {"true_positives": int(tp), "false_positives": int(fp), "false_negatives": int(fn)}
    unit, trials, lack = {
        "precision": ("predicted positive", tp + fp, "no example is predicted positive"),
        "recall": ("positives", tp + fn, "no example is positive"),
        "f": ("positive or predicted so", tp + fp + fn, "no example is positive, and none is predicted so"),
    }[kind]
    if not trials:
        return Metric.undefined(name, f"{lack} (of {len(said)})", 0, unit=unit, details=details)
    interval = f_interval(tp, fp, fn, beta, confidence) if kind == "f" else wilson(tp, trials, confidence=confidence)
    return Metric.of(name, interval, int(trials), unit=unit, method="Wilson", details=details)


def f_interval(tp: float, fp: float, fn: float, beta: float, confidence: float) -> Interval:
    """F-beta with an interval; at least one of the counts is above 0.

    F = TP / (TP + W) with the weighted mistakes W = (beta^2 FN + FP) / (1 + beta^2). To first order the variance of
    log TP / W is that of log TP / E with E = W^2 / sum of squared weights of the mistakes, their effective number
    (Kish, "Survey Sampling", 1965). So F has the interval of the share TP / (TP + E), with odds multiplied by E / W.
    For beta 1, E is FP + FN, and this is exact.
    """
    miss, alarm = beta**2 / (1 + beta**2), 1 / (1 + beta**2)
    weighted = miss * fn + alarm * fp
    value = tp / (tp + weighted)
    # Half a mistake of each sort is added where the sorts are compared: one that was not seen may be met yet.
    factor = (miss * (fn + 0.5) + alarm * (fp + 0.5)) / (miss**2 * (fn + 0.5) + alarm**2 * (fp + 0.5))
    effective = weighted * factor
    share = wilson(tp, tp + effective, confidence=confidence)
    low, high = (end * factor / (end * factor + 1 - end) if end < 1 else 1.0 for end in (share.low, share.high))
    return Interval(value, min(low, value), max(high, value), confidence)


def title(kind: Kind, beta: float) -> str:
    return f"F{beta:g}" if kind == "f" else kind


def _macro(said: Answers, kind: Kind, beta: float, confidence: float) -> Metric:
    counts = Counts.of(said)
    name = f"macro {title(kind, beta)}"
    shares, trials = _shares(counts, kind, beta)
    used = (trials > 0) | ((counts.fn > 0) if kind == "precision" else False)
    if not used.any():
        return Metric.undefined(name, "no class has examples", len(said))
    found = _mean_share(shares[used], np.maximum(trials[used], 1.0), kind, beta, confidence)
    return Metric.of(
        name,
        found,
        len(said),
        method="Wilson, effective trials",
        note=_note(said, counts, kind, np.flatnonzero(~used).tolist()),
        details={"classes": int(used.sum())},
    )


def _shares(counts: Counts, kind: Kind, beta: float) -> tuple[Floats, Floats]:
    """Of each class, its precision, recall or F, 0 where it is undefined, and out of how many trials."""
    weighted = {"precision": counts.fp, "recall": counts.fn, "f": (beta**2 * counts.fn + counts.fp) / (1 + beta**2)}
    trials = counts.tp + {**weighted, "f": counts.fp + counts.fn}[kind]
    whole = counts.tp + weighted[kind]
    return np.divide(counts.tp, whole, out=np.zeros_like(whole), where=whole > 0), trials


def _mean_share(shares: Floats, trials: Floats, kind: Kind, beta: float, confidence: float) -> Interval:
    """The macro mean. Precisions are of different predictions, recalls of different examples.

    F1 is 2 J / (1 + J) of a share J of the trials. An example that is wrong counts for two classes, a false positive
    of one and a false negative of the other, and the F of both falls: (a + b)^2 <= 2 (a^2 + b^2), so the variance is at
    most twice that of independent classes.
    """
    if kind != "f":
        smooth = smoothed_shares(shares, trials)
        variance = float((smooth * (1 - smooth) / trials).sum()) / len(shares) ** 2
        return mean_share(float(shares.mean()), float(smooth.mean()), variance, confidence=confidence)
    parts = smoothed_shares(shares / (2 - shares), trials)
    slope = 2 / (1 + parts) ** 2
    # Misses and false alarms that weigh differently scatter more, at most as if all were of the heavier sort.
    heavier = 2 * max(beta**2, 1.0) / (1 + beta**2)
    variance = 2 * heavier * float((slope**2 * parts * (1 - parts) / trials).sum()) / len(shares) ** 2
    smoothed = float((2 * parts / (1 + parts)).mean())
    return mean_share(float(shares.mean()), smoothed, variance, confidence=confidence)


def _parts(
    said: Answers, counts: Counts, kind: Kind, beta: float, confidence: float
) -> tuple[list[Interval], list[int]]:
    """The classes for a macro mean, and the numbers of those that are left out."""
    parts, without = [], []
    for number in range(len(said.names)):
        one = of_class(said, counts, number, kind, beta, confidence)
        if one.reason is None:
            parts.append(one.interval)
        elif kind == "precision" and counts.fn[number]:
            parts.append(Interval(0.0, 0.0, 1.0, confidence))
        else:
            without.append(number)
    return parts, without


def _note(said: Answers, counts: Counts, kind: Kind, without: Sequence[int]) -> str:
    notes = []
    if without:
        notes.append(f"left out, as they have no examples: {listed(said, without)}")
    never = np.flatnonzero((counts.tp + counts.fp == 0) & (counts.fn > 0)).tolist()
    if never and kind != "recall":
        notes.append(f"never predicted, counted as 0: {listed(said, never)}")
    return "; ".join(notes)


def listed(said: Answers, numbers: Sequence[int], most: int = 8) -> str:
    """The names of some classes."""
    shown = ", ".join(said.names[number] for number in numbers[:most])
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


def _micro(said: Answers, kind: Kind, beta: float, confidence: float) -> Metric:
    right = share_right(said, confidence)
    note = "every mistake is a false positive and a false negative, so this is the accuracy"
    return Metric.of(f"micro {title(kind, beta)}", right.interval, len(said), method="Wilson", note=note)


def _of_labels(said: Answers, kind: Kind, beta: float, how: Average, confidence: float) -> Metric:
    """Averages over labels that do not exclude each other; examples are resampled, with all their labels."""
    name = f"{how} {title(kind, beta)}"
    counts = Counts.of(said)
    parts, without = _parts(said, counts, kind, beta, confidence)
    _, trials = _shares(counts, kind, beta)
    if not parts or (how == "micro" and not trials.any()):
        lack = "predicted" if kind == "precision" else "given" if kind == "recall" else "given or predicted"
        return Metric.undefined(name, f"no label is {lack} (of {len(said)} examples)", len(said))
    right, given = said.labels, said.predicted
    both = right & given
    features = np.concatenate([both, given - both, right - both], 1).astype(np.float64)
    if how == "micro":
        features = features.reshape(len(said), 3, -1).sum(2)
    found = bootstrap(features, _averaged(kind, beta, how))
    low, high = found.percentiles(confidence)
    method = "bootstrap over examples"
    if found.is_blind:
        # No mistake, or nothing right. Labels of one example may all depend on each other: then it counts once.
        counted = int((features.sum(1) > 0).sum()) if how == "micro" else 0
        one = wilson(found.value * counted, counted, confidence=confidence) if counted else None
        low = one.low if one else float(np.mean([part.low for part in parts]))
        high = one.high if one else float(np.mean([part.high for part in parts]))
        method = "Wilson, labels taken to depend on each other"
    note = _note(said, counts, kind, without) if how == "macro" else ""
    return Metric(name, found.value, low, high, confidence, len(said), method=method, note=note)


def _averaged(kind: Kind, beta: float, how: Average) -> Callable[[Floats], Floats]:
    """The macro mean of sums of shape (B, 3 K): of true positives, false positives, false negatives."""

    def statistic(sums: Floats) -> Floats:
        tp, fp, fn = np.split(sums, 3, axis=1)
        extra = {"precision": fp, "recall": fn, "f": (beta**2 * fn + fp) / (1 + beta**2)}[kind]
        # In a macro mean a label that is there and is never predicted has precision 0, as for classes.
        seen = tp + fp + fn > 0 if kind != "recall" and how == "macro" else tp + extra > 0
        shares = np.divide(tp, tp + extra, out=np.zeros_like(tp), where=tp + extra > 0)
        number = seen.sum(1)
        total = np.where(seen, shares, 0.0).sum(1)
        mean: Floats = np.divide(total, number, out=np.full(len(sums), np.nan), where=number > 0)
        return mean

    return statistic
