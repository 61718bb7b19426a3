"""Whether wrong labels are the reason of an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from diagnose.gap._advice import Weighted
from diagnose.gap._error import figure
from diagnose.gap._hyperparameters import drop_of
from diagnose.gap._optimizing import broken
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation


def labels_explain(situation: Situation, error: float) -> bool:
    """Whether suspect labels are many, and explain a good part of `error`, both beyond their noise."""
    suspects, limits = situation.suspects, situation.limits
    if suspects is None or not situation.is_share:
        return False
    surely = suspects.interval().low
    return surely > limits.suspects and surely > limits.suspects_of_error * error


def label_advice(situation: Situation, what: str) -> Recommendation:
    """To look at the suspect labels."""
    suspects = situation.suspects
    if suspects is None:
        reason = (
            f"the {what} stays high with a large model and a training that has settled: the labels may not follow from "
            "the inputs"
        )
    else:
        reason = f"{suspects.text()} of the labels are very likely wrong, beside a {what} of {_error(situation, what)}"
    return Recommendation(
        "fix-labels",
        reason,
        train_error="lower",
        test_error="lower",
        cost="people's time; `mine_mistakes` puts the likeliest wrong ones first",
        caveat="a suspect label is no wrong one: about half are confirmed by people. Correct them, never delete them "
        "unseen, least of all in the test set",
    )


def _error(situation: Situation, what: str) -> str:
    one = situation.train if what == "train error" else situation.test
    return "unknown size" if one is None else figure(one.value, one.is_share)


def suspicion(situation: Situation) -> Iterator[Weighted]:
    """That labels are looked at: they are suspect, or the train error is above the test error."""
    if situation.train is not None and labels_explain(situation, situation.train.value):
        # A model whose training jumps or diverged is no witness against labels.
        doubtful = situation.suspects_of_model and any(broken(situation))
        yield (77.5 if doubtful else 100), label_advice(situation, "train error")
        return
    gap = situation.gap(situation.limits.pipeline_confidence)
    if gap is None or gap.high >= 0 or not situation.is_share:
        return
    # A model fits the labels that it was shown at least as well as others: unless those are worse, or were harder to
    # fit, for dropout or augmentation were on when the error was measured.
    known = situation.hyperparameters
    dropout = known.first("dropout")
    noisy_mode = (dropout is not None and drop_of(dropout) >= 0.2) or known.first("augmentation") is not None
    noisy_mode = noisy_mode or not known.known  # nobody said that there is none
    advice_ = label_advice(situation, "train error")
    reason = (
        f"the train error is above the test error (difference {situation.text(gap)}): the training labels may be worse "
        "than those of the test data; measure it in evaluation mode, without augmentation"
    )
    yield (77 if situation.measured_here or not noisy_mode else 33), replace(advice_, reason=reason)
