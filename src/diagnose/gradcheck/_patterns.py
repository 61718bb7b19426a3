"""A guess at how a wrong gradient came about, from how it differs from the numeric one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from diagnose.gradcheck._localise import Element, Located
from diagnose.gradcheck._problem import Slot

SAME: Final = 1e-3
"""Relative: two numbers count as the same for the purposes of a guess."""


def guess(slot: Slot, gradient: Tensor, located: Located, sizes: Sequence[int]) -> str | None:
    """One clause on what the wrong elements have in common, or None.

    Args:
        gradient: what was back-propagated, shape (n,).
        sizes: of the axes of all tensors, to recognise a factor of "the batch size".
    """
    looked = {p: e for p, e in located.elements.items() if math.isfinite(e.analytic) and math.isfinite(e.numeric)}
    wrong = {p: e for p, e in looked.items() if e.verdict == "fault"}
    if not wrong:
        return None
    if all(element.upstream == "large" for element in wrong.values()):
        return (
            "right for upstream gradients around 1, wrong for large ones: the upstream gradient is clamped or ignored"
        )
    total = slot.base.numel()
    all_wrong = all(e.verdict == "fault" or e.numeric == 0 for e in looked.values())
    if all_wrong and (text := _ratio(list(wrong.values()), sizes)):
        return text
    if len(looked) == total and (text := _arrangement(slot, looked)):
        return text
    if text := _sign_of_input(slot, looked):
        return text
    if all(element.analytic == 0 for element in wrong.values()):
        return _place_of_zeros(slot, wrong, looked)
    if len(wrong) > 1 and (text := _ratio(list(wrong.values()), sizes)):
        return f"where it is wrong, {text}"
    if len(wrong) == 1 and located.covered == total:
        return "a single element is wrong"
    return None


def _ratio(wrong: Sequence[Element], sizes: Sequence[int]) -> str | None:
    """Whether all are off by one factor."""
    ratios = [element.ratio for element in wrong if element.numeric]
    if not ratios or len(ratios) < len(wrong):
        return None
    mean = sum(ratios) / len(ratios)
    # The difference quotients are only so good: an element's own noise widens what counts as the same.
    slack = [SAME * abs(mean) + 4 * element.noise / abs(element.numeric) * abs(mean) for element in wrong]
    if mean == 0:
        return "it is zero everywhere: no gradient comes back" if all(r == 0 for r in ratios) else None
    if any(abs(ratio - mean) > allowed for ratio, allowed in zip(ratios, slack, strict=True)):
        return None
    if abs(mean + 1) < SAME:
        return "the sign is flipped: it is the numeric gradient times -1"
    known = {float(size) for size in sizes if size > 1}
    for number in sorted(known):
        if abs(mean / number - 1) < SAME:
            return f"it is {number:g} times too large, and {number:g} is the size of an axis: a mean taken for a sum?"
        if abs(mean * number - 1) < SAME:
            return f"it is {number:g} times too small, and {number:g} is the size of an axis: a sum taken for a mean?"
    return f"it is {mean:.4g} times the numeric gradient throughout"


def _arrangement(slot: Slot, looked: dict[int, Element]) -> str | None:
    """Whether it is the right gradient in the wrong places: transposed, or rolled along an axis."""
    if slot.leaf.is_complex():
        return None
    numbers = [looked[p] for p in range(len(looked))]
    analytic = torch.tensor([e.analytic for e in numbers], dtype=torch.float64).view(slot.shape)
    numeric = torch.tensor([e.numeric for e in numbers], dtype=torch.float64).view(slot.shape)
    limit = SAME * float(numeric.abs().max())

    def same(candidate: Tensor) -> bool:
        return bool(((analytic - candidate).abs() <= limit).all())

    if analytic.dim() >= 2:
        moved = numeric.transpose(-1, -2)
        if moved.shape == numeric.shape and same(moved):
            return "it is the numeric gradient with its last two axes swapped: transposed"
        if same(moved.reshape(numeric.shape)):
            return "it is the transposed numeric gradient, read in the wrong order: a view where a transpose was meant?"
    for axis in range(analytic.dim()):
        for shift in (1, -1, 2, -2):
            if numeric.shape[axis] > abs(shift) and same(numeric.roll(shift, axis)):
                return f"it is the numeric gradient shifted by {shift} along axis {axis}"
            kept = numeric.roll(shift, axis)
            edge = range(shift) if shift > 0 else range(numeric.shape[axis] + shift, numeric.shape[axis])
            kept.index_fill_(
                axis, torch.tensor([i for i in edge if 0 <= i < numeric.shape[axis]], dtype=torch.int64), 0.0
            )
            if numeric.shape[axis] > abs(shift) and same(kept):
                return f"it is the numeric gradient shifted by {shift} along axis {axis}, zeros at the edge"
        if numeric.shape[axis] > 1 and same(numeric.flip(axis)):
            return f"it is the numeric gradient in reverse order along axis {axis}"
    return None


def _sign_of_input(slot: Slot, looked: dict[int, Element]) -> str | None:
    wrong = [p for p, e in looked.items() if e.verdict == "fault"]
    right = [p for p, e in looked.items() if e.verdict == "ok" and e.numeric != 0]
    if len(wrong) < 2 or len(right) < 2:
        return None
    for name, test in (("negative", torch.lt), ("positive", torch.gt)):
        inside = test(slot.base, 0)
        if all(inside[p] for p in wrong) and not any(inside[p] for p in right):
            return f"it is wrong only where the tensor itself is {name}"
    return None


def _place_of_zeros(slot: Slot, wrong: dict[int, Element], looked: dict[int, Element]) -> str:
    """Which part of the tensor gets no gradient."""
    nonzero = [p for p, e in looked.items() if e.numeric != 0 and e.verdict == "ok"]
    for axis in range(len(slot.shape)):
        inside = {slot.index(p)[axis] for p in wrong}
        outside = {slot.index(p)[axis] for p in nonzero}
        if inside and outside and not inside & outside:
            low, high = min(inside), max(inside)
            if all(not low <= index <= high for index in outside):
                stop = "" if high == slot.shape[axis] - 1 else f"{high + 1}"
                begin = "" if low == 0 else f"{low}"
                axes = [":"] * len(slot.shape)
                axes[axis] = f"{low}" if low == high else f"{begin}:{stop}"
                return f"it is zero in [{', '.join(axes)}], where the function does depend on it"
    return "it is zero where the function does depend on it"
