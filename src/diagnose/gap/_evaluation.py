"""Whether the test error is what it says: save and load, leaks, the test pipeline, the distribution."""

from __future__ import annotations

from typing import Final

from diagnose.gap._decision import Decision
from diagnose.gap._error import Measured, figure
from diagnose.gap._held_out import held_out_errors
from diagnose.gap._recommendation import Code, Recommendation
from diagnose.gap._situation import Evidence, Situation, Verdict


def check(code: Code, reason: str, caveat: str) -> Recommendation:
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


def save_load(situation: Situation) -> Decision | None:
    found = situation.reloaded or _curve_disagrees(situation)
    if found is None:
        return None
    situation.evidence.setdefault("save-load", found)
    recommendations = [
        check(
            "check-save-load",
            found.message,
            _CHECK_FILE,
        )
    ]
    if situation.reloaded is None:
        recommendations.append(check("check-test-pipeline", found.message, _CHECK_PIPELINE))
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


CHECK_SPLIT: Final = (
    "split before anything is computed from the data, by groups and by time where rows belong together; then measure "
    "again"
)


def leak(situation: Situation) -> Decision | None:
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
    advice = check(
        "check-leak",
        reason,
        CHECK_SPLIT,
    )
    return Decision(
        "leak", f"The test error is better than it should be, or worth nothing: {small(reason)}.", (advice,)
    )


def pipeline(situation: Situation) -> Decision | None:
    limits, test = situation.limits, situation.test
    held = held_out_errors(situation)
    # With classes in other shares, a rare one that is not found makes the errors differ.
    dev = situation.train_dev if situation.rare is not None or held is None else held[0]
    mismatch = situation.mismatches[0] if situation.mismatches else None
    if situation.contradictions:
        found = situation.contradictions[0]
        situation.evidence.setdefault("evaluation", found)
        reason = small(found.message.rstrip("."))
        sentence = f"The evaluation is broken: {reason}."
        return Decision("evaluation-bug", sentence, (check("check-test-pipeline", reason, _CHECK_PIPELINE),))
    if (worse := _worse_than_guessing(situation)) is not None:
        sentence = f"The errors are not those of a model that has learned anything: {worse}."
        return Decision("evaluation-bug", sentence, (check("check-test-pipeline", worse, _CHECK_PIPELINE),))
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
        reasons.append(small(mismatch.message.rstrip(".")))
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
    advice = [check("check-test-pipeline", reason, _CHECK_PIPELINE)]
    if not situation.measured_here and "save-load" not in situation.evidence:
        # Of numbers alone, nobody knows whether the model that was tested is the one that was trained.
        advice.append(check("check-save-load", f"{reason}; if the tested model was loaded from a file", _CHECK_FILE))
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


def small(text: str) -> str:
    """Without a capital at the beginning."""
    return text[:1].lower() + text[1:]
