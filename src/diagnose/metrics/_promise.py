"""The threshold for a wanted accuracy, chosen on the data of which it is promised.

The threshold is chosen on data of which the same promise is to hold, so its choice has to be paid for. Chosen as the
lowest one at which the observed accuracy is high enough, it would be too low about half the time. Here thresholds
are tested one after the other, from the most confident examples on, each at the risk that is at hand, until one
fails: whatever comes after the first one that is truly too low is tested only if that one is let through, so the risk
is taken once and not once per threshold ("fixed sequence testing"). Because the few most confident examples prove
little, and may hold a mistake, there are several places to begin, which share the risk; what one of them has not lost
is handed on ("fallback").

Why it holds: let t be the lowest threshold at which the true accuracy is high enough, and let examples just below t
be right no more often than is wanted, as they are where accuracy rises with confidence. Of the k most confident
examples, when more than those above t, no more are right than of k draws at the wanted accuracy, so a binomial test
lets them through with at most its risk; and the risks of all places to begin sum to 1 - confidence. Tests are exact
(Clopper-Pearson), because Wilson's interval falls short of its promise for shares near 1, which is where these are.
benchmarks/coverage_promise.py measures how often the promise is kept, on models that are not monotone too.

Source: Wiens & Dmitrienko, "The fallback procedure for evaluating a single family of hypotheses", 2005; Angelopoulos et
al., "Learn then test: calibrating predictive algorithms to achieve risk control", 2021; Geifman & El-Yaniv, "Selective
classification for deep neural networks", 2017, take a Bonferroni bound in its place.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diagnose.metrics._inputs import Floats, Ints
from diagnose.stats.intervals import binomial_cdf

Bools: TypeAlias = NDArray[np.bool_]

_STEPS: Final = 100
"""Thresholds that are tried: one for each percent of coverage."""
_STARTS: Final = 8
_MISTAKES_PER_START: Final = 10
"""A place to begin has to have data enough: one for each ten mistakes that the wanted accuracy allows, at most 8."""


def ordered_by_confidence(sure: Floats, right: Bools) -> tuple[Floats, Ints, Ints]:
    """Confidences falling, right ones among the first k + 1, and the last place of each group of equal confidences."""
    order = np.argsort(-sure, kind="stable")
    ordered = sure[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return ordered, np.cumsum(right[order]), last


def promised(good: Ints, last: Ints, wanted: float, risk: float) -> int:
    """How many of the most confident examples can be answered; 0 for none."""
    tried, begins = _plan(len(good), wanted, risk)
    # Equal confidences are answered together.
    ends = last[np.searchsorted(last, tried - 1)] + 1
    at_hand, best = 0.0, 0
    for number, answered in zip(tried.tolist(), ends.tolist(), strict=True):
        at_hand += risk / len(begins) if number in begins else 0.0
        if at_hand and _chance_of_so_few_mistakes(answered, int(good[answered - 1]), wanted) <= at_hand:
            best = answered
        else:
            at_hand = 0.0
    return best


def _plan(count: int, wanted: float, risk: float) -> tuple[Ints, set[int]]:
    """Which numbers of answers are tested, and where a share of the risk is brought in.

    It depends on nothing in the data but how many there are.
    """
    starts = int(min(max(count * (1 - wanted) / _MISTAKES_PER_START, 1), _STARTS))
    least = fewest_answers(wanted, risk / starts)
    if least > count:
        return np.zeros(0, np.int64), set()
    tried = np.unique(np.append(np.arange(least, count, max(count // _STEPS, 1)), count))
    places = [least + (count - least) * part / starts for part in range(starts)]
    return tried, {int(tried[np.searchsorted(tried, place)]) for place in places}


def _chance_of_so_few_mistakes(answered: int, right: int, wanted: float) -> float:
    """The chance that so many or more answers are right if the accuracy is only the wanted one."""
    return float(binomial_cdf(answered, 1 - wanted, answered - right)[-1])


def fewest_answers(wanted: float, risk: float) -> int:
    """How many answers without a mistake prove an accuracy."""
    return math.ceil(math.log(risk) / math.log(wanted))


def optimistic_choice(ordered: Floats, good: Ints, last: Ints, wanted: float) -> tuple[float, float] | None:
    """The lowest threshold at which these data reach the accuracy, and the coverage there."""
    enough = np.flatnonzero(good[last] >= wanted * (last + 1))
    if not len(enough):
        return None
    place = last[enough[-1]]
    return float(ordered[place]), float(place + 1) / len(ordered)


def why_none(good: Ints, last: Ints, wanted: float, confidence: float) -> str:
    """Why no threshold can be promised."""
    tried, _ = _plan(len(good), wanted, 1 - confidence)
    if not len(tried):
        least = fewest_answers(wanted, 1 - confidence)
        return f"that takes at least {least} answers without a mistake, and there are {len(good)} examples"
    first = int(last[np.searchsorted(last, tried[0] - 1)]) + 1
    wrong = first - int(good[first - 1])
    return (
        f"{wrong} of the {first} most confident answers are wrong, and no larger number that was tried has "
        "so few mistakes that it proves the accuracy"
    )
