"""Trains copies of a model's weights on a few examples, in a way that nothing in the run can notice.

The weights are copied, not the model: `functional_call` lends the copies to the user's own module for the time of one
forward and backward, so that nothing of the user's is deep-copied, pickled or made twice. Gradients are asked for
with `autograd.grad`, so none are accumulated anywhere; the optimizer is written out here, since a torch optimizer
would call the hooks of everybody who listens to steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.rnn import RNNBase
from torch.utils._pytree import tree_map_only

from diagnose.collect.unnoticed import attributes_of, out_of_sight, refusal, restore

RATES: Final = (1e-2, 1e-3)
"""Learning rates of Adam that are tried, each from the present weights: around its usual 1e-3."""

STEPS: Final = 50
FEWEST_STEPS: Final = 20
FITTED: Final = 0.1
"""Share of the loss at which the examples count as fitted, so that no more steps are needed."""

_BETAS: Final = (0.9, 0.999)
_RANDOM: Final = (_DropoutNd, RNNBase, nn.MultiheadAttention)
"""Modules that drop activations while they train; the noise would hide a fit."""


class NotFittedError(Exception):
    """Why no fit was tried."""


@dataclass(frozen=True)
class Fit:
    """What came of it.

    Attributes:
        steps: made in all.
        before, after: the loss with the present weights, and the lowest that was reached.
    """

    steps: int
    before: float
    after: float


class _Objective(nn.Module):
    """A model and what is to be minimised: one call runs forward and backward, while the copies stand in."""

    def __init__(self, model: nn.Module, loss_of: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss_of = loss_of

    def forward(self, leaves: list[Tensor], args: Any, kwargs: Any) -> tuple[float, list[Tensor]]:
        loss = self.loss_of(self.model(*args, **kwargs))
        if not loss.requires_grad:
            raise NotFittedError("its loss has no gradient")
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return float(loss.detach()), [
            torch.zeros_like(leaf) if grad is None else grad.to_dense()
            for leaf, grad in zip(leaves, found, strict=True)
        ]


def fit_unnoticed(
    model: nn.Module, args: Any, kwargs: Any, loss_of: Callable[[Any], Tensor], *, seconds: float, constant: float
) -> Fit:
    """Minimises the loss of one batch with copies of the trainable weights of `model`.

    Args:
        loss_of: the loss of what the model puts out.
        seconds: how long it may take.
        constant: the loss of the best constant answer; a fit is good enough at a tenth of it.

    Raises:
        NotFittedError: it cannot be tried, or would take too long.
    """
    if reason := refusal(model):
        raise NotFittedError(reason)
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        raise NotFittedError("it has forward hooks, which may be a part of what it computes")
    if any(p.dtype not in (torch.float32, torch.float64) for p in model.parameters()):
        raise NotFittedError("its weights are not of full precision")
    if not any(p.requires_grad for p in model.parameters()):
        raise NotFittedError("it has no weights that are trained")
    before = attributes_of(model)
    try:
        with out_of_sight(model), _no_dropout(model), torch.enable_grad():
            fit = _tried(model, args, kwargs, loss_of, seconds, constant)
    except NotFittedError:
        restore(before)
        raise
    except Exception as error:
        restore(before)
        raise NotFittedError(f"a forward and backward of its own raised {type(error).__name__}: {error}") from error
    if changed := restore(before):
        raise NotFittedError(f"its forward changes its attribute {changed}")
    return fit


def _tried(
    model: nn.Module, args: Any, kwargs: Any, loss_of: Callable[[Any], Tensor], seconds: float, constant: float
) -> Fit:
    begun_s = time.perf_counter()
    objective = _Objective(model, loss_of)
    made, first, lowest = 0, math.nan, math.inf
    for rate in RATES:
        copies = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
        buffers = {f"model.{name}": b.detach().clone() for name, b in model.named_buffers()}
        leaves = [copies[f"model.{name}"].requires_grad_() for name, p in model.named_parameters() if p.requires_grad]
        adam = _Adam(leaves, rate)
        for _ in range(STEPS):
            inputs = tree_map_only(Tensor, torch.clone, (args, kwargs))
            loss, gradients = functional_call(objective, {**copies, **buffers}, (leaves, *inputs))
            if not math.isfinite(loss):
                if not made:
                    raise NotFittedError("its loss is not finite")
                break
            first = loss if not made else first
            lowest = min(lowest, loss)
            made += 1
            if lowest <= FITTED * min(first, constant):
                return Fit(made, first, lowest)
            adam.step(gradients)
            spent_s = time.perf_counter() - begun_s
            if made == 1 and spent_s * FEWEST_STEPS > seconds:
                raise NotFittedError("its steps take too long for some of them to be made more")
            if spent_s > seconds:
                return Fit(made, first, lowest)
    return Fit(made, first, lowest)


class _Adam:
    """Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015."""

    def __init__(self, leaves: list[Tensor], rate: float) -> None:
        self._leaves, self._rate, self._steps = leaves, rate, 0
        with torch.no_grad():
            self._means = [torch.zeros_like(leaf) for leaf in leaves]
            self._squares = [torch.zeros_like(leaf) for leaf in leaves]

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        self._steps += 1
        slow, slower = _BETAS
        torch._foreach_lerp_(self._means, gradients, 1 - slow)
        torch._foreach_mul_(self._squares, slower)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1 - slower)
        roots = torch._foreach_sqrt(self._squares)
        torch._foreach_mul_(roots, 1 / math.sqrt(1 - slower**self._steps))
        torch._foreach_add_(roots, 1e-8)
        torch._foreach_addcdiv_(self._leaves, self._means, roots, -self._rate / (1 - slow**self._steps))


class _no_dropout:  # noqa: N801 (a context, as torch.no_grad is)
    """Within it the modules that drop activations do not; norms go on as they are."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [m for m in model.modules() if isinstance(m, _RANDOM) and m.training]

    def __enter__(self) -> None:
        # Not `eval()`, which users override and others listen to.
        for module in self._modules:
            module.__dict__["training"] = False

    def __exit__(self, *error: object) -> None:
        for module in self._modules:
            module.__dict__["training"] = True
