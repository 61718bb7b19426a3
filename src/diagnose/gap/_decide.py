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

from dataclasses import dataclass, replace
from typing import Final

from diagnose.gap._error import Measured, figure, smallest_n
from diagnose.gap._held_out import held_out_errors
from diagnose.gap._overfitting import overfitting_advice
from diagnose.gap._recommendation import Code, Recommendation
from diagnose.gap._situation import Evidence, Situation, Verdict
from diagnose.gap._turning import learns_by_heart
from diagnose.gap._underfitting import label_advice, labels_explain, underfitting_advice
from diagnose.stats.intervals import Interval

_ADVICE_OF_GAPS: Final = frozenset({"more-data", "more-regularization", "less-capacity", "rebalance"})
SAME: Final = 1e-6
"""Errors that differ by less are equal: 35 of 700 in single precision is no more than .05."""
_OPTIMIZATION: Final = frozenset({"lower-lr", "higher-lr", "better-optimization"})


@dataclass(frozen=True)
class Decision:
    """A verdict with its sentence and advice, the most promising first."""

    verdict: Verdict
    sentence: str
    recommendations: tuple[Recommendation, ...] = ()


def decide(situation: Situation) -> Decision:
    """What is wrong, and what to change."""
    for step in (_save_load, _leak, _pipeline, _target, _train_error, _gap):
        decision = step(situation)
        if decision is not None:
            return decision
    return _nothing(situation)


# ---------------------------------------------------------------------- 1 to 3: is the test error what it says?


def _check(code: Code, reason: str, caveat: str) -> Recommendation:
    return Recommendation(
        code,
        reason,
        train_error="unknown",
        test_error="unknown",
        cost="an hour",
        caveat=caveat,
    )


_CHECK_PIPELINE: Final = (
    "compare one batch of the test loader with one of the training loader: ranges, channel order, label order, mode of "
    "the model; whatever is concluded from the test error before that is void"
)


_CHECK_FILE: Final = (
    "save and load `state_dict()`, look for buffers and plain attributes that are not in it, and call `eval()` after "
    "loading: `diagnose check` names what differs"
)


def _save_load(situation: Situation) -> Decision | None:
    found = situation.reloaded or _curve_disagrees(situation)
    if found is None:
        return None
    situation.evidence.setdefault("save-load", found)
    recommendations = [
        _check(
            "check-save-load",
            found.message,
            _CHECK_FILE,
        )
    ]
    if situation.reloaded is None:
        recommendations.append(_check("check-test-pipeline", found.message, _CHECK_PIPELINE))
    return Decision("save-load-bug", found.message, tuple(recommendations))


def _curve_disagrees(situation: Situation) -> Evidence | None:
    """The error that is measured now, against the last one that the training saw on the same data.

    Only upwards: a curve of the training error is above the measured one wherever dropout or augmentation are on.
    """
    for one, curve in ((situation.train, "train_error"), (situation.test, "test_error")):
        name = situation.curves.given.get(curve, "")
        last = situation.curves.last(curve)
        if one is None or last is None or not one.is_share or (curve == "test_error" and "test" not in name.lower()):
            continue  # a validation set is no test set: it may be easier
        then = Measured(one.name, min(max(last, 0.0), 1.0), one.n)
        sure = one.minus(then, situation.limits.pipeline_confidence)
        if sure.low > situation.limits.pipeline_difference and one.value > 2 * last:
            return Evidence(
                f"The {one.name} is {one.text()}, but at the end of the training it was {figure(last, True)} "
                f"(curves[{name!r}]): the model that is evaluated is not the one that was trained.",
                one.minus(then),
                {"now": one.value, "then": last},
            )
    return None


_CHECK_SPLIT: Final = (
    "split before anything is computed from the data, by groups and by time where rows belong together; then measure "
    "again"
)


