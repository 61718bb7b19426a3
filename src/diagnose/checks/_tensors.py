"""Outputs of two runs beside each other: which parts of them have changed, by more than rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Final

import torch
from torch import Tensor

ROUNDING: Final = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Change, relative to the spread of all values, that may be rounding: a thousand units in the last place or so,
as a deep model adds up. Types that are not named have 16 bits or fewer: 3e-2."""

_DEPTH: Final = 4


def named_tensors(value: Any, name: str = "output", depth: int = _DEPTH) -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a model was given or has returned, with the path to each, as `output[1].logits`."""
    if isinstance(value, Tensor):
        yield name, value
    elif depth:
        for key, item in _items(value):
            yield from named_tensors(item, name + key, depth - 1)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        names = getattr(value, "_fields", None)
        yield from ((f".{names[i]}" if names else f"[{i}]", item) for i, item in enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{key}", item) for key, item in vars(value).items())


def changes(before: Tensor, after: Tensor) -> Tensor:
    """|after - before|, elementwise, in float64; inf where one of them is NaN or infinite and the other is not."""
    old, new = (_real(tensor).to(torch.float64) for tensor in (before.detach(), after.detach()))
    change = (new - old).abs()
    same = (old == new) | (old.isnan() & new.isnan())
    return torch.where(same, torch.zeros_like(change), change.nan_to_num(nan=torch.inf, posinf=torch.inf))


def _real(tensor: Tensor) -> Tensor:
    dense = tensor.to_dense() if tensor.layout is not torch.strided else tensor
    return torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense


def spread(tensor: Tensor) -> float:
    """Standard deviation of all values, or their size if they are all alike; at least 1e-12. NaNs count as 0."""
    values = _real(tensor.detach()).to(torch.float64).nan_to_num(0.0, 0.0, 0.0)
    deviation = float(values.std(correction=0)) if values.numel() else 0.0
    return max(deviation or float(values.abs().max() if values.numel() else 0.0), 1e-12)


def rounding_of(dtype: torch.dtype) -> float:
    """Relative change that may be rounding; 0 for integers and truth values."""
    return ROUNDING.get(dtype, 3e-2) if dtype.is_floating_point or dtype.is_complex else 0.0


def moved(before: Tensor, after: Tensor) -> Tensor:
    """For each element, whether it has changed by more than rounding: shape of `before`, on the CPU."""
    change = changes(before, after)
    if before.is_complex():
        change = change.amax(-1)
    return (change > rounding_of(before.dtype) * spread(before)).cpu()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether type, shape and all values agree exactly; a NaN agrees with a NaN."""
    if a.dtype != b.dtype or a.shape != b.shape or a.layout != b.layout:
        return False
    if a.device.type == "meta" or b.device.type == "meta":
        return a.device == b.device
    return not bool(changes(a, b.to(a.device)).any()) if a.numel() else True


def largest_change(before: Tensor, after: Tensor) -> float:
    """The largest change relative to the spread of `before`; inf if the shapes differ."""
    if before.shape != after.shape:
        return float("inf")
    return float(changes(before, after).max()) / spread(before) if before.numel() else 0.0
