"""What to change while the training error is fine and the test error above it: classes, labels, regularisation, data.

Source: Hestness et al., "Deep learning scaling is predictable, empirically", 2017, for the exponents; Goodfellow et
al., "Deep Learning", section 11.3: gather more data, or reduce the size of the model or improve the regularisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from diagnose.gap._advice import Weighted, advice, once
from diagnose.gap._hyperparameters import Hyperparameter, drop_of
from diagnose.gap._labels import label_advice, labels_explain
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import ProbeResult, Situation
from diagnose.gap._turning import checkpoints, turned
from diagnose.gap._values import is_decoupled, more_regularized, smaller

_BY_HEART: Final = 0.01
"""Share of the training examples that a model may still get wrong after it has learned them by heart: a few twins."""


def overfitting_advice(situation: Situation) -> list[Recommendation]:
    """What to change, the likeliest first; each code and hyperparameter once."""
    found = [*_classes(situation), *_labels(situation), *_probed(situation), *_data(situation)]
    if situation.rare is None:
        # What makes a model simpler costs it the rare classes first (Hooker et al., "What do compressed deep neural
        # networks forget?", 2019; Balestriero et al., "The effects of regularization ... are class dependent", 2022).
        found += [*_regularize(situation), *_shrink(situation)]
    found.sort(key=lambda pair: -pair[0])
    return once(one for _, one in found)


def _classes(situation: Situation) -> Iterator[Weighted]:
    rare = situation.rare
    if rare is None:
        return
    reason = (
        f"of class {rare.name} only {situation_share(rare.recall.value)} [{situation_share(rare.recall.low)}, "
        f"{situation_share(rare.recall.high)}] are found, where {situation_share(rare.average)} are on average, and it "
        f"has {situation_share(rare.share)} of the examples, where {situation_share(rare.even)} would be even"
    )
    yield (
        90,
        Recommendation(
            "rebalance",
            reason,
            train_error="same",
            test_error="lower",
            cost="none per step: draw rare classes more often (WeightedRandomSampler), or weigh their loss",
            caveat="the error over all examples may rise where frequent classes pay for it: say first which one counts",
        ),
    )


def situation_share(value: float) -> str:
    """In percent."""
    return f"{100 * value:.3g} %"


def _labels(situation: Situation) -> Iterator[Weighted]:
    gap = situation.gap()
    if gap is not None and situation.test is not None and labels_explain(situation, gap.value):
        yield 85, label_advice(situation, "test error")


def _probed(situation: Situation) -> Iterator[Weighted]:
    """Regularisation that lowered the test error in an experiment."""
    for probe in situation.probes:
        gain = probe.gain("test")
        if gain is None or gain.low <= 0:
            continue
        reason = f"in an experiment with {probe.change} the test error fell by {situation.text(gain)}"
        one = None
        if probe.hyperparameter is not None and probe.before is not None:
            one = Hyperparameter(probe.hyperparameter, probe.kind, probe.before)  # type: ignore[arg-type]
        up = probe.before is not None and probe.after is not None and probe.after > probe.before
        if probe.kind in ("dropout", "weight-decay") and up:
            yield 88, _regularized(reason, one, probe.kind, probe.after)
        elif probe.kind == "hidden-units" and not up:
            yield 87, _less(reason, one, probe.after)
        elif probe.kind == "learning-rate" and not up:
            yield 86, _slower(reason, one, probe.after)


def _regularize(situation: Situation) -> Iterator[Weighted]:
    known = situation.hyperparameters
    dropout, decay = known.first("dropout"), known.first("weight-decay")
    errors, losses = checkpoints(situation)
    found = turned(situation, errors)
    if found is not None:
        epoch, worse = found
        reason = (
            f"the test error was lowest at epoch {epoch}, and at last is worse by {situation.text(worse)}: stop there"
        )
        yield 75, _regularized(reason, known.first("epochs"), "epochs", epoch)
    # The loss of a classifier that grows too sure rises while its error stays: only of losses it says much.
    loss_turned = losses is not None and losses.verdict == "too-late" and losses.cause != "divergence"
    late = (1.0 if situation.is_share else 20.0) if loss_turned else 0.0
    for one in (dropout, decay):
        if one is None:
            continue
        strength = drop_of(one) if one.kind == "dropout" else one.value
        if strength >= _most(situation, one):
            continue  # there is so much of it that more would be the cause of another trouble
        weak = strength < (0.2 if one.kind == "dropout" else 1e-4)
        reason = f"{one.name} is {one.value:g}" + (": there is hardly any" if weak else ": there may be too little")
        weight = (60 if weak else 45) + late
        if any(_was_in_vain(probe, one.kind) for probe in situation.probes):
            reason, weight = f"{reason}, but more of it did not lower the test error in an experiment", 30
        yield weight, _regularized(reason, one, one.kind, more_regularized(one))
    if dropout is None and decay is None:
        reason = "nothing is known of weight decay, dropout, augmentation or early stopping: try them"
        if loss_turned and losses is not None:
            reason = f"the test loss was lowest at epoch {losses.best}, and has risen since"
        yield 55 + late, _regularized(reason, None, "weight-decay", None)


def _most(situation: Situation, one: Hyperparameter) -> float:
    """From which strength on regularisation is taken for the cause of a high training error."""
    limits = situation.limits
    if one.kind == "dropout":
        return limits.strong_dropout
    return limits.strong_decoupled_decay if is_decoupled(situation.hyperparameters) else limits.strong_decay


def _was_in_vain(probe: ProbeResult, kind: str) -> bool:
    gain = probe.gain("test")
    return probe.kind == kind and gain is not None and gain.low <= 0


def _regularized(reason: str, one: Hyperparameter | None, kind: str, suggested: object) -> Recommendation:
    return advice(
        "more-regularization",
        reason,
        one,
        kind,
        suggested=suggested,
        train_error="higher",
        test_error="lower",
        cost="none per step",
        caveat="too much of it raises both errors: watch the training error",
    )


def _data(situation: Situation) -> Iterator[Weighted]:
    n, cut = situation.n_train, situation.doubling
    if cut is not None:
        enough = cut > situation.limits.doubling
        reason = f"the last doubling of the training data cut the test error by {cut:.0%}"
        yield (80 if enough else 20), _more_data(reason, n)
        return
    # Twice the data cut an error by 7 to 36 % (power laws with exponents of .1 to .65), whatever the model; what
    # dropout or weight decay cut depends on how much of the gap is memorised noise, and is often less than the noise of
    # the test. So data come first unless a curve or an experiment speaks for regularisation, which is cheaper to try.
    reason = "the training error is fine, and the test error is not: with twice the data it is usually 7 to 36 % lower"
    yield 62, _more_data(reason, n)


def _more_data(reason: str, n: float | None) -> Recommendation:
    return Recommendation(
        "more-data",
        reason,
        kind="examples",
        current=None if n is None else int(n),
        suggested=None if n is None else (2 * int(n), 4 * int(n)),
        train_error="higher",
        test_error="lower",
        cost="collecting and labelling; training time in proportion",
        caveat="measure a learning curve first, on a logarithmic scale; beyond 4 times the data any number is a guess. "
        "Augmentation is the cheap form of it",
    )


def _shrink(situation: Situation) -> Iterator[Weighted]:
    """A smaller model, if the present one was seen to have learned every example by heart.

    One that gets training examples wrong is seen to have no such room, and a smaller one gets more of them wrong. Where
    errors are losses, how much was learned by heart cannot be seen.
    """
    train = situation.train
    if train is not None and train.is_share and train.value > _BY_HEART:
        return
    units = next((one for one in reversed(list(situation.hyperparameters.of("hidden-units")))), None)
    reason = "a smaller model has less room to learn examples by heart"
    if units is not None:
        reason = f"{units.name} is {units.value}: {reason}"
    yield 38, _less(reason, units, None if units is None else smaller(units))


def _slower(reason: str, one: Hyperparameter | None, suggested: object) -> Recommendation:
    return advice(
        "lower-lr",
        reason,
        one,
        "learning-rate",
        suggested=suggested,
        train_error="higher",
        test_error="lower",
        caveat="with as many steps a lower rate stops the training earlier: keeping the best checkpoint may do as much",
    )


def _less(reason: str, one: Hyperparameter | None, suggested: object) -> Recommendation:
    return advice(
        "less-capacity",
        reason,
        one,
        "hidden-units",
        suggested=suggested,
        train_error="higher",
        test_error="lower",
        cost="saves time and memory",
        caveat="a large model that is regularised well is usually better than a small one (section 11.4)",
    )
