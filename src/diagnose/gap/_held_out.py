"""The error on held-out training data, where nobody gave it, but a validation curve was recorded."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from diagnose.gap._error import Measured
from diagnose.gap._situation import Situation

_MOST: Final = 10_000
_FEW: Final = 100
"""Validation examples where nothing tells how many there were: so few that little follows from them."""
_FEWEST_EPOCHS: Final = 4
_TOLERANCE: Final = 0.01
_NAMES: Final = ("val", "dev", "holdout", "hold_out")


def held_out_errors(situation: Situation) -> tuple[Measured, Measured] | None:
    """(the train-dev error at the end of the training, the lowest one); None if nothing tells it.

    Both are the train-dev error where that was given. A validation set is one, as a rule: a part of the data that the
    training set was drawn from. How many examples it has, is seen from the steps of its error, which are whole numbers
    of examples: the fewest that fit all values.
    """
    if situation.train_dev is not None:
        return situation.train_dev, situation.train_dev
    name = situation.curves.given.get("test_error", "").lower()
    values = situation.curves.get("test_error")
    values = values[np.isfinite(values)]
    is_share = situation.is_share and len(values) >= _FEWEST_EPOCHS and bool(((values >= 0) & (values <= 1)).all())
    if not any(word in name for word in _NAMES) or not is_share:
        return None
    n = float(examples_behind(values) or _FEW)
    last, lowest = float(values[-1]), float(values.min())
    at_last, at_best = (Measured("validation error", value, n, assumed=True) for value in (last, lowest))
    return at_last, at_best


def examples_behind(shares: NDArray[np.float64]) -> int | None:
    """The smallest number of examples of which all shares, shape (T,), can be; None if there is none up to 10,000.

    The true number is a multiple of it, so what is concluded with it is rather too little.
    """
    numbers = np.arange(1, _MOST + 1)
    fits = np.ones(_MOST, dtype=bool)
    for share in np.unique(shares):
        products = share * numbers
        fits &= np.abs(products - np.round(products)) < _TOLERANCE
    found = np.flatnonzero(fits)
    return int(numbers[found[0]]) if len(found) else None
