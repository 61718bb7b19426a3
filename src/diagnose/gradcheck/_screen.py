"""Whether all derivatives of a tensor are right, from a few random directions.

An error e of a gradient shows along a random direction w as <e, w>. With magnitudes that are drawn from an interval
it vanishes with probability 0, and is seen if it exceeds the tolerance of 1e-6 |g o w|: one direction finds what an
exhaustive check finds, at the price of two forwards. The second one weighs elements by the inverse of their
derivatives, so that small derivatives are seen beside large ones.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from diagnose.gradcheck._differences import FLOOR, Differences, random_signs
from diagnose.gradcheck._examine import Examiner, Outcome

LARGEST_WEIGHT: Final = 256.0
"""A derivative that is smaller than the others by more is moved no further: curvature grows with the cube."""


def screen(examiner: Examiner, position: int, generator: torch.Generator, *, directions: int) -> Outcome:
    """The worst outcome along `directions` random directions of slot number `position`."""
    worst: Outcome | None = None
    for number in range(directions):
        outcome = examiner.examine(position, direction(examiner.differences, position, generator, even=number % 2 == 1))
        if outcome.verdict == "fault":
            return outcome
        if worst is None or _badness(outcome) > _badness(worst):
            worst = outcome
    assert worst is not None, "no directions"
    return worst


def _badness(outcome: Outcome) -> tuple[bool, float, float]:
    return outcome.verdict == "unresolved", outcome.detects, outcome.error


def direction(differences: Differences, position: int, generator: torch.Generator, *, even: bool) -> Tensor:
    """A random direction, shape (n,); 0 where the gradient or the input is not finite.

    Args:
        even: give each element about the same share in the derivative.
    """
    slot = differences.slots[position]
    w = slot.scale * random_signs(slot.base.numel(), generator)
    if even:
        share = (differences.gradients[position][0] * slot.scale).abs()
        mean = float(share.square().mean().sqrt())
        if mean > 0:
            # Nor further than back-propagation's own rounding allows: that is weighted along with the derivative.
            rounding = FLOOR * differences.epsilon * float(differences.output_size[0])
            largest = min(LARGEST_WEIGHT, max(1.0, 0.01 * mean / max(rounding, 1e-300)))
            w = w * (mean / share.clamp(min=mean / largest)).clamp(min=1.0)
    return torch.where(differences.unusable[position], 0.0, w)
