"""Whether the derivative along one direction is right: the step is chosen, retried, and kinks are told from faults.

1. Central differences at the balanced step. Agreement to 1e-6 and the noise ends it; so it nearly always does.
2. Disagreement may be curvature, a kink nearby, or rough rounding: smaller steps (1/8, 1/64, 1/512), then larger
ones. Agreement counts only where the noise is small against the derivative: with a step of 1e-300 all agrees.
3. Still apart, on a single element: where the slopes to either side differ and stay different as the step shrinks,
any value between them is a subgradient: a kink. Else a fault.
4. Agreement within noise as large as the derivative says nothing: larger steps, then "unresolved".
5. In less than float64 a step that is short enough for no kink is too short for the noise. There the difference over a
long step is compared with the mean of the back-propagated derivatives on the way, which no kink disturbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor

from diagnose.gradcheck._differences import LARGEST_STEP, Comparison, Differences, random_signs

Verdict = Literal["ok", "fault", "kink", "unresolved", "not-checkable"]

SCREEN_RTOL: Final = 1e-6
"""Central differences of smooth float64 code come closer than 1e-7 in 99 % of cases (measured), so this leaves room."""
LARGEST_BLUR: Final = 0.1
"""Noise above this share of the derivative would hide a fault of 10 %: unresolved."""
NODES: Final = (8, 64)
CLOSE: Final = 0.05
"""Of how many derivatives the mean over a segment is taken, and how close the first one must come for another try."""
POINTS: Final = 32
"""In a tie of four, each of the four places is met at one of so many points but in 1 of 10,000 cases."""
ZERO: Final = 1e3
"""Rounding units of the outputs' size: a derivative, per unit of scale, below that is zero to rounding (as that of a
bias before batch normalisation is)."""


NOISY: Final = "with smaller steps the two agree, but only within rounding noise"


@dataclass(frozen=True)
class Tolerances:
    """Relative errors: below `screen` without a word, up to `element` accepted and told, above it a fault.

    Attributes:
        blur: noise, relative to the derivative, above which agreement at a smaller step proves nothing.
    """

    screen: float = SCREEN_RTOL
    element: float = 1e-4
    blur: float = 1e-3


ROUGH: Final = Tolerances(screen=1e-3, element=4e-3, blur=3e-2)
"""For functions that compute in less than float64: their differences are good to 1e-3 at best (measured)."""


@dataclass(frozen=True)
class Outcome:
    """The derivative along one direction, per unit of it.

    Attributes:
        error: |analytic - numeric| relative to the larger one (along many elements: to |g o w|).
        detects: the smallest relative error that would have been seen; infinite where the derivative is 0 to rounding.
        cotangent: 0 for upstream gradients around 1, 1 for large ones.
        why: what there is to say beside the numbers.
    """

    verdict: Verdict
    analytic: float
    numeric: float
    error: float
    detects: float
    step: float
    noise: float
    cotangent: int = 0
    why: str = ""


class Examiner:
    """Judges directions of one problem."""

    def __init__(self, differences: Differences, tolerances: Tolerances) -> None:
        self.differences = differences
        self.tolerances = tolerances
        self._zero_limit = ZERO * differences.epsilon * differences.output_size

    def examine(self, position: int, w: Tensor, *, single: bool = False) -> Outcome:
        """Whether the gradient of slot number `position` is right along w, shape (n,).

        Args:
            single: w has one element. Else "fault" means that single elements have to be looked at: it may be a kink,
                or agreement that is good to 1e-4 only.
        """
        step = self.differences.step(position, w)
        first = self.differences.compare(position, w, step)
        if self._is_zero(first):
            return self._zero(first)
        if first.agrees(self.tolerances.screen):
            if first.blur <= LARGEST_BLUR:
                return self._outcome("ok", first)
            return self._resolve(position, w, first)
        outcome = self._retry(position, w, first, single)
        if self.tolerances == ROUGH and outcome.verdict in ("fault", "unresolved"):
            return self._over_a_segment(position, w) or outcome
        return outcome

    def _over_a_segment(self, position: int, w: Tensor) -> Outcome | None:
        """Agreement of the difference over a long step with the derivatives on the way; None if there is none."""
        for nodes in NODES:
            compared = self.differences.compare_over(position, w, LARGEST_STEP / 2, nodes)
            if not compared.finite:
                return None
            if compared.agrees(self.tolerances.element):
                if compared.blur > LARGEST_BLUR:
                    return self._outcome("unresolved", compared, "rounding noise is as large as the derivative")
                return self._outcome("ok", compared, "right on average over a step that meets kinks")
            if not compared.agrees(CLOSE):
                return None
        return None

    def embraced(self, position: int, flat_position: int, generator: torch.Generator) -> bool:
        """Whether derivatives by one element, at some points close by, differ and have the gradient among them.

        They are taken per output and then added up as intervals, as in `Differences.slopes`; so much further than they
        are apart, and no more, may the gradient be.
        """
        if self.tolerances == ROUGH:  # its steps are so long that any curvature would excuse a fault
            return False
        differences, slot, beside, step = self.differences, self.differences.slots[position], 1e-4, 1e-6
        w = torch.zeros_like(slot.base)
        w[flat_position] = step * slot.scale[flat_position]
        parts = []
        for _ in range(POINTS):
            x = slot.base + beside * slot.scale * random_signs(slot.base.numel(), generator)
            slope = (differences.at(slot, x + w) - differences.at(slot, x - w)) / (2 * w[flat_position])
            parts.append(differences.cotangents * torch.where(torch.isfinite(slope), slope, 0.0))
        stacked = torch.stack(parts)
        low, high = stacked.amin(dim=0).sum(dim=1), stacked.amax(dim=0).sum(dim=1)
        analytic = differences.gradients[position][:, flat_position]
        noise = (differences.cotangents * differences.noise).norm(dim=1) / abs(float(w[flat_position]))
        slack = 100 * self.tolerances.element * torch.maximum(low.abs(), high.abs()) + 8 * noise
        # Where many ties meet inside of a model, the one choice at the point is rarely among a few random ones.
        width = high - low
        beyond = slack + width
        return bool(((width > slack) & (analytic >= low - beyond) & (analytic <= high + beyond)).all())

    # ------------------------------------------------------------------ the ways on from the first comparison

    def _resolve(self, position: int, w: Tensor, first: Comparison) -> Outcome:
        """They agree, but so would other values: larger steps have less noise."""
        for factor in (8, 64, 512, 4096):
            step = min(first.step * factor, LARGEST_STEP)
            other = self.differences.compare(position, w, step)
            if other.agrees(self.tolerances.element) and other.blur <= LARGEST_BLUR:
                return self._outcome("ok", other)
            if step == LARGEST_STEP:
                break
        return self._outcome("unresolved", first, why="rounding noise is as large as the derivative")

    def _retry(self, position: int, w: Tensor, first: Comparison, single: bool) -> Outcome:
        tried = [first]
        best: Comparison | None = None
        for factor in (1 / 8, 1 / 64, 1 / 512, 8, 64):
            step = min(first.step * factor, LARGEST_STEP)
            if factor > 1 and step <= first.step:
                break
            other = self.differences.compare(position, w, step)
            tried.append(other)
            if factor == 1 / 8 and self._is_settled(first, other):
                return self._outcome("fault", other)
            if self._is_zero(other) and bool((other.noise < 0.1 * first.gap).all()):
                return self._zero(other)
            if other.blur > self.tolerances.blur and factor < 1:
                continue
            if other.agrees(self.tolerances.screen) and other.blur <= LARGEST_BLUR:
                return self._outcome("ok", other)
            if other.agrees(self.tolerances.element) and other.blur <= LARGEST_BLUR:
                best = best or other
        if best is None and first.agrees(self.tolerances.element) and first.blur <= LARGEST_BLUR:
            best = first
        if best is None and self._agrees_without_curvature(tried):
            best = first
        if best is not None:
            # Along many elements, one of them may be off by far more than they are all together: that is looked into.
            return self._outcome("ok" if single else "fault", best)
        if single:
            return self._at_a_kink(tried)
        closer = [
            c for c in tried if c.step < first.step and c.blur <= LARGEST_BLUR and c.agrees(self.tolerances.element)
        ]
        return self._outcome("fault", closer[0], NOISY) if closer else self._outcome("fault", self._clearest(tried))

    def _agrees_without_curvature(self, tried: list[Comparison]) -> bool:
        """Whether what is left at the first step is its curvature, as a larger step tells: (D(r t) - D(t)) / (r^2 - 1).

        In float32 no smaller step is to be had: its noise would hide what is looked for.
        """
        first = tried[0]
        larger = [c for c in tried if c.step > first.step and c.finite]
        if not larger or not first.finite or first.blur > LARGEST_BLUR:
            return False
        ratio = larger[0].step / first.step
        curvature = (larger[0].numeric - first.numeric) / (ratio**2 - 1)
        left = (first.analytic - (first.numeric - curvature)).abs()
        small = curvature.abs() <= 0.1 * first.reference
        return bool((small & (left <= first.noise + self.tolerances.element * first.reference)).all())

    def _is_settled(self, first: Comparison, closer: Comparison) -> bool:
        """Two steps and both sides agree among themselves, and not with back-propagation: no need to try more."""
        if not (first.finite and closer.finite):
            return False
        apart = closer.gap - closer.noise
        worst = int(apart.argmax())
        low, high = self.differences.slopes(closer)
        margin = 0.1 * float(apart[worst])
        return (
            margin > 0.1 * self.tolerances.element * float(closer.reference[worst])
            and abs(float(first.numeric[worst] - closer.numeric[worst])) < margin
            and float(high[worst] - low[worst]) < margin
        )

    def _at_a_kink(self, tried: list[Comparison]) -> Outcome:
        """The verdict on one element whose difference quotients never came close to the back-propagated value."""
        finite = [c for c in tried if c.finite]
        if not finite:
            return self._where_not_finite(tried)
        clear = [c for c in finite if c.blur <= LARGEST_BLUR]
        # Slopes to either side have twice the noise, and noise looks like a kink: it must be small beside the gap.
        usable = sorted((c for c in clear if self._is_sharp(c)), key=lambda c: c.step)
        if not clear or any(self._retracts(tried[0], c) for c in finite if c.step < tried[0].step):
            return self._outcome(
                "unresolved", self._clearest(tried), why="rounding noise is as large as the derivative"
            )
        if not usable:
            return self._outcome("fault", self._clearest(tried))
        near, far = usable[0], usable[min(1, len(usable) - 1)]
        (low, high), (far_low, far_high) = self.differences.slopes(near), self.differences.slopes(far)
        rtol = self.tolerances.element
        slack = near.noise + rtol * near.size
        width, far_width = high - low, far_high - far_low
        # On a smooth function the slopes approach each other as fast as the step shrinks.
        stays = width > 0.5 * far_width if near is not far else width > 0.5 * near.reference
        # At a jump one slope is as large as one likes, and must not widen the other end.
        between = (near.analytic >= low - slack - rtol * low.abs()) & (
            near.analytic <= high + slack + rtol * high.abs()
        )
        fits = near.gap <= slack
        if bool((fits | (between & stays & (width > slack))).all()):
            return self._outcome("kink", near, why="the function has a kink here; the value is a subgradient")
        return self._outcome("fault", self._clearest(tried))

    def _retracts(self, first: Comparison, closer: Comparison) -> bool:
        """Whether a smaller step takes back what the first one said: they agree, if with noise, and curvature shows."""
        if not closer.agrees(self.tolerances.element):
            return False
        moved = (closer.numeric - first.numeric).abs()
        return closer.blur <= LARGEST_BLUR or bool((moved > 2 * closer.noise + 0.5 * first.gap).any())

    def _is_sharp(self, compared: Comparison) -> bool:
        apart = compared.gap > compared.noise + self.tolerances.element * compared.reference
        return bool(apart.any()) and bool(((compared.noise <= 0.2 * compared.gap) | ~apart).all())

    def _where_not_finite(self, tried: list[Comparison]) -> Outcome:
        """At the edge of the domain, as of sqrt(x) at 0, only one side has values."""
        closest = min(tried, key=lambda c: c.step)
        one_sided = self._one_sided(closest)
        if one_sided is None:
            return self._outcome("unresolved", closest, why="the function is not finite on either side")
        gap = (closest.analytic - one_sided).abs()
        if bool((gap <= 0.01 * one_sided.abs() + closest.noise).all()):
            return self._outcome("kink", closest, why="at the edge of the domain; the slope to the other side agrees")
        return self._outcome("unresolved", closest, why="the function is not finite on one side")

    def _one_sided(self, compared: Comparison) -> Tensor | None:
        values, v = self.differences.values, self.differences.cotangents
        for other, sign in ((compared.ahead, 1.0), (compared.behind, -1.0)):
            dy = torch.where(torch.isfinite(values), other - values, 0.0)
            if bool(dy.isfinite().all()):
                return sign * (v @ dy) / compared.step
        return None

    def examine_unusable(self, position: int, w: Tensor) -> Outcome:
        """The verdict on an element whose back-propagated gradient is NaN or infinite.

        A fault where the function has a derivative (the well-known NaN of `where(x > 0, sqrt(x), 0)`), a kink where
        the difference quotients grow without end as the step shrinks, as those of sqrt(x) at 0 do.
        """
        compared = [self.differences.compare(position, w, step) for step in (1e-3, 1e-5, 1e-7)]
        slopes = [c.numeric if c.finite else self._one_sided(c) for c in compared]
        found = [float(s.abs().max()) for s in slopes if s is not None]
        if not found:
            return replace(
                self._outcome("unresolved", compared[-1], why="the function is not finite around this point"),
                analytic=math.nan,
            )
        grows = len(found) > 1 and found[-1] > 3 * found[0] and found[-1] > found[-2]
        if grows:
            outcome = self._outcome("kink", compared[-1], why="the derivative is infinite here")
        else:
            outcome = self._outcome("fault", compared[1], why="the function has a finite derivative here")
        slope = next(s for s in reversed(slopes) if s is not None)
        return replace(outcome, analytic=math.nan, numeric=float(slope[0]), error=math.inf, cotangent=0)

    # ------------------------------------------------------------------ how it is told

    def _is_zero(self, compared: Comparison) -> bool:
        limit = self._zero_limit
        return bool(((compared.size <= limit) & (compared.numeric.abs() <= limit + compared.noise)).all())

    def _zero(self, compared: Comparison) -> Outcome:
        return replace(self._outcome("ok", compared), error=0.0, detects=math.inf)

    @staticmethod
    def _clearest(tried: list[Comparison]) -> Comparison:
        return min(tried, key=lambda c: (not c.finite, c.blur > 0.01, c.step))

    def _outcome(self, verdict: Verdict, compared: Comparison, why: str = "") -> Outcome:
        gap = torch.nan_to_num(compared.gap, nan=math.inf)
        excess = (gap - compared.noise) / compared.reference
        worst = int(excess.argmax())
        # A fault that shows with ordinary upstream gradients is reported for these.
        if verdict == "fault" and float(excess[0]) > self.tolerances.element:
            worst = 0
        return Outcome(
            verdict,
            analytic=float(compared.analytic[worst]),
            numeric=float(compared.numeric[worst]),
            error=float(gap[worst] / compared.reference[worst]),
            detects=self.tolerances.screen + compared.blur,
            step=compared.step,
            noise=float(compared.noise[worst]),
            cotangent=worst,
            why=why,
        )
