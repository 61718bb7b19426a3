"""Code in double precision that draws the random numbers which it draws in single precision.

`torch.randn` in float64 is another sequence than in float32, for the same seed. So a float64 copy of a variational
autoencoder, say, would be another function than the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MAKING: Final = frozenset({torch.rand, torch.randn, torch.rand_like, torch.randn_like})
_FILLING: Final = frozenset(
    {
        Tensor.uniform_,
        Tensor.normal_,
        Tensor.exponential_,
        Tensor.log_normal_,
        Tensor.cauchy_,
        Tensor.geometric_,
        Tensor.bernoulli_,
    }
)
_DRAWING: Final = frozenset({torch.normal, torch.bernoulli, torch.multinomial, torch.poisson, Tensor.multinomial})


class NarrowDraws(TorchFunctionMode):
    """Context in which random numbers that would be drawn in float64 are drawn in `dtype`, and then widened.

    Args:
        dtype: a floating point type; float64 changes nothing.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in _MAKING:
            source = args[0] if args and isinstance(args[0], Tensor) else None
            default = source.dtype if source is not None else torch.get_default_dtype()
            if named.get("dtype", default) in (torch.float64, None) and named.get("out") is None:
                return func(*args, **{**named, "dtype": self.dtype}).to(torch.float64)
        elif func in _FILLING and args[0].dtype is torch.float64:
            narrow = torch.empty_like(args[0], dtype=self.dtype, requires_grad=False)
            return args[0].copy_(func(narrow, *map(self._narrowed, args[1:]), **named))
        elif func in _DRAWING:
            drawn = func(*map(self._narrowed, args), **{name: self._narrowed(value) for name, value in named.items()})
            return drawn.to(torch.float64) if drawn.dtype is self.dtype else drawn
        return func(*args, **named)

    def _narrowed(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, Tensor) and value.dtype is torch.float64 else value
