"""Whether the target is met."""

from __future__ import annotations

from diagnose.gap._decision import Decision
from diagnose.gap._error import Measured, figure, smallest_n
from diagnose.gap._evaluation import CHECK_SPLIT, check
from diagnose.gap._held_out import held_out_errors
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation


def target(situation: Situation) -> Decision | None:
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
        (check("check-leak", reason, CHECK_SPLIT),),
    )
