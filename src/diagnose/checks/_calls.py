"""What a forward and a loss call of torch: loss functions, dropout, detached tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_LOSSES: Final = {
    getattr(F, name): name
    for name in (
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "multilabel_soft_margin_loss",
        "multi_margin_loss",
        "kl_div",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "poisson_nll_loss",
    )
}
ELEMENTWISE: Final = frozenset(
    {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
)
SQUARES: Final = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_DROPOUTS: Final = frozenset(
    getattr(F, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)


@dataclass(frozen=True)
class LossCall:
    """A call of a loss function of torch, by name or from a module.

    Attributes:
        function: takes the input in place of the one it was given, and returns the loss.
    """

    name: str
    input: Tensor
    target: Tensor | None
    result: Tensor
    function: Callable[[Tensor], Tensor]


class Calls(TorchFunctionMode):
    """A context in which calls are noted.

    Attributes:
        losses: of loss functions, in order.
        detached: how many tensors that carry a gradient were cut from it, or computed without one.
        dropped: how many times dropout was called by name, with effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[LossCall] = []
        self.detached = 0
        self.dropped = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _LOSSES:
            self._note_loss(func, args, kwargs, result)
        elif func in (Tensor.detach, Tensor.detach_, torch.detach):
            self.detached += any(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
        elif func is Tensor.data.__get__:  # type: ignore[attr-defined]
            self.detached += args[0].requires_grad
        elif func is torch._C._set_grad_enabled:
            self.detached += args[:1] == (False,)
        elif func in _DROPOUTS:
            self.dropped += _drops(func, args, kwargs)
        return result

    def _note_loss(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        bound = inspect.signature(func).bind(*args, **kwargs)
        given, target = bound.arguments.get("input"), bound.arguments.get("target")
        if not isinstance(given, Tensor) or not isinstance(result, Tensor):
            return

        def again(value: Tensor) -> Tensor:
            again_bound = inspect.signature(func).bind(*args, **kwargs)
            again_bound.arguments["input"] = value
            out: Tensor = func(*again_bound.args, **again_bound.kwargs)
            return out

        self.losses.append(
            LossCall(_LOSSES[func], given, target if isinstance(target, Tensor) else None, result, again)
        )

    def is_the_loss(self, loss: Tensor) -> LossCall | None:
        """The call whose result the loss is, if it is one call's alone."""
        found = [call for call in self.losses if call.result.numel() == 1 and bool(call.result == loss)]
        return found[-1] if found else None


def _drops(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    return bool(bound.arguments["training"]) and bound.arguments["p"] > 0


class WithoutDropout(TorchFunctionMode):
    """A context in which dropout that is called by name does nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is F.scaled_dot_product_attention and "dropout_p" in kwargs:
            kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)
