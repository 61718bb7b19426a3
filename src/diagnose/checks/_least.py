"""The least that a loss can become: the model's outputs are let free, and moved until the loss is lowest.

No network does better than outputs that answer to nothing but the loss. That is exact for any loss of the outputs:
soft labels, smoothing, a hinge, something written by hand.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from diagnose.collect.nested import mapped, tensors_in

_Shape: TypeAlias = Callable[[Tensor], Tensor]

ITERATIONS: Final = 60
MOST_NUMBERS: Final = 4_000_000
"""Outputs of more numbers (a large vocabulary times a long text) are not let free: it takes memory and time."""
ROUNDING: Final = 1e-4
UNBOUNDED: Final = 10.0
"""Times the size at the start that a loss may fall below zero and still count as one that has a least value."""


def least_loss(
    loss_of: Callable[[Any], Tensor], output: Any, targets: Any = None, *, shared: bool = False
) -> tuple[float, Any] | None:
    """(the least loss, outputs that have it), or None if it is not known or there is none.

    Args:
        loss_of: the loss of such outputs.
        output: of the model, where the search begins.
        targets: where the answer may stand.
        shared: all examples get the same output, what a model can do that does not look at its inputs.
    """
    leaves = _free(output)
    if not leaves or sum(leaf.numel() for leaf in leaves) > MOST_NUMBERS:
        return None
    start = _value(loss_of, output, leaves, leaves)
    logarithms = _shape_of_logarithms(leaves)
    # Log-probabilities that are let free have no limit; anything else may be meant to leave the range that it is in.
    free = None if logarithms else _lowest(loss_of, output, leaves, targets, _as_it_is, shared)
    bound = _lowest(loss_of, output, leaves, targets, logarithms or _shape_of(leaves), shared)
    if free is not None and free[0] < -UNBOUNDED * (abs(start or 0.0) + 1):
        free = None  # without a lower bound
    if free is not None and bound is not None and free[0] < -ROUNDING <= ROUNDING + bound[0]:
        free = None  # the logarithm of what would be no probability
    found = [one for one in (free, bound) if one is not None]
    if not found:
        return None
    least = min(found, key=lambda one: one[0])
    return least[0], _replaced(output, leaves, least[1])


def _lowest(
    loss_of: Callable[[Any], Tensor],
    output: Any,
    leaves: list[Tensor],
    targets: Any,
    shape: _Shape | None,
    shared: bool,
) -> tuple[float, list[Tensor]] | None:
    """The lowest loss that outputs of this shape come to, from wherever they begin."""
    if shape is None:
        return None
    found = [_descend(loss_of, output, leaves, b, shape, shared=shared) for b in _beginnings(leaves, targets, shape)]
    return min((one for one in found if one is not None), key=lambda one: one[0], default=None)


def _as_it_is(value: Tensor) -> Tensor:
    return value


def _shape_of_logarithms(leaves: list[Tensor]) -> _Shape | None:
    """The function that makes log-probabilities, if the outputs are such."""
    first = leaves[0]
    if len(leaves) == 1 and bool((first <= 0).all()):
        for dim in _dims_of_classes(first):
            if _ones(first.exp().sum(dim)):
                return lambda z: F.log_softmax(z, dim)
    return None


def _shape_of(leaves: list[Tensor]) -> _Shape | None:
    """The function whose values are such as the outputs are: probabilities of classes, or each alone."""
    first = leaves[0]
    if len(leaves) > 1 or not bool(((first >= 0) & (first <= 1)).all()):
        return None
    for dim in _dims_of_classes(first):
        if _ones(first.sum(dim)):
            return lambda z: F.softmax(z, dim)
    return torch.sigmoid


def _dims_of_classes(tensor: Tensor) -> list[int]:
    """Never the first of several: it counts the examples."""
    first = 0 if tensor.dim() == 1 else 1
    return [dim for dim in reversed(range(first, tensor.dim())) if tensor.shape[dim] > 1]


def _ones(sums: Tensor) -> bool:
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _free(output: Any) -> list[Tensor]:
    """The tensors among the outputs that carry a gradient and can be replaced."""
    seen: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.requires_grad and not any(tensor is other for other in seen):
            seen.append(tensor)
        return tensor

    mapped(output, note)
    return seen


def _replaced(output: Any, leaves: list[Tensor], values: list[Tensor]) -> Any:
    by_id = {id(leaf): value for leaf, value in zip(leaves, values, strict=True)}
    return mapped(output, lambda tensor: by_id.get(id(tensor), tensor.detach()))


def _value(loss_of: Callable[[Any], Tensor], output: Any, leaves: list[Tensor], values: list[Tensor]) -> float | None:
    """The loss of these outputs, None if there is none."""
    try:
        value = float(loss_of(_replaced(output, leaves, [value.detach() for value in values])).detach())
    except Exception:
        return None
    return value if math.isfinite(value) else None


def _beginnings(leaves: list[Tensor], targets: Any, shape: _Shape) -> Iterator[list[Tensor]]:
    """Where to begin: at the outputs, and at the answer, if the targets look like one."""
    yield [torch.zeros_like(leaf) if shape is not _as_it_is else leaf.detach().clone() for leaf in leaves]
    target = next(tensors_in(targets), None)
    if target is None or len(leaves) != 1 or shape is not _as_it_is:
        return
    leaf = leaves[0]
    if target.is_floating_point() and target.shape == leaf.shape:
        yield [target.detach().to(leaf).clone()]
    elif target.is_floating_point() and target.numel() == leaf.numel():
        yield [target.detach().to(leaf).reshape(leaf.shape).clone()]


def _descend(
    loss_of: Callable[[Any], Tensor],
    output: Any,
    leaves: list[Tensor],
    begin: list[Tensor],
    shape: _Shape,
    *,
    shared: bool,
) -> tuple[float, list[Tensor]] | None:
    """The lowest loss on the way down from a beginning, with its outputs; None if there is no finite one."""
    free = [(value.mean(0, keepdim=True) if shared and value.dim() else value).requires_grad_() for value in begin]
    best: tuple[float, list[Tensor]] | None = None

    def outputs() -> list[Tensor]:
        return [shape(value).expand_as(leaf) for value, leaf in zip(free, leaves, strict=True)]

    def closure() -> Tensor:
        nonlocal best
        optimizer.zero_grad()
        values = outputs()
        loss = loss_of(_replaced(output, leaves, values))
        number = float(loss.detach())
        if math.isfinite(number) and (best is None or number < best[0]):
            best = number, [value.detach().clone() for value in values]
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(
        free, lr=1.0, max_iter=ITERATIONS, history_size=5, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )
    with contextlib.suppress(Exception):  # outputs that the loss does not take, or no derivative
        optimizer.step(closure)
    return best


def loss_of_zeros(loss_of: Callable[[Any], Tensor], output: Any) -> float | None:
    """The loss of outputs that favour nothing: logits of zero, equal probabilities, a regression that says zero."""
    leaves = _free(output)
    if not leaves:
        return None
    shape = _shape_of_logarithms(leaves) or _shape_of(leaves) or _as_it_is
    return _value(loss_of, output, leaves, [shape(torch.zeros_like(leaf)) for leaf in leaves])
