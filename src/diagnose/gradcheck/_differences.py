"""Central differences of a contracted function, with the noise that they carry.

For a cotangent v and a displacement dx of one slot, back-propagation says <v, f(x + dx) - f(x - dx)> = 2 <g, dx>
up to O(|dx|^3), with g = J^T v. Each output is differenced before it is contracted, so that large outputs that do
not change cost no digits, and dx is what is left after rounding, so that no step is ever divided by what it is not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from diagnose.gradcheck._problem import Problem, Slot

NOISE_FACTOR: Final = 8.0
"""How many standard deviations of rounding noise a difference may be off. With a few thousand comparisons in a check
of a large model, 5 would do for Gaussian noise; the estimate of the deviation may itself be off by a third."""
FLOOR: Final = 64.0
"""Rounding units of |v o f(x)|, per unit of the slot's scale, by which back-propagation itself may be off: it rounds
too, and where its terms cancel (softmax at saturation, a bias before batch normalisation) that is all there is."""
LARGEST_STEP: Final = 0.1
SMALL_SHARE: Final = 1e-6
"""Of the outputs' size: derivatives below it get no larger step than this one does."""
_TINY: Final = torch.finfo(torch.float64).tiny
SMALLEST_LINE: Final = 1e-14
SMALLEST_STEP: Final = torch.finfo(torch.float64).eps ** (1 / 3)


@dataclass(frozen=True)
class Comparison:
    """One pair of forwards at x + t w and x - t w. All per unit of t; one entry per cotangent, shape (K,).

    Attributes:
        analytic: <g, w> by back-propagation.
        numeric: the same by differences.
        size: |g o w|, what the gradient's elements would add up to with random signs.
        noise: the floor: what rounding, of forwards and of the backward, can make of `numeric` - `analytic`.
        finite: whether both forwards gave finite numbers.
        ahead, behind: the outputs at x + t w and x - t w.
    """

    step: float
    analytic: Tensor
    numeric: Tensor
    size: Tensor
    noise: Tensor
    finite: bool
    ahead: Tensor
    behind: Tensor

    @functools.cached_property
    def gap(self) -> Tensor:
        return (self.analytic - self.numeric).abs()

    @functools.cached_property
    def reference(self) -> Tensor:
        """What a relative error is relative to; never 0."""
        return torch.maximum(self.size, self.numeric.abs()).clamp(min=torch.finfo(torch.float64).tiny)

    def agrees(self, rtol: float) -> bool:
        """Whether both derivatives are the same up to `rtol` and the noise."""
        return self.finite and bool((self.gap <= rtol * self.reference + self.noise).all())

    @functools.cached_property
    def blur(self) -> float:
        """The noise in relation to the derivative: the relative error that could hide in it."""
        return float((self.noise / self.reference).max()) if self.finite else math.inf


