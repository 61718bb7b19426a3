"""What has happened to an optimizer's gradients, told by a few of them.

What counts is what happens to the gradients themselves, not which function was called: a few parameters of each
optimizer, its witnesses, are followed by the identity and the version counter of their `.grad`. So `zero_grad`,
`p.grad = None`, `p.grad.zero_()` and gradients written by hand are all understood.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from diagnose.collect.reading import Unseen, flat_window, readable

_ELEMENTS: Final = 4096
_WINDOW: Final = 64

Witnesses: TypeAlias = list[weakref.ref[Tensor]]
# Identity and version of a gradient; None where there is none.
Key: TypeAlias = tuple[int, int] | None


def choose_witnesses(optimizer: Optimizer) -> Witnesses:
    """The first and the last of the parameters that have a gradient."""
    holders = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return [weakref.ref(p) for p in (holders if len(holders) < 2 else (holders[0], holders[-1]))]


def none_has_gradient(witnesses: Witnesses) -> bool:
    """Whether there are no witnesses, or none with a gradient: time to choose them anew."""
    return all(p() is None or p().grad is None for p in witnesses)  # type: ignore[union-attr]


def keys_of(witnesses: Witnesses) -> list[Key]:
    """What tells one state of the witnesses' gradients from another."""
    keys: list[Key] = []
    for reference in witnesses:
        parameter = reference()
        gradient = parameter.grad if parameter is not None else None
        keys.append(None if gradient is None else (id(gradient), gradient._version))
    return keys


def gradients_remain(witnesses: Witnesses) -> bool:
    """Whether a witness has a gradient that is not zero. Looks at values: for rare moments only."""
    with Unseen():
        for reference in witnesses:
            parameter = reference()
            gradient = parameter.grad if parameter is not None else None
            if gradient is None:
                continue
            values = gradient._values() if gradient.is_sparse else gradient
            if values.numel() and bool((values.reshape(-1)[:_ELEMENTS] != 0).any()):
                return True
    return False


def weights_of(witnesses: Witnesses) -> list[Tensor]:
    """Copies of a small window of each witness."""
    with Unseen():
        return _windows([parameter for reference in witnesses if (parameter := reference()) is not None])


def gradients_of(witnesses: Witnesses) -> list[Tensor]:
    """Copies of a small window of each witness's gradient."""
    with Unseen():
        parameters = [parameter for reference in witnesses if (parameter := reference()) is not None]
        return _windows([p.grad for p in parameters if p.grad is not None])


def _windows(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [flat_window(tensor, turn=0, elements=_WINDOW).clone() for tensor in tensors if readable(tensor)]


def same_values(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Whether two lists of windows are bit for bit the same; True if they cannot be compared."""
    with Unseen():
        pairs = zip(before, after, strict=False)
        return all(torch.equal(a, b) for a, b in pairs if a.shape == b.shape and a.device == b.device)


def same_direction(before: Sequence[Tensor], after: Sequence[Tensor], *, cosine: float = 0.999) -> bool:
    """Whether gradients are the earlier ones, perhaps scaled; True if they cannot be compared or are zero."""
    with Unseen():
        for a, b in zip(before, after, strict=False):
            if a.shape != b.shape or a.device != b.device:
                continue
            product = float((a.double() * b.double()).sum())
            size = float(a.double().norm() * b.double().norm())
            if size > 0 and product < cosine * size:
                return False
    return True
