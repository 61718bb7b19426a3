"""Functions with right and with wrong backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Square(torch.autograd.Function):
    """x^2, with the right backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * upstream


@dataclass(frozen=True)
class Wrong:
    """How the backward of `Planted` is wrong: what is done to the gradients, and to the upstream gradient."""

    gradients: Callable[[list[Tensor], Sequence[Tensor]], Sequence[Tensor | None]] = lambda grads, inputs: grads
    upstream: Callable[[Tensor], Tensor] = lambda upstream: upstream


class Planted(torch.autograd.Function):
    """Any function, with a fault in its backward."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], wrong: Wrong, *inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.inputs = [x.detach().clone().requires_grad_() for x in inputs]
            ctx.output = function(*ctx.inputs)
        ctx.wrong = wrong
        return ctx.output.detach().clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        upstream = ctx.wrong.upstream(upstream)
        grads = torch.autograd.grad(ctx.output, ctx.inputs, upstream, retain_graph=True)
        return None, None, *ctx.wrong.gradients([g.clone() for g in grads], ctx.inputs)


def planted(function: Callable[..., Tensor], wrong: Wrong) -> Callable[..., Tensor]:
    """`function` with a fault."""
    return lambda *inputs: Planted.apply(function, wrong, *inputs)  # type: ignore[no-any-return]


def changed(change: Callable[[Tensor], Tensor]) -> Wrong:
    """A fault that does the same to each gradient."""
    return Wrong(lambda grads, inputs: [change(gradient) for gradient in grads])


class Apply(nn.Module):
    """A module that applies a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normally distributed numbers, at least 0.1 away from zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    return x + 0.1 * (x.real if dtype.is_complex else x).sign()
