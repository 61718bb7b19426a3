"""What chance alone explains."""

from __future__ import annotations

import math


def dead_by_symmetry(units: int, sigmas: float = 3.0) -> float:
    """Largest share of units that a symmetric initialisation can leave dead, but for a chance of 1 in 700.

    If weights and bias of a unit are as likely as their negatives, then so are its pre-activations: a
    unit that is negative for every input is as likely as one that is positive for every input. So at
    most half of the units are expected dead, whatever the data: deep plain networks with the usual
    initialisation come close to that and train. The share in a layer of n units scatters around its
    expectation with at most sqrt(1/4 / n).

    Args:
        units: at least 1.

    Returns:
        1/2 + sigmas * sqrt(1/4 / units), at most 1.

    Source: Lu, Shin, Su & Karniadakis, "Dying ReLU and initialization: theory and numerical examples",
    2019, use the same symmetry to compute how likely a network is born dead.
    """
    return min(1.0, 0.5 + sigmas * 0.5 / math.sqrt(units))
