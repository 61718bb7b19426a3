"""How we read tensors: unseen by autograd and by the user's modes, in bounded samples, in few host reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Final, TypeGuard

import torch
from torch import Tensor

SAMPLE_ELEMENTS: Final = 4096
"""Elements of a window of a parameter, and of a bounded sample where nothing else is asked for."""

_PLAIN: Final = frozenset({Tensor, torch.nn.Parameter})


class Unseen:
    """Context in which our own tensor work is invisible: no graph, no __torch_function__, no autocast trace.

    Cheaper than `torch.no_grad()` and friends stacked; reentrant use makes a new instance.
    """

    __slots__ = ("_grad", "_guard")

    def __enter__(self) -> None:
        self._guard = torch._C.DisableTorchFunction()
        self._guard.__enter__()
        self._grad = torch.is_grad_enabled()
        if self._grad:
            torch._C._set_grad_enabled(False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._grad:
            torch._C._set_grad_enabled(True)
        self._guard.__exit__(kind, error, trace)


def readable(value: object) -> TypeGuard[Tensor]:
    """Whether `value` is an ordinary floating point tensor whose data may be read here and now; see `accessible`."""
    return accessible(value) and value.is_floating_point()


def accessible(value: object) -> TypeGuard[Tensor]:
    """Whether `value` is an ordinary tensor of any type whose data may be read here and now.

    False for fake, functional, vmapped, nested, quantised, sparse, meta or empty ones, for subclasses, and
    while a dispatch mode of the user's (a FLOP counter, say) would see our reading.
    """
    return (
        isinstance(value, Tensor)
        and type(value) in _PLAIN
        and value.layout is torch.strided
        and not value.is_quantized
        and value.numel() > 0
        and value.device.type != "meta"
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        and torch._C._len_torch_dispatch_stack() == 0
    )


def undisturbed() -> bool:
    """False where running any operation would be recorded: tracing, compiling, capturing a CUDA graph."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())
    )


def sample_rows(tensor: Tensor, unit_dim: int, *, turn: int, elements: int = SAMPLE_ELEMENTS) -> Tensor:
    """A bounded sample of examples and positions, of all units: a float32 copy of shape (R, C).

    Args:
        tensor: shape (..., C, ...) with C units along `unit_dim`; all other dimensions are examples and
            positions. Never sampled along the units: a stride can alias with channels.
        turn: rotates which examples and positions are taken, so that repeated samples cover all.
        elements: R is at most max(1, elements // C). Examples (the first dimension) go before positions.
    Returns:
        The copy, on the tensor's device. Where R is all rows, it is exact.
    """
    if tensor.dim() < 2:
        units_last = tensor.detach().reshape(1, -1)
    elif unit_dim in (-1, tensor.dim() - 1):
        units_last = tensor.detach()
    else:
        units_last = tensor.detach().movedim(unit_dim, -1)
    *row_dims, units = units_last.shape
    wanted = max(1, elements // max(units, 1))
    if math.prod(row_dims) > wanted:
        index: list[slice] = []
        for dim, size in enumerate(row_dims):
            rest = len(row_dims) - dim
            share = wanted if dim == 0 else max(1, round(wanted ** (1 / rest)))
            take = min(size, share)
            stride = size // take
            start = turn % (size - (take - 1) * stride)
            index.append(slice(start, start + (take - 1) * stride + 1, stride))
            wanted = max(1, wanted // take)
        units_last = units_last[tuple(index)]
    rows = units_last.reshape(-1, units)
    # A selection has been copied already, if it was not one stretch of memory.
    is_view = rows.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return rows.to(torch.float32, copy=is_view)


def spread_columns(rows: Tensor, most: int) -> Tensor:
    """At most `most` of the columns of `rows`, of shape (N, C), evenly spread from the first to the last."""
    if rows.shape[1] <= most:
        return rows
    columns = torch.linspace(0, rows.shape[1] - 1, most, device=rows.device).to(torch.int64)
    return rows.index_select(1, columns)


def flat_window(tensor: Tensor, *, turn: int, elements: int = SAMPLE_ELEMENTS) -> Tensor:
    """A window of at most `elements` elements, in memory order: a 1-d view if possible, else a copy.

    Successive turns walk through the whole tensor.
    """
    flat = tensor.detach()
    if flat.is_contiguous():
        flat = flat.view(-1)
    elif _is_dense(flat):  # channels_last weights and the like
        flat = flat.as_strided((flat.numel(),), (1,), flat.storage_offset())
    else:
        flat = flat.reshape(-1)
    size = flat.numel()
    if size <= elements:
        return flat
    windows = -(-size // elements)
    start = min((turn % windows) * elements, size - elements)
    return flat[start : start + elements]


def _is_dense(tensor: Tensor) -> bool:
    """Whether its elements fill one stretch of memory, in some order of the dimensions."""
    expected = 1
    for stride, size in sorted((st, si) for st, si in zip(tensor.stride(), tensor.shape, strict=True) if si > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the CPU as float32, with one transfer per device. Those on the CPU are passed on."""
    away: dict[torch.device, list[int]] = {}
    for index, tensor in enumerate(tensors):
        if tensor.device.type != "cpu":
            away.setdefault(tensor.device, []).append(index)
    host = [t if t.device.type == "cpu" else t[:0] for t in tensors]
    for indices in away.values():
        flat = torch.cat([tensors[i].reshape(-1).to(torch.float32) for i in indices]).cpu()
        for i, part in zip(indices, flat.split([tensors[i].numel() for i in indices]), strict=True):
            host[i] = part.view(tensors[i].shape)
    return host


def to_floats(scalars: Sequence[Tensor]) -> list[float]:
    """The values of 0-dim tensors, with one host read per device and dtype."""
    values: list[float] = [0.0] * len(scalars)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, scalar in enumerate(scalars):
        groups.setdefault((scalar.device, scalar.dtype), []).append(index)
    for indices in groups.values():
        read = torch.stack([scalars[i] for i in indices]).tolist()
        for i, value in zip(indices, read, strict=True):
            values[i] = value
    return values