class Differences:
    """Compares back-propagated gradients of a problem with differences.

    Attributes:
        unusable: per slot, where a back-propagated gradient is NaN or infinite, shape (n,); `gradients` is 0 there.

    Args:
        cotangents: shape (K, m).
        gradients: per slot, J^T v for each cotangent v, shape (K, n).
        values: f(x), shape (m,).
        epsilons: the rounding unit of each output, shape (m,).
    """

    def __init__(
        self, problem: Problem, cotangents: Tensor, gradients: Sequence[Tensor], values: Tensor, epsilons: Tensor
    ) -> None:
        self.problem = problem
        self.cotangents = cotangents
        self.unusable = [~torch.isfinite(gradient).all(dim=0) for gradient in gradients]
        self.gradients = [torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0) for gradient in gradients]
        self.values = values
        self.noise = epsilons * torch.nan_to_num(values.abs(), posinf=0.0)
        # Outputs such as the -inf of an attention mask have no derivative; their cotangents are zero.
        self._counts = torch.isfinite(values)
        self._all_count = bool(self._counts.all())
        self.epsilon = float(epsilons.max()) if epsilons.numel() else torch.finfo(torch.float64).eps

    @property
    def slots(self) -> list[Slot]:
        return self.problem.slots

    @functools.cached_property
    def output_size(self) -> Tensor:
        """|v o f(x)| for each cotangent, shape (K,)."""
        size: Tensor = (self.cotangents * torch.where(self._counts, self.values, 0.0)).norm(dim=1)
        return size

    def at(self, slot: Slot, x: Tensor) -> Tensor:
        """F with one slot moved to x."""
        slot.write(x)
        try:
            return self.problem.values()
        finally:
            slot.reset()

    def compare(self, position: int, w: Tensor, step: float) -> Comparison:
        """Both derivatives of slot number `position` along w, shape (n,), from a step t = `step` either way."""
        slot, per_step = self.slots[position], 1 / (2 * step)
        ahead_x = slot.rounded(slot.base + step * w)
        behind_x = slot.rounded(slot.base - step * w)
        ahead, behind = self.at(slot, ahead_x), self.at(slot, behind_x)
        dx = torch.where(w == 0, 0.0, ahead_x - behind_x)  # where x is infinite, w is 0
        dy = ahead - behind
        if not self._all_count:
            dy = torch.where(self._counts, dy, 0.0)
        parts = self.gradients[position] * dx
        # Outputs that do not move add no noise; but where none moves at all, rounding may be the reason.
        moved = dy != 0
        noise = torch.where(moved, self.noise, 0.0) if bool(moved.any()) else self.noise
        rounding = (self.cotangents * noise).norm(dim=1)
        rounding = rounding * (NOISE_FACTOR * math.sqrt(2) * per_step)
        own = (w / slot.scale.clamp(min=_TINY)).norm() * (FLOOR * self.epsilon) * self.output_size
        return Comparison(
            step=step,
            analytic=parts.sum(dim=1) * per_step,
            numeric=self.cotangents @ dy * per_step,
            size=parts.norm(dim=1) * per_step,
            noise=rounding + own,
            finite=bool(dy.isfinite().all()),
            ahead=ahead,
            behind=behind,
        )

    def compare_over(self, position: int, w: Tensor, step: float, nodes: int) -> Comparison:
        """As `compare`, with the back-propagated derivatives' mean over the segment from x - t w to x + t w.

        The difference is the integral of the derivative, kinks or not, so the step may be long and its noise small.
        Midpoint rule: what a kink between two of the `nodes` costs is a share of 1 / (2 nodes) of its change of slope.
        """
        compared, slot = self.compare(position, w, step), self.slots[position]
        total = torch.zeros_like(compared.analytic)
        try:
            for node in range(nodes):
                slot.write(slot.rounded(slot.base + step * ((2 * node + 1) / nodes - 1) * w))
                outputs = self.problem.outputs()
                for number, cotangent in enumerate(self.cotangents):
                    gradient = self.problem.gradients(outputs, cotangent).values[position]
                    total[number] += torch.nan_to_num(gradient) @ w
        finally:
            slot.reset()
        return replace(compared, analytic=total / nodes)

    def step(self, position: int, w: Tensor) -> float:
        """The step along w at which rounding and curvature are about as bad: t = (3 sigma / |g o w|)^(1/3).

        The error of a central difference is sigma / t + t^2 |f'''| / 6, and in units of the slot's scale f''' is
        taken to be of the size of f'. See Gill, Murray, Saunders & Wright, Computing forward-difference intervals
        for numerical optimization, SIAM J. Sci. Stat. Comput. 4 (1983).
        """
        smallest = float(max(SMALLEST_STEP, self.epsilon ** (1 / 3)))
        size = float((self.gradients[position][0] * w).norm())
        if size == 0:  # perhaps a step function: stay on the step
            return smallest
        # A tiny derivative calls for a large step, but may be tiny just here, as at saturation: not too large at once.
        size = max(size, SMALL_SHARE * float(self.output_size[0]))
        sigma = float((self.cotangents[0] * self.noise).norm())
        return float(min(max((3 * sigma / size) ** (1 / 3), smallest), LARGEST_STEP))

    def slopes(self, compared: Comparison) -> tuple[Tensor, Tensor]:
        """The lowest and the highest derivative that the one-sided slopes allow, shape (K,) each.

        Each output has a slope to either side, and where these differ any value between them is a subgradient. The
        outputs' intervals add up, with their cotangents: two kinks may well cancel in the sum of the slopes.
        """
        right = (compared.ahead - self.values) / compared.step
        left = (self.values - compared.behind) / compared.step
        if not self._all_count:
            right, left = (torch.where(self._counts, side, 0.0) for side in (right, left))
        right, left = self.cotangents * right, self.cotangents * left
        return torch.minimum(right, left).sum(dim=1), torch.maximum(right, left).sum(dim=1)

    def measure_noise(self, generator: torch.Generator, start: float = 1e-7) -> None:
        """Raises the noise of each output to what seven forwards along a line show.

        The fourth difference of a smooth function is O(t^4); what is left of it is noise of standard deviation
        sqrt(mean / 70) (More & Wild, Estimating computational noise, SIAM J. Sci. Comput. 33, 2011). A kink on the
        line is no noise: its fourth difference shrinks with t, and noise does not, so a large one is measured again.
        The line begins beside the point: a kink or a jump exactly there (ReLU at 0) is not on it.
        """
        found = self._fourth_differences(generator, start)
        step, unsure = start / 64, found > 30 * self.noise
        while bool(unsure.any()) and step > SMALLEST_LINE:
            closer = self._fourth_differences(generator, step)
            # What shrinks by more than 16 is a kink (64); steps of rounding are not (8).
            unsure &= closer < found / 16
            found = torch.where(unsure, closer, found)
            unsure &= found > 30 * self.noise
            step /= 64
        self.noise = torch.maximum(self.noise, found)

    def _fourth_differences(self, generator: torch.Generator, step: float) -> Tensor:
        directions = [slot.scale * random_signs(slot.base.numel(), generator) for slot in self.slots]
        try:
            points = []
            for k in range(1, 8):
                for slot, direction in zip(self.slots, directions, strict=True):
                    slot.write(slot.base + k * step * direction)
                points.append(self.problem.values())
        finally:
            for slot in self.slots:
                slot.reset()
        differences = torch.stack(points)
        for _ in range(4):
            differences = differences[1:] - differences[:-1]
        deviation = (differences.square().mean(dim=0) / 70).sqrt()
        return torch.nan_to_num(deviation, nan=0.0, posinf=0.0, neginf=0.0)


def random_signs(count: int, generator: torch.Generator) -> Tensor:
    """Random numbers of either sign with magnitudes in [0.5, 1.5], shape (count,): no two errors cancel for sure."""
    magnitudes = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    return magnitudes * (torch.randint(0, 2, (count,), generator=generator) * 2 - 1)
