"""What to change while the training error is above the target: the optimisation, the regularisation, the capacity.

Each cause that the evidence allows is a candidate with a weight; weights only order them. What was seen (wrong labels,
a loss that broke, an experiment) comes before what was inferred from a curve, that before what a value makes likely,
and what is free to undo (regularisation, learning rate) before what costs time and memory (capacity).

Source: Goodfellow et al., "Deep Learning", sections 11.3 (more data only when the training error is fine; labels, if
large models and a tuned optimisation do not help) and 11.4 with table 11.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from diagnose.gap._capacity import TABLE
from diagnose.gap._error import Measured, figure
from diagnose.gap._hyperparameters import Hyperparameter, drop_of
from diagnose.gap._recommendation import Code, Recommendation
from diagnose.gap._situation import ProbeResult, Situation
from diagnose.gap._values import (
    has_headroom,
    higher_rate,
    is_decoupled,
    larger,
    less_regularized,
    lower_rate,
    padding_for,
    rate_is,
    usual_rates,
)

Weighted: TypeAlias = "tuple[float, Recommendation]"

_ENOUGH_UNITS: Final = 64
_MANY_UNITS: Final = 256
_TINY: Final = 8
"""Units below which a layer is narrow for any data with more than a few features: the width, not the rate, is the
likelier limit. From `_MANY_UNITS` on it is not likely to be the limit at all for small data."""
_STRAIGHT: Final = 0.35
"""Share of the fall in the second half from which a curve is nearer to a straight line than to one that settles."""
_BENDING: Final = 0.1
"""The same for a curve that bends, but has not settled: weaker evidence, by which a wide model is trained on first."""
_SOME: Final = 0.1
"""A network has learned something once its loss is a tenth below the start: less the output bias alone gains."""
_LATE_STEPS: Final = 0.02
"""Share of the sum of all learning rates in the second half of the training, below which that half counts for nothing:
an epoch of the first half weighs as much as all of it if there are fifty."""
_SMOOTH: Final = 0.03
"""A loss that scatters by less than this from epoch to epoch has room for a larger learning rate."""


def underfitting_advice(situation: Situation) -> list[Recommendation]:
    """What to change, the likeliest first; each code and hyperparameter once."""
    found = [
        *_labels(situation),
        *_probed(situation),
        *_broken(situation),
        *_regularization(situation),
        *_rate(situation),
        *_capacity(situation),
        *_last(situation),
    ]
    found.sort(key=lambda pair: -pair[0])
    refuted = set(_refuted(situation))
    return once(one for _, one in found if not {(one.code, one.hyperparameter), (one.code, None)} & refuted)


def _refuted(situation: Situation) -> Iterator[tuple[Code, str | None]]:
    """(code, hyperparameter) of the changes that were tried, and did not help: an experiment says more than a curve.

    There is one learning rate, whatever it is called; that a wider layer did not help says nothing of a kernel.
    """
    for probe in situation.probes:
        gain = probe.gain("test") or probe.gain("train")
        code = _CODE_OF_PROBE.get((probe.kind, _went_up(probe)))
        if code is not None and gain is not None and gain.value <= 0:
            yield code, None if probe.kind == "learning-rate" else probe.hyperparameter


def once(found: Iterator[Recommendation]) -> list[Recommendation]:
    """Without doubles of a code and hyperparameter."""
    kept: dict[tuple[str, str | None], Recommendation] = {}
    for one in found:
        same = [key for key in kept if key[0] == one.code and (one.hyperparameter is None or key[1] is None)]
        if not same:
            kept.setdefault((one.code, one.hyperparameter), one)
    return list(kept.values())


def advice(
    code: Code, reason: str, one: Hyperparameter | None = None, kind: str | None = None, **options: object
) -> Recommendation:
    """A recommendation with what table 11.1 says of its hyperparameter."""
    kind = one.kind if one is not None else kind
    row = TABLE.get(kind or "")
    filled: dict[str, object] = {
        "hyperparameter": None if one is None else one.name,
        "kind": kind,
        "current": None if one is None else one.value,
        "cost": row.cost if row else "",
        "caveat": row.caveat if row else "",
        **options,
    }
    return Recommendation(code, reason, **filled)  # type: ignore[arg-type]


def _lower(code: Code, reason: str, one: Hyperparameter | None, kind: str, suggested: object) -> Recommendation:
    return advice(code, reason, one, kind, suggested=suggested, train_error="lower", test_error="lower")


# ---------------------------------------------------------------------- labels


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


def _labels(situation: Situation) -> Iterator[Weighted]:
    if situation.train is not None and labels_explain(situation, situation.train.value):
        yield 100, label_advice(situation, "train error")
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


# ---------------------------------------------------------------------- experiments


def _probed(situation: Situation) -> Iterator[Weighted]:
    """The changes that lowered the training error in an experiment, by how much they did."""
    for probe in situation.probes:
        gain = probe.gain("train") or probe.gain("test")
        if gain is None or gain.low <= 0 or probe.kind == "data":
            continue
        test = probe.gain("test")
        if test is not None and test.value <= 0:
            continue  # it fits the training examples better, and others not: that is no help
        code = _CODE_OF_PROBE.get((probe.kind, _went_up(probe)))
        if code is None:
            continue
        yield (
            90 + min(4 * gain.value / max(_base(probe), 1e-12), 4.0),
            advice(
                code,
                f"in an experiment with {probe.change} the error fell by {situation.text(gain)}",
                Hyperparameter(probe.hyperparameter, probe.kind, probe.before)  # type: ignore[arg-type]
                if probe.hyperparameter is not None and probe.before is not None
                else None,
                probe.kind,
                suggested=probe.after,
                train_error="lower",
                test_error="lower" if (probe.gain("test") or gain).low > 0 else "unknown",
            ),
        )


def _base(probe: ProbeResult) -> float:
    base: Measured | None = probe.base_train or probe.base_test
    return 1.0 if base is None else abs(base.value)


def _went_up(probe: ProbeResult) -> bool:
    if probe.before is None or probe.after is None:
        return "x" in probe.change
    return probe.after > probe.before


_CODE_OF_PROBE: Final[dict[tuple[str, bool], Code]] = {
    ("learning-rate", True): "higher-lr",
    ("learning-rate", False): "lower-lr",
    ("hidden-units", True): "more-capacity",
    ("depth", True): "more-capacity",
    ("kernel-width", True): "more-capacity",
    ("zero-padding", True): "more-capacity",
    ("weight-decay", False): "less-weight-decay",
    ("dropout", False): "less-dropout",
    ("epochs", True): "better-optimization",
}


# ---------------------------------------------------------------------- optimisation


def _broken(situation: Situation) -> Iterator[Weighted]:
    """A loss that became NaN, rose, or jumps."""
    course, limits = situation.course, situation.limits
    rate = situation.hyperparameters.first("learning-rate")
    suggested = None if rate is None else lower_rate(rate)
    if course.broke_at is not None:
        reason = f"the training loss is not finite from epoch {course.broke_at} on"
        yield 97, _lower("lower-lr", reason, rate, "learning-rate", suggested)
    if not course.known:
        return
    dropout = situation.hyperparameters.first("dropout")
    unsteady = limits.unsteady * (2 if dropout is not None and drop_of(dropout) >= 0.2 else 1)
    if course.rose_again > 1.3 or (course.rose_again > 1.1 and course.unsteady > unsteady / 2):
        reason = (
            f"the training loss ends at {course.last:.3g}, {course.rose_again:.2g} times its best, {course.best:.3g}"
        )
        yield 82, _lower("lower-lr", reason, rate, "learning-rate", suggested)
    elif course.unsteady > unsteady:
        reason = f"the training loss jumps by {course.unsteady:.0%} of its level from epoch to epoch"
        yield 78, _lower("lower-lr", reason, rate, "learning-rate", suggested)


def _rate(situation: Situation) -> Iterator[Weighted]:
    """A loss that stands still, or still falls; a learning rate that is far from what is usual."""
    course, known = situation.course, situation.hyperparameters
    rate, compared = known.first("learning-rate"), rate_is(known)
    up = None if rate is None else higher_rate(rate)
    down = None if rate is None else lower_rate(rate)
    beside = _compared(situation)
    gone = _rate_gone(situation)
    if gone is not None and course.broke_at is None:
        yield 72, _longer(situation, f"{gone}; let it fall more slowly")
        yield 71, _lower("higher-lr", gone, rate, "learning-rate", up)
        return
    hardly = course.known and course.last > (1 - _SOME) * course.first and compared in ("low", "high")
    if course.known and (hardly or not course.fell) and course.broke_at is None:
        reason = f"the training loss has hardly fallen ({course.first:.3g} at first, {course.last:.3g} at last)"
        if compared == "high":
            yield 76, _lower("lower-lr", f"{reason}, and {beside}", rate, "learning-rate", down)
        elif compared == "low":
            yield 76, _lower("higher-lr", f"{reason}, and {beside}", rate, "learning-rate", up)
        else:
            yield 75, _longer(situation, reason + "; look for what keeps it: `diagnose check`")
            yield 48, _lower("lower-lr", f"{reason}: the rate may be far too high", rate, "learning-rate", down)
            yield 46, _lower("higher-lr", f"{reason}: the rate may be far too low", rate, "learning-rate", up)
        return
    if course.known and course.falls_still and course.second_half >= situation.limits.still_falling:
        yield from _still_falling(situation, rate, compared, up)
        return
    if course.known and course.falls_still and course.second_half >= _BENDING and course.doubling >= _BENDING * 2:
        reason = (
            f"the training loss has slowed down, but fell by {course.doubling:.0%} over the second half of the epochs"
        )
        yield 52, _longer(situation, reason)
    if compared == "high":
        yield 64, _lower("lower-lr", beside, rate, "learning-rate", down)
    elif compared == "low":
        # A curve that has settled says that the rate was enough.
        yield (42 if course.known else 64), _lower("higher-lr", beside, rate, "learning-rate", up)
    epochs = known.first("epochs")
    if not course.known and epochs is not None and epochs.value <= 3:
        yield 63, _longer(situation, f"{epochs.name} is {epochs.value}: the training has hardly begun")


def _rate_gone(situation: Situation) -> str | None:
    """What the recorded learning rate did, if nothing was left of it in the second half of the training.

    The steps of gradient descent add up to the sum of its learning rates: where the second half has hardly any of that
    sum, a loss that stands still there shows that the steps are small, and not that the model can do no better. A
    cosine to zero leaves 18 % to the second half, two steps down by ten times 5 %.
    """
    rates = situation.curves.get("lr")
    if len(rates) < 4 or not np.isfinite(rates).all() or (rates < 0).any() or rates.sum() <= 0:
        return None
    late = float(rates[len(rates) // 2 :].sum() / rates.sum())
    if late >= _LATE_STEPS:
        return None
    return (
        f"the learning rate fell from {rates.max():.2g} to {rates[-1]:.2g}, and the second half of the epochs made "
        f"{late:.2g} of all steps' length: the loss stands still because the steps are tiny"
    )


def _still_falling(situation: Situation, rate: Hyperparameter | None, compared: str, up: object) -> Iterator[Weighted]:
    course = situation.course
    reason = (
        f"the training loss still falls: {course.second_half:.0%} of its whole fall, from {course.first:.3g} to "
        f"{course.last:.3g}, is of the second half"
    )
    tiny = compared == "usual" and _is_tiny(situation)
    if course.second_half >= _STRAIGHT and course.last > course.first / 2 and compared != "high" and not tiny:
        # A straight line that has not come half the way needs many times its epochs; the rate is what multiplies.
        yield 71, _lower("higher-lr", reason, rate, "learning-rate", up)
        yield 70, _longer(situation, reason)
        return
    # A narrow layer makes a loss fall slowly as well. Only a probe can tell; the value of the rate makes one likelier.
    weight = 47.0 if tiny else 70.0
    known = situation.hyperparameters
    has_room = rate is not None and compared != "high" and course.unsteady < _SMOOTH
    if has_room and compared == "low":
        yield weight + 2, _lower("higher-lr", f"{reason}, and {_compared(situation)}", rate, "learning-rate", up)
        yield weight, _longer(situation, reason)
    else:
        yield weight + 1, _longer(situation, reason)
        if compared != "high" and not tiny and has_headroom(known):
            yield weight, _lower("higher-lr", f"{reason}, smoothly", rate, "learning-rate", up)


def _compared(situation: Situation) -> str:
    rate = situation.hyperparameters.first("learning-rate")
    if rate is None:
        return "the learning rate is not known"
    low, high = usual_rates(situation.hyperparameters)
    whose = f"for {situation.hyperparameters.optimizer}" if situation.hyperparameters.optimizer else "for any optimizer"
    return f"{rate.name} is {rate.value:g}, where {low:g} to {high:g} is usual {whose}"


def _longer(situation: Situation, reason: str) -> Recommendation:
    epochs = situation.hyperparameters.first("epochs")
    return advice(
        "better-optimization",
        f"{reason}: train longer, or tune the learning rate, its schedule and the momentum",
        epochs,
        "epochs",
        suggested=None if epochs is None else larger(epochs),
        train_error="lower",
        test_error="lower",
    )


# ---------------------------------------------------------------------- regularisation


def _regularization(situation: Situation) -> Iterator[Weighted]:
    yield from _dropout(situation)
    yield from _decay(situation)


def _dropout(situation: Situation) -> Iterator[Weighted]:
    limits, one = situation.limits, situation.hyperparameters.first("dropout")
    dropped = None if one is None else drop_of(one)
    ratio = situation.train_mode
    suggested = None if one is None else less_regularized(one)
    if dropped is not None and one is not None and dropped >= limits.strong_dropout:
        weight = 85 + 3 * dropped
        reason = f"{one.name} drops {dropped:.0%} of the units"
        yield weight, _lower("less-dropout", reason, one, "dropout", suggested)
    elif ratio is not None and ratio > limits.train_mode_ratio and (dropped is None or dropped >= 0.3):
        reason = f"the training loss is {ratio:.2g} times as large in training mode as in evaluation"
        # Without a dropout that is known of, augmentation or smoothed labels may be what makes the difference.
        yield (80 if dropped is not None else 54), _lower("less-dropout", reason, one, "dropout", suggested)
    elif dropped is not None and one is not None and dropped >= 0.5:
        reason = f"{one.name} drops {dropped:.0%} of the units, and the training error is too high"
        yield 51, _lower("less-dropout", reason, one, "dropout", suggested)
    elif dropped is not None and one is not None and dropped >= 0.2:
        reason = f"{one.name} drops {dropped:.0%} of the units: while the training error is too high, it is not needed"
        yield 41, _lower("less-dropout", reason, one, "dropout", suggested)


def _decay(situation: Situation) -> Iterator[Weighted]:
    limits, known = situation.limits, situation.hyperparameters
    one = known.first("weight-decay")
    if one is None or one.value <= 0:
        return
    decoupled = is_decoupled(known)
    limit = limits.strong_decoupled_decay if decoupled else limits.strong_decay
    suggested = less_regularized(one)
    if one.value >= limit:
        # At the limit itself an optimizer that nobody named may be AdamW, where it is the default.
        weight = 55.0 if one.value == limit and not known.optimizer else 84 + min(math.log10(one.value / limit), 3)
        if situation.course.known and situation.course.second_half >= situation.limits.still_falling:
            weight = min(
                weight, 69
            )  # decay makes a loss settle early; one that still falls is held back by other things
        reason = (
            f"{one.name} is {one.value:g}, where {limit:g} is much{' even for decoupled decay' if decoupled else ''}"
        )
        yield weight, _lower("less-weight-decay", reason, one, "weight-decay", suggested)
    elif one.value >= limit / 30:
        reason = f"{one.name} is {one.value:g}: while the training error is too high, it is not needed"
        yield 40, _lower("less-weight-decay", reason, one, "weight-decay", suggested)


# ---------------------------------------------------------------------- capacity


def _is_tiny(situation: Situation) -> bool:
    known = situation.hyperparameters
    units, kernel, layers = known.first("hidden-units"), known.first("kernel-width"), known.first("depth")
    return (
        (units is not None and units.value <= _TINY)
        or (kernel is not None and kernel.value == 1)
        or (layers is not None and layers.value == 0)
    )


def _capacity(situation: Situation) -> Iterator[Weighted]:
    """Each hyperparameter that gives capacity, the one that is furthest below what is usual first."""
    known = situation.hyperparameters
    found = False
    for units in known.of("hidden-units"):
        found = True
        weight = 50 + min(max(3 * math.log2(_ENOUGH_UNITS / max(units.value, 1)), 0), 11)
        weight = 36 if units.value >= 2 * _MANY_UNITS else 44 if units.value >= _MANY_UNITS else weight
        yield weight, _wider(units, f"{units.name} is {units.value}")
    kernel = known.first("kernel-width")
    if kernel is not None:
        found = True
        alone = " and sees a single place" if kernel.value == 1 else ""
        weight = 62 if kernel.value == 1 else 50.5 if kernel.value == 2 else 43
        yield weight, _wider(kernel, f"{kernel.name} is {kernel.value}{alone}")
    padding = known.first("zero-padding")
    if padding is not None and padding.value == 0 and (kernel is None or kernel.value > 1):
        found = True
        lost = "" if kernel is None else f", so each convolution takes {int(kernel.value) - 1} rows and columns away"
        layers = known.first("depth")
        many = layers is not None and kernel is not None and (kernel.value - 1) * layers.value >= 8
        wide = kernel is not None and kernel.value >= 5
        one = _lower(
            "more-capacity",
            f"{padding.name} is 0{lost}: {TABLE['zero-padding'].reason}",
            padding,
            "zero-padding",
            padding_for(kernel),
        )
        yield (57 if many else 52 if wide else 44.5), one
    layers = known.first("depth")
    if layers is not None:
        found = True
        yield (63 if layers.value == 0 else 47), _wider(layers, f"{layers.name} is {layers.value}")
    if not found:
        reason = "the training error is too high, and nothing speaks against the optimisation"
        yield 50, _lower("more-capacity", f"{reason}: {TABLE['hidden-units'].reason}", None, "hidden-units", None)


def _wider(one: Hyperparameter, reason: str) -> Recommendation:
    return _lower("more-capacity", f"{reason}: {TABLE[one.kind].reason}", one, one.kind, larger(one))


def _last(situation: Situation) -> Iterator[Weighted]:
    """What is left to try for any model."""
    known, course = situation.hyperparameters, situation.course
    units = known.first("hidden-units")
    large = units is not None and units.value >= _MANY_UNITS
    reason = "whatever the capacity, the optimisation has to use it"
    if large and units is not None:
        reason = f"{units.name} is {units.value}, which is much, and the training error is still too high"
    yield (45.5 if large else 34), _longer(situation, reason)
    tuned = course.known and not course.falls_still and rate_is(known) in ("usual", "unknown")
    few_suspects = situation.suspects is not None and situation.suspects.value < 0.01
    if large and tuned and not few_suspects:
        yield 45, label_advice(situation, "train error")