def _leak(situation: Situation) -> Decision | None:
    test, human = situation.test, situation.human
    if human is not None and test is not None and human.value > 0:
        difference = human.minus(test, situation.limits.pipeline_confidence)
        if difference.low > 0:
            situation.note(
                "below-human",
                f"The test error is {test.text()}, below the {human.text()} that people reach, or that is the best "
                "possible.",
                human.minus(test),
                test_error=test.value,
                human_error=human.value,
            )
            situation.leaks.append(situation.evidence["below-human"])
    if not situation.leaks:
        return None
    found = situation.leaks[0]
    reason = found.message.rstrip(".")
    advice = _check(
        "check-leak",
        reason,
        _CHECK_SPLIT,
    )
    return Decision(
        "leak", f"The test error is better than it should be, or worth nothing: {_small(reason)}.", (advice,)
    )


def _pipeline(situation: Situation) -> Decision | None:
    limits, test = situation.limits, situation.test
    held = held_out_errors(situation)
    # With classes in other shares, a rare one that is not found makes the errors differ.
    dev = situation.train_dev if situation.rare is not None or held is None else held[0]
    mismatch = situation.mismatches[0] if situation.mismatches else None
    if situation.contradictions:
        found = situation.contradictions[0]
        situation.evidence.setdefault("evaluation", found)
        reason = _small(found.message.rstrip("."))
        sentence = f"The evaluation is broken: {reason}."
        return Decision("evaluation-bug", sentence, (_check("check-test-pipeline", reason, _CHECK_PIPELINE),))
    if (worse := _worse_than_guessing(situation)) is not None:
        sentence = f"The errors are not those of a model that has learned anything: {worse}."
        return Decision("evaluation-bug", sentence, (_check("check-test-pipeline", worse, _CHECK_PIPELINE),))
    if test is None:
        return None
    above_dev = None
    if dev is not None:
        sure = test.minus(dev, limits.pipeline_confidence)
        margin = limits.pipeline_difference if situation.is_share else 0.1 * abs(dev.value)
        above_dev = test.minus(dev)
        situation.note(
            "test-above-train-dev",
            f"Test error minus {dev.name}: {situation.text(above_dev)}.",
            above_dev,
            needed=margin,
        )
        if sure.low <= margin:
            above_dev = None
    chance = _at_chance(situation)
    if above_dev is None and chance is None and mismatch is None:
        return None
    if above_dev is None and chance is None and mismatch is not None:
        # Inputs that can be told apart are a fault only where the test error is not what it should be.
        gap = situation.gap()
        met = situation.target is not None and test.interval().high <= situation.target
        if met or (gap is not None and gap.low <= 0):
            return None
    reasons = []
    if above_dev is not None and dev is not None:
        what = "that of held-out training data" if dev.name != "validation error" else f"the {dev.name}"
        reasons.append(f"the test error, {test.text()}, is {situation.text(above_dev)} above {what}, {dev.text()}")
    if chance is not None:
        reasons.append(chance)
    if mismatch is not None:
        reasons.append(_small(mismatch.message.rstrip(".")))
    reason = "; ".join(reasons)
    # Inputs that were compared, and are alike, leave labels and metric.
    alike = mismatch is None and "told-apart" in situation.evidence
    verdict: Verdict = (
        "evaluation-bug" if mismatch is None and (chance is not None or alike) else "distribution-mismatch"
    )
    what = {
        "distribution-mismatch": "The test data are not like the training data, or are prepared otherwise",
        "evaluation-bug": "The test error is not that of a model that has learned so much: its evaluation is broken",
    }[verdict]
    advice = [_check("check-test-pipeline", reason, _CHECK_PIPELINE)]
    if not situation.measured_here and "save-load" not in situation.evidence:
        # Of numbers alone, nobody knows whether the model that was tested is the one that was trained.
        advice.append(_check("check-save-load", f"{reason}; if the tested model was loaded from a file", _CHECK_FILE))
    return Decision(verdict, f"{what}: {reason}.", tuple(advice))


def _worse_than_guessing(situation: Situation) -> str | None:
    """A training error above that of guessing, beyond doubt: no training does that."""
    train = situation.train
    if situation.classes is None or train is None or not train.is_share or situation.rare is not None:
        return None
    guessing = 1 - 1 / situation.classes
    if train.interval(situation.limits.pipeline_confidence).low <= guessing:
        return None
    return (
        f"the train error, {train.text()}, is above that of guessing among {situation.classes} classes, "
        f"{figure(guessing, True)}: it is an accuracy (give 1 - accuracy), or labels are in another order than answers"
    )


