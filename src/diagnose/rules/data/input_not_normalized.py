"""input-not-normalized."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, InputFacts
from diagnose.rules._base import rule
from diagnose.rules.data._success import left_to_learn

# The gradient of the first layer grows with its inputs, so updates and activations that are too large follow from them.
_SYMPTOMS = (
    "loss-not-decreasing", "loss-diverging", "loss-at-init", "underfitting", "constant-output",
    "update-too-large", "exploding-gradient", "dead-units", "saturated-units",
)  # fmt: skip


@rule("input-not-normalized", explains=_SYMPTOMS)
def input_not_normalized(
    history: History,
    *,
    large: float = 100.0,
    large_integers: float = 30.0,
    small: float = 1e-3,
    ratio: float = 1e3,
    at_least: int = 32,
    well: float = 0.1,
) -> Iterator[Finding]:
    """The inputs of the first layer are far from 1 in size, or their features far apart.

    ## What it does
    Looks at what a trained layer gets that is applied to data: a floating point tensor without gradient. Over a sample
    of `at_least` = 32 rows or more it takes the root mean square (RMS) of each feature, over the values that are not
    zero. It speaks if the largest is `large` = 100 or more, or `large_integers` = 30 or more where all values are
    whole numbers, as raw pixels and counts are; if the largest is below `small` = 0.001; or if the largest is
    `ratio` = 1,000 times the smallest, and `large_integers` or more. It is only `info` if the training went
    well all the same, or if that cannot be told: well is a loss of `well` = 10 % or less of what the best
    constant answer gives.
    ## Why it matters
    The curvature of the loss in the weights of a layer grows with the square of its inputs, so the learning rate that
    is right for one feature is a million times wrong for another that is a thousand times larger. Large inputs throw
    the units of the first layer into their flat ends, or make the first updates huge; small ones leave it idle.
    ## How to fix
    Subtract the mean and divide by the standard deviation of each feature, both from the training set only. Pixels:
    divide by 255, then normalise by channel. Values that span orders of magnitude: take the logarithm first. Or begin
    the model with a BatchNorm or LayerNorm.
    ## Limits
    What counts is what reaches the first trained layer, so data that the forward divides, or that a normalisation
    takes first, is silent, and so is a layer with a normalisation right behind it, which takes the scale out
    again. Not seen: inputs that are joined with something trained, as embeddings, before the first layer; compiled
    models; integer ids. Decibels reach 80 and are passed over.
    ## Source
    LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998, sections 4.3 and 5: inputs with mean 0 and equal
    covariance, and the eigenvalues of the Hessian that follow from them. A ratio of 1,000 in scale is one of 1e6 in
    curvature. The limits of scale are judgement: standardised data has 1, pixels in [0, 1] about 0.5, raw ones 80 to
    150.
    """
    for facts in history.inputs.values():
        if facts.rows < at_least or facts.normalized_next or facts.largest <= 0:
            continue
        whole = facts.integers and facts.high - facts.low > large_integers
        limit = large_integers if whole else large
        too_large, too_small = facts.largest >= limit, facts.largest < small
        apart = facts.largest >= ratio * facts.smallest and facts.largest >= large_integers
        if not (too_large or too_small or apart):
            continue
        left = left_to_learn(history, facts.optimizer)
        place = facts.module or facts.kind
        yield Finding(
            "input-not-normalized",
            Severity.WARNING if left > well else Severity.INFO,
            _message(facts, place, apart=facts.largest >= ratio * facts.smallest),
            Location(module=facts.module or None, file=facts.file, line=facts.line),
            facts.first_step,
            facts.last_step,
            {
                "largest_feature_rms": facts.largest,
                "limit": small if too_small else limit,
                "smallest_feature_rms": facts.smallest,
                "rms": facts.rms,
                "mean": facts.mean,
                "min": facts.low,
                "max": facts.high,
                "features": facts.features,
                "rows": facts.rows,
                "loss_left_of_constant_answer": left,
                "optimizer": facts.optimizer,
            },
            cause="Pixels were not divided by 255, or columns in their own units were not standardised.",
            remedy="Standardise each feature with the mean and standard deviation of the training set.",
        )


def _message(facts: InputFacts, place: str, *, apart: bool) -> str:
    if apart and facts.features > 1:
        return (
            f"the features that {place} gets differ in scale: RMS from {facts.smallest:.3g} to {facts.largest:.3g}, "
            "and nothing normalises them"
        )
    return (
        f"{place} gets inputs from {facts.low:.3g} to {facts.high:.3g} (largest RMS of a feature "
        f"{facts.largest:.3g}), and nothing normalises them"
    )
