"""What to change while the training error is above the target: the optimisation, the regularisation, the capacity.

Each cause that the evidence allows is a candidate with a weight; weights only order them. What was seen (wrong labels,
a loss that broke, an experiment) comes before what was inferred from a curve, that before what a value makes likely,
and what is free to undo (regularisation, learning rate) before what costs time and memory (capacity).

Source: Goodfellow et al., "Deep Learning", sections 11.3 (more data only when the training error is fine; labels, if
large models and a tuned optimisation do not help) and 11.4 with table 11.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.gap._advice import Weighted, once
from diagnose.gap._experimented import probed, refuted
from diagnose.gap._labels import label_advice, suspicion
from diagnose.gap._loosening import regularized
from diagnose.gap._optimizing import broken, longer, slow
from diagnose.gap._recommendation import Recommendation
from diagnose.gap._situation import Situation
from diagnose.gap._values import rate_is
from diagnose.gap._widening import MANY_UNITS, larger_model


def underfitting_advice(situation: Situation) -> list[Recommendation]:
    """What to change, the likeliest first; each code and hyperparameter once."""
    found = [
        *suspicion(situation),
        *probed(situation),
        *broken(situation),
        *regularized(situation),
        *slow(situation),
        *larger_model(situation),
        *_last(situation),
    ]
    found.sort(key=lambda pair: -pair[0])
    without = set(refuted(situation))
    return once(one for _, one in found if not {(one.code, one.hyperparameter), (one.code, None)} & without)


def _last(situation: Situation) -> Iterator[Weighted]:
    """What is left to try for any model."""
    known, course = situation.hyperparameters, situation.course
    units = known.first("hidden-units")
    large = units is not None and units.value >= MANY_UNITS
    reason = "whatever the capacity, the optimisation has to use it"
    if large and units is not None:
        reason = f"{units.name} is {units.value}, which is much, and the training error is still too high"
    yield (45.5 if large else 34), longer(situation, reason)
    tuned = course.known and not course.falls_still and rate_is(known) in ("usual", "unknown")
    few_suspects = situation.suspects is not None and situation.suspects.value < 0.01
    if large and tuned and not few_suspects:
        yield 45, label_advice(situation, "train error")
