"""From what is known to a verdict and its advice, in an order that no later step may skip.

1. Is the model the one that was trained (save and load)?
2. Were the test examples seen in training, or is the test error below what is possible (leak)?
3. Is the test error that of this model on such data (pipeline, distribution)?
4. Is the target met?
5. Is the training error above the target? Nothing about the gap matters before it is not (Goodfellow et al., 11.3).
6. Is there a gap, beyond its noise?

Each step says "not mine" by returning None. Nothing is concluded about a model from an evaluation that is broken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from diagnose.gap._decision import Decision
from diagnose.gap._error import Measured, figure, smallest_n
from diagnose.gap._evaluation import leak, pipeline, save_load
from diagnose.gap._labels import label_advice, labels_explain
from diagnose.gap._met import target
from diagnose.gap._overfitting import overfitting_advice
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation, Verdict
from diagnose.gap._turning import learns_by_heart
from diagnose.gap._underfitting import underfitting_advice
from diagnose.stats.intervals import Interval

_ADVICE_OF_GAPS: Final = frozenset({"more-data", "more-regularization", "less-capacity", "rebalance"})

SAME: Final = 1e-6
"""Errors that differ by less are equal: 35 of 700 in single precision is no more than .05."""
_FITS_HARDER: Final = frozenset({"more-capacity", "higher-lr"})
"""What only makes wrong labels easier to learn by heart (Arpit et al., "A closer look at memorization", 2017)."""
_OPTIMIZATION: Final = frozenset({"lower-lr", "higher-lr", "better-optimization"})


def decide(situation: Situation) -> Decision:
    """What is wrong, and what to change."""
    for step in (save_load, leak, pipeline, target, _train_error, _gap):
        decision = step(situation)
        if decision is not None:
            return decision
    return _nothing(situation)


def _train_error(situation: Situation) -> Decision | None:
    train, wanted = situation.train, situation.reference
    if train is None:
        return _broken_training(situation)
    if wanted is None:
        return _without_target(situation)
    sure = train.interval(situation.limits.train_confidence)
    situation.note(
        "train-error",
        f"Train error {train.text()}, {_wanted(situation)}.",
        train.interval(),
        wanted=wanted,
    )
    if sure.low > wanted:
        seen = None if situation.course.broke_at is not None else learns_by_heart(situation)
        if seen is not None:
            return _by_heart(situation, train, seen)
        return _underfits(situation, train, f"{_wanted(situation)}")
    return _broken_training(situation) if train.value > wanted + SAME else None


def _by_heart(situation: Situation, train: Measured, seen: str) -> Decision:
    """The train error is too high, and lowering it further does not lower the test error: that has been seen.

    A larger model, and a better or longer optimisation, would only go on with it. If people's labels followed from the
    inputs, the train error without what was learned by heart would be lower: either there are too few examples, and the
    gap shows it, or the training labels are wrong.
    """
    gap = situation.gap()
    situation.note("by-heart", f"The model learns examples by heart: {seen}.")
    if gap is not None and gap.low > 0:
        found = overfitting_advice(situation)
        if found:
            verdict: Verdict = "data-quality" if found[0].code == "fix-labels" else "overfitting"
            return Decision(
                verdict,
                f"The training error, {train.text()}, is above the {_wanted(situation)}, but to lower it further does "
                f"not help: {seen}. The gap to the test error is {situation.text(gap)}.",
                tuple(found[:5]),
            )
    advice = replace(
        label_advice(situation, "train error"), reason=f"{seen}: the labels may not follow from the inputs"
    )
    return Decision(
        "data-quality",
        f"The training error is too high, {train.text()} ({_wanted(situation)}), and no better fit will help: {seen}.",
        (advice,),
    )


def _wanted(situation: Situation) -> str:
    wanted = situation.reference or 0.0
    name = "target" if situation.target is not None else "people's error"
    return f"{name} {figure(wanted, situation.is_share)}"


def _broken_training(situation: Situation) -> Decision | None:
    """A training whose loss became NaN needs no error to be judged."""
    if situation.course.broke_at is None:
        return None
    return _of_underfitting(situation, "The training broke down")


def _underfits(situation: Situation, train: Measured, compared: str) -> Decision:
    gap = situation.gap(situation.limits.pipeline_confidence)
    unknown = not situation.measured_here and not situation.hyperparameters.known and not situation.course.known
    if unknown and gap is not None and gap.high < 0 and situation.suspects is None:
        # Nothing is known but a train error that is no train error of this model: no advice rests on that.
        return _within_noise(situation, gap)
    return _of_underfitting(situation, f"The training error is too high, {train.text()} ({compared})")


def _of_underfitting(situation: Situation, what: str) -> Decision:
    found = allowed(underfitting_advice(situation), situation, underfits=True)
    verdict: Verdict = "underfitting"
    if found and found[0].code == "fix-labels":
        verdict = "data-quality"
        found = [one for one in found if one.code not in _FITS_HARDER]
    elif found and found[0].code in _OPTIMIZATION:
        verdict = "optimization-failure"
    first = f": {found[0].reason}" if found else ""
    gap = situation.gap()
    beside = ""
    if gap is not None and gap.low > 0 and situation.test is not None:
        beside = f" The gap to the test error, {situation.text(gap)}, comes after that."
    return Decision(verdict, f"{what}{first}.{beside}", tuple(found[:5]))


def _optimization_failed(situation: Situation) -> bool:
    """Whether the curve shows by itself that the training went wrong, or is not over."""
    found = underfitting_advice(situation)
    course = situation.course
    return bool(found) and found[0].code in _OPTIMIZATION and (course.known or course.broke_at is not None)


def _without_target(situation: Situation) -> Decision | None:
    """Nobody said which error is wanted: what is the larger part of the test error, beyond doubt?

    The test error is the train error plus the gap; the larger part is what to work on (Ng, "Machine Learning Yearning",
    chapters 20 to 27, with 0 for the error that cannot be avoided).
    """
    train, test, gap = situation.train, situation.test, situation.gap()
    if train is None or test is None or gap is None:
        return _broken_training(situation)
    part = train.interval()
    situation.notes.append(
        "No target and no human error was given, so the train error is compared with the gap: give target_error."
    )
    if part.low > max(gap.high, 0.0) and not situation.is_share and not _optimization_failed(situation):
        return Decision(
            "cannot-tell",
            f"The gap, {situation.text(gap)}, is the smaller part of the test loss, {test.text()}; whether the "
            "train loss is too high cannot be told: a loss has no natural zero. Give target_error, or error rates.",
        )
    if part.low > max(gap.high, 0.0):
        text = "and the larger part of the test error; no target was given"
        return _underfits(situation, train, text)
    if situation.course.broke_at is not None:
        return _broken_training(situation)
    if gap.low > part.high:
        return None
    if gap.low <= 0:
        return _within_noise(situation, gap)
    return Decision(
        "cannot-tell",
        f"Train error {train.text()} and gap {situation.text(gap)} are of one size: which to work on depends on the "
        "error that is wanted. Give target_error, or human_error.",
    )


def _gap(situation: Situation) -> Decision | None:
    gap, test, train = situation.gap(), situation.test, situation.train
    if gap is None or test is None or train is None:
        return None
    if gap.low <= 0:
        return _within_noise(situation, gap)
    if _train_may_be_above(situation):
        found = [one for one in underfitting_advice(situation) if one.code in _OPTIMIZATION | {"fix-labels"}]
        return Decision(
            "cannot-tell",
            f"The train error, {train.text()}, may be above the {_wanted(situation)} by as much as the gap, "
            f"{situation.text(gap)}: which to work on cannot be told. Training on lowers the first at no risk.",
            tuple(found[:3]),
        )
    found = allowed(overfitting_advice(situation), situation, underfits=False)
    verdict: Verdict = (
        "data-quality" if labels_explain(situation, gap.value) and found[0].code == "fix-labels" else "overfitting"
    )
    doubt = ""
    if situation.target is not None and test.interval().low <= situation.target:
        doubt = " The test error may be at the target already, within its noise."
    sentence = (
        f"The {test.name}, {test.text()}, is above the {train.name}, {train.text()}, by {situation.text(gap)}: the "
        f"model does not generalise well enough.{doubt}"
    )
    if verdict == "data-quality":
        sentence = f"Wrong labels explain much of the gap: {found[0].reason}."
    return Decision(verdict, sentence, tuple(found[:5]))


def _within_noise(situation: Situation, gap: Interval) -> Decision:
    test, train = situation.test, situation.train
    assert test is not None
    assert train is not None
    if gap.high < 0:
        return Decision(
            "cannot-tell",
            f"The test error, {test.text()}, is below the train error, {train.text()}, which no training does: the "
            "errors were measured in different modes (dropout, augmentation), the train labels are noisier, or the "
            "test data easier. Measure both in eval mode on data without augmentation.",
        )
    needed = None
    if gap.value > 0:
        needed = smallest_n(lambda n: test.with_n(n).minus(train).low > 0, test.n)
    more = f"; about {needed:,} test examples would settle whether there is one" if needed else ""
    situation.note(
        "gap-within-noise",
        f"The gap of {situation.text(gap)} is within its noise{more}.",
        gap,
        test_examples_needed=needed,
    )
    return Decision(
        "cannot-tell",
        f"There is no gap beyond noise: test error minus train error is {situation.text(gap)}{more}.",
    )


def _train_may_be_above(situation: Situation) -> bool:
    """Whether the train error exceeds what is wanted, within its noise, by so much that the gap may be the lesser part.

    Then nothing that raises the train error further is for now. Where the gap is the larger part beyond doubt, it is
    what to work on, for a train error that is not shown to be too high.
    """
    train, wanted, gap = situation.train, situation.reference, situation.gap()
    if train is None or wanted is None or train.value <= wanted + SAME:
        return False
    return gap is None or gap.low <= train.interval(situation.limits.train_confidence).high - wanted


def allowed(found: list[Recommendation], situation: Situation, *, underfits: bool) -> list[Recommendation]:
    """Without what must never be said: see the head of `_underfitting` and of this module."""
    wrong = set(_ADVICE_OF_GAPS) if underfits or _train_may_be_above(situation) else set()
    if not underfits:
        wrong |= {"more-capacity", "less-dropout", "less-weight-decay"}
    return [one for one in found if one.code not in wrong]


def _nothing(situation: Situation) -> Decision:
    missing = [
        name for name, value in (("train_error", situation.train), ("test_error", situation.test)) if value is None
    ]
    if missing:
        return Decision("cannot-tell", f"There is too little to go by: {' and '.join(missing)} would tell more.")
    return Decision("cannot-tell", "Nothing speaks for one cause more than for another.")
