"""How likely a label is wrong, by the margin that the model gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tier: TypeAlias = Literal["very-likely", "suspect", "look"]
TIERS: Final[dict[Tier, float]] = {"very-likely": -0.5, "suspect": -0.25, "look": 0.0}
"""A label is in the first tier whose limit its mean margin is below. -0.5: the model gave another class at least half
more probability than the given one, on average over the epochs of a training that was shown the given label."""


def margins(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """The probability of the given label minus that of the best other class.

    Args:
        probabilities: shape (N, K), K at least 2.
        labels: shape (N,), in [0, K).

    Returns:
        Shape (N,), in [-1, 1]; NaN where a probability is.

    Source:
        Pleiss et al., "Identifying mislabeled data using the area under the margin ranking", 2020, with probabilities
        in place of logits, which do not grow without bound as a training goes on.
    """
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    others = np.array(probabilities, dtype=np.float64)
    others[rows, labels] = -np.inf
    found: NDArray[np.float32] = (given - others.max(axis=1)).astype(np.float32)
    return found


def tiers(margin: NDArray[np.floating], limits: Mapping[Tier, float] = TIERS) -> list[Tier | None]:
    """The tier of each margin; None for labels that nothing speaks against, and for NaN.

    Args:
        limits: of the tiers, the lowest first; a tier without one is empty.
    """
    return [next((name for name, limit in limits.items() if value < limit), None) for value in margin.tolist()]