def _at_chance(situation: Situation) -> str | None:
    """Why the test error is one of guessing although the model has learned; None if it is not."""
    test, train, dev = situation.test, situation.train_dev or situation.train, situation.train_dev
    if situation.classes is None or test is None or train is None or not situation.is_share:
        return None
    guessing = 1 - 1 / situation.classes
    learned = train.interval(0.99).high < guessing / 2
    # Of two classes a weak model is near to guessing as well, unless held-out training data say that it is not weak.
    surely = dev is None and situation.classes == 2
    reached = test.interval(0.99).low > guessing if surely else test.value > 0.95 * guessing
    if not learned or not reached:
        return None
    name = "held-out training data" if dev is not None else "the training data"
    return (
        f"the test error, {test.text()}, is that of guessing among {situation.classes} classes "
        f"({figure(guessing, True)}), while the error on {name} is {train.text()}"
    )


def _small(text: str) -> str:
    """Without a capital at the beginning."""
    return text[:1].lower() + text[1:]


# ---------------------------------------------------------------------- 4: the target


def _target(situation: Situation) -> Decision | None:
    test, target = situation.test, situation.target
    if test is None or target is None:
        return None
    interval = test.interval()
    needed = None
    if target in interval:
        needed = smallest_n(lambda n: target not in test.with_n(n).interval(), test.n)
    situation.note(
        "target",
        f"Test error {test.text()}, target {figure(target, situation.is_share)}"
        + (f"; about {needed:,} test examples would tell them apart." if needed else "."),
        interval,
        target=target,
        test_examples_needed=needed,
    )
    if interval.high <= target:
        if (too_good := _better_than_held_out(situation, test)) is not None:
            return too_good
        sentence = (
            f"The target is met: the test error is {test.text()}, the target {figure(target, situation.is_share)}."
        )
        reason = f"the interval of the test error, {test.text()}, lies at or below the target"
        return Decision(
            "target-met",
            sentence,
            (
                Recommendation(
                    "target-met", reason, train_error="same", test_error="same", caveat=_met_caveat(situation)
                ),
            ),
        )
    if test.value <= target:
        more = f": about {needed:,} test examples would tell" if needed else ""
        return Decision(
            "cannot-tell",
            f"Whether the target of {figure(target, situation.is_share)} is met is within the noise of the test error, "
            f"{test.text()}{more}.",
        )
    return None


def _met_caveat(situation: Situation) -> str:
    caveat = "one test set, used once"
    if situation.measured_here:
        return caveat
    return (
        f"{caveat}; numbers cannot tell whether test examples, or their labels, were seen in training: give model, "
        "train_data and test_data to have them compared"
    )


def _better_than_held_out(situation: Situation, test: Measured) -> Decision | None:
    """A test error below that of held-out training data, beyond doubt, is no proof that the target is met."""
    held = held_out_errors(situation)
    if held is None:
        return None
    dev, limits = held[1], situation.limits
    sure = dev.minus(test, limits.pipeline_confidence)
    if not situation.is_share or sure.low <= limits.pipeline_difference:
        return None
    reason = f"the test error, {test.text()}, is {situation.text(dev.minus(test))} below the {dev.name}, {dev.text()}"
    situation.note("test-below-held-out", f"{reason[:1].upper()}{reason[1:]}.", dev.minus(test))
    return Decision(
        "leak",
        f"The test error would meet the target, but it is better than it should be: {reason}. The test examples are "
        "like training examples (rows of one group, copies), or easier than they; or the training labels are worse.",
        (_check("check-leak", reason, _CHECK_SPLIT),),
    )


# ---------------------------------------------------------------------- 5: the training error


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


# ---------------------------------------------------------------------- 6: the gap


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


# ---------------------------------------------------------------------- nothing to go by


def _nothing(situation: Situation) -> Decision:
    missing = [
        name for name, value in (("train_error", situation.train), ("test_error", situation.test)) if value is None
    ]
    if missing:
        return Decision("cannot-tell", f"There is too little to go by: {' and '.join(missing)} would tell more.")
    return Decision("cannot-tell", "Nothing speaks for one cause more than for another.")
