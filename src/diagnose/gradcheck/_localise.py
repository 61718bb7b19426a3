"""Which elements of a tensor have a wrong derivative.

A sample first: the largest derivatives, the ends, some at random. If many of them are wrong, the fault is everywhere,
and as many elements are differenced as time allows, for its pattern. If few are, the tensor is halved, and a half
whose direction agrees is done with: k wrong elements among n cost about 2 k log2(n / k) comparisons instead of n.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from diagnose.gradcheck._differences import random_signs
from diagnose.gradcheck._examine import Examiner, Outcome, Verdict

Mode = Literal["auto", "screen", "sampled", "exhaustive"]

DENSE: Final = 0.3
"""Share of wrong elements in the sample from which halving costs more than looking at each."""
SMALL: Final = 128
"""Elements; of so few, each is looked at."""
ENOUGH: Final = 8
"""Kinks, and nothing else, after which no more are looked for."""
MOST: Final = 256
"""Elements that are looked at where the fault is everywhere..."""
PATTERN: Final = 1024
"""... unless there are no more than these: a transposed gradient is recognised from all of its elements."""


@dataclass(frozen=True)
class Element:
    """One derivative. `analytic` is what was back-propagated, `numeric` the difference quotient.

    Attributes:
        index: in the tensor; of a complex tensor with one number more, 0 for the real part and 1 for the imaginary.
        error: relative to the larger of the two.
        noise: what rounding may have made of `numeric`.
        step: by how much the element was moved either way.
        upstream: the size of the upstream gradients with which it shows.
    """

    index: tuple[int, ...]
    verdict: Verdict
    analytic: float
    numeric: float
    error: float
    noise: float
    step: float
    upstream: Literal["ordinary", "large"] = "ordinary"
    why: str = ""

    @property
    def ratio(self) -> float:
        """Analytic / numeric; NaN if the latter is 0."""
        return self.analytic / self.numeric if self.numeric else math.nan


@dataclass
class Located:
    """What has been found in one tensor.

    Attributes:
        elements: those that were looked at one by one, by flat position.
        covered: how many elements were looked at, singly or in a half that agreed.
        only_kinks: whether the gradient is right a little beside this point.
    """

    elements: dict[int, Element] = field(default_factory=dict)
    covered: int = 0
    only_kinks: bool = False

    def having(self, verdict: Verdict) -> list[Element]:
        return [element for element in self.elements.values() if element.verdict == verdict]


class Localiser:
    """Looks at elements of the tensors of one problem.

    Args:
        deadline: as `time.monotonic()` tells; no new comparison begins after it, but for the sample.
    """

    def __init__(self, examiner: Examiner, generator: torch.Generator, *, mode: Mode, deadline: float) -> None:
        self.examiner = examiner
        self.generator = generator
        self.mode = mode
        self.deadline = deadline

    def locate(self, position: int, *, off_kinks: Callable[[], bool], excuse: Callable[[Located], None]) -> Located:
        """Looks for wrong elements in slot number `position`.

        Args:
            off_kinks: whether the gradient is right a little beside this point; asked at most once.
            excuse: turns faults into kinks where they are.
        """
        located = Located()
        base = self.examiner.differences.slots[position].base
        total = base.numel()
        everything = total <= SMALL or self.mode == "exhaustive"
        self._look(located, position, range(total) if everything else self.sample(position), free=not everything)
        excuse(located)
        if located.covered == total or located.only_kinks:
            return located
        wrong, kinks = located.having("fault"), located.having("kink")
        if not wrong:
            # Right beside the point, and wrong at it: kinks, if any is seen, or a special case that is wrong (x == 0).
            located.only_kinks = off_kinks()
            if located.only_kinks and kinks:
                return located
        if self.mode in ("sampled", "screen"):
            return located
        order = torch.randperm(total, generator=self.generator)
        if len(wrong) + len(kinks) >= DENSE * len(located.elements):
            self._look(located, position, order[: max(MOST, total if total <= PATTERN else 0)].tolist())
        else:
            self._halve(located, position, order)
        return located

    def sample(self, position: int, count: int = 8) -> list[int]:
        """The positions of the largest and the smallest derivatives, the first, the last and some others."""
        differences = self.examiner.differences
        weight = differences.gradients[position][0].abs() * differences.slots[position].scale
        total = weight.numel()
        order = torch.argsort(weight, descending=True)
        nonzero = order[: int((weight > 0).sum())]
        unusable = torch.nonzero(differences.unusable[position]).flatten()[:count]
        chosen = [*unusable.tolist(), *order[:count].tolist(), *nonzero[-count // 2 :].tolist(), 0, total - 1]
        chosen += torch.randint(0, total, (count,), generator=self.generator).tolist()
        return list(dict.fromkeys(chosen))

    def _look(self, located: Located, position: int, chosen: Iterable[int], *, free: bool = False) -> None:
        for flat_position in chosen:
            if flat_position in located.elements:
                continue
            if not free and time.monotonic() > self.deadline:
                break
            located.elements[flat_position] = self.element(position, flat_position)
        located.covered = len(located.elements)

    def _halve(self, located: Located, position: int, order: Tensor) -> None:
        slot = self.examiner.differences.slots[position]
        signs = random_signs(slot.base.numel(), self.generator)
        unusable = self.examiner.differences.unusable[position]
        # The whole is known to be wrong; halves of a half that agrees are not looked at.
        pending = [half for half in order.chunk(2) if half.numel()]
        covered = 0
        while pending and time.monotonic() < self.deadline:
            part = pending.pop()
            if part.numel() == 1:
                self._look(located, position, part.tolist())
                covered += 1
                if located.only_kinks and len(located.having("kink")) >= ENOUGH and not located.having("fault"):
                    break
                continue
            w = torch.zeros_like(slot.base)
            w[part] = (slot.scale * signs)[part]
            if not bool(unusable[part].any()) and self.examiner.examine(position, w).verdict == "ok":
                covered += part.numel()
            else:
                pending += part.chunk(2)
        located.covered = covered

    def element(self, position: int, flat_position: int) -> Element:
        """One element of a slot, alone."""
        differences = self.examiner.differences
        slot = differences.slots[position]
        unit = float(slot.scale[flat_position])
        w = torch.zeros_like(slot.base)
        w[flat_position] = unit
        if unit == 0:
            outcome = Outcome(
                "not-checkable", math.nan, math.nan, 0.0, math.inf, 0.0, 0.0, why="the input is not finite"
            )
            unit = 1.0
        elif bool(differences.unusable[position][flat_position]):
            outcome = self.examiner.examine_unusable(position, w)
        else:
            outcome = self.examiner.examine(position, w, single=True)
        return Element(
            slot.index(flat_position),
            outcome.verdict,
            outcome.analytic / unit,
            outcome.numeric / unit,
            outcome.error,
            outcome.noise / unit,
            outcome.step * unit,
            "large" if outcome.cotangent else "ordinary",
            outcome.why,
        )
