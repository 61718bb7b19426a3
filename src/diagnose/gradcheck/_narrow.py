"""Gradients in less than float64, compared with those of a float64 copy that differences have vouched for.

Differences of float32 code are good to 1e-3; but the same code in float64 can be checked to 1e-6, and what is left
to see in float32 is whether its backward comes to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from diagnose.gradcheck._differences import random_signs
from diagnose.gradcheck._judge import Judgement
from diagnose.gradcheck._localise import Element
from diagnose.gradcheck._prepare import Prepared
from diagnose.gradcheck._problem import Problem, flat
from diagnose.gradcheck._report import Entry

ROOM: Final = 20.0
"""How many times what rounding the inputs does to the gradient may be between the two precisions."""
FLOOR: Final = 1e3
"""Rounding units of the outputs, per unit of the tensor's scale."""


def same_function(given: Prepared, wide: Prepared) -> str | None:
    """Why the float64 copy is not the same function; None if it is."""
    outputs, copies = given.problem.outputs(), wide.problem.outputs()
    given.problem.state.note_what_moves()
    wide.problem.state.note_what_moves()
    if len(outputs) != len(copies) or any(a.shape != b.shape for a, b in zip(outputs, copies, strict=True)):
        return "it returns other outputs"
    if any(copy.dtype not in (torch.float64, torch.complex128) for copy in copies):
        return "it computes in less than float64 whatever it is given"
    for output, copy in zip(outputs, copies, strict=True):
        here, there = flat(output), flat(copy)
        finite = torch.isfinite(here) & torch.isfinite(there)
        gap, size = (here - there)[finite].norm(), there[finite].norm()
        # Rounding of half-precision code adds up to a few per cent; another dropout mask makes 100 %.
        if float(gap) > 4 * math.sqrt(_epsilon(given)) * float(size) + 1e-30:
            return "it computes other numbers there"
    return None


def _epsilon(prepared: Prepared) -> float:
    return max(torch.finfo(slot.leaf.dtype).eps for slot in prepared.problem.slots)


def compared_with_wide(
    given: Prepared, wide: Prepared, judgement: Judgement, entries: list[Entry], seed: int
) -> list[Entry]:
    """The entries of the float64 copy; those right there become faults where the given precision comes out elsewhere.

    Args:
        judgement: of the float64 copy.
    """
    if judgement.gradients is None:
        return entries
    epsilon = _epsilon(given)
    outputs = given.problem.outputs()
    own = given.problem.gradients(outputs, judgement.cotangent)
    size = float((judgement.cotangent * torch.nan_to_num(judgement.values, posinf=0.0, neginf=0.0)).norm())
    checked = []
    sensitivity: list[Tensor] | None = None
    for entry in entries:
        position = next(
            (i for i, s in enumerate(given.problem.slots) if s.name == entry.name and entry.order == 1), None
        )
        if position is None:
            checked.append(entry)
            continue
        slot = given.problem.slots[position]
        entry = replace(entry, dtype=slot.dtype)
        here, there = own.values[position], judgement.gradients.values[position]
        allowed = 3 * math.sqrt(epsilon) * (there.abs() + there.abs().max()) + _over(FLOOR * epsilon * size, slot.scale)
        off = (here - there).abs() > allowed
        if bool(off.any()) and sensitivity is None:
            with wide.problem.state:
                sensitivity = _sensitivity(wide.problem, judgement, epsilon, seed)
        if sensitivity is not None:
            off &= (here - there).abs() > allowed + ROOM * sensitivity[position]
        if entry.verdict in ("ok", "kink", "unresolved") and bool(off.any()):
            entry = _off(entry, slot.index, here, there, off)
        checked.append(entry)
    return checked


def _over(number: float, scale: Tensor) -> Tensor:
    return torch.where(scale > 0, number / scale, math.inf)


def _off(entry: Entry, index: Callable[[int], tuple[int, ...]], here: Tensor, there: Tensor, off: Tensor) -> Entry:
    gap = torch.where(off, (here - there).abs(), 0.0)
    worst = int(torch.nan_to_num(gap, nan=math.inf).argmax())
    a, d = float(here[worst]), float(there[worst])
    element = Element(index(worst), "fault", a, d, abs(a - d) / max(abs(a), abs(d), 1e-300), 0.0, 0.0)
    return replace(
        entry,
        verdict="fault",
        faults=int(off.sum()),
        worst=element,
        elements=(element,),
        reason=f"the same backward is right in float64, and gives this in {entry.dtype}",
    )


def _sensitivity(problem: Problem, judgement: Judgement, epsilon: float, seed: int) -> list[Tensor]:
    """By how much each derivative moves when all inputs are rounded, at most, of three ways of rounding."""
    generator = torch.Generator().manual_seed(seed)
    assert judgement.gradients is not None
    moved = [torch.zeros_like(values) for values in judgement.gradients.values]
    for _ in range(3):
        try:
            for slot in problem.slots:
                slot.write(slot.base * (1 + epsilon * random_signs(slot.base.numel(), generator)))
            found = problem.gradients(problem.outputs(), judgement.cotangent)
        finally:
            for slot in problem.slots:
                slot.reset()
        for position, values in enumerate(found.values):
            gap = (values - judgement.gradients.values[position]).abs()
            moved[position] = torch.maximum(moved[position], gap)
    return moved
