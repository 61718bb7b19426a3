"""The rules of torch's optimizers, written down once more: what a step should have done to each parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

_State: TypeAlias = dict[str, Any]
_Rule: TypeAlias = Callable[[Tensor, Tensor, Mapping[str, Any], _State], Tensor]


def rule_of(optimizer: Optimizer) -> _Rule | None:
    """(parameter, gradient, options of the group, state) -> parameter after the step; None if it is not known."""
    return next((rule for kind, rule in _RULES if isinstance(optimizer, kind)), None)


def _sgd(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State) -> Tensor:
    g = g + group["weight_decay"] * theta
    if group["momentum"]:
        velocity = state.get("velocity")
        velocity = g if velocity is None else group["momentum"] * velocity + (1 - group["dampening"]) * g
        state["velocity"] = velocity
        g = g + group["momentum"] * velocity if group["nesterov"] else velocity
    return theta - float(group["lr"]) * g


def _adam(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State) -> Tensor:
    return _adam_like(theta, g, group, state, decoupled=bool(group.get("decoupled_weight_decay")))


def _adamw(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State) -> Tensor:
    return _adam_like(theta, g, group, state, decoupled=True)


def _adam_like(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State, *, decoupled: bool) -> Tensor:
    """Kingma & Ba, 2015, algorithm 1; Loshchilov & Hutter, 2019, algorithm 2."""
    rate, decay = float(group["lr"]), group["weight_decay"]
    beta1, beta2 = (float(beta) for beta in group["betas"])
    if decoupled:
        theta = theta * (1 - rate * decay)
    else:
        g = g + decay * theta
    step = state["step"] = state.get("step", 0) + 1
    m: Tensor = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v: Tensor = beta2 * state.get("v", 0.0) + (1 - beta2) * g.abs() ** 2
    state |= {"m": m, "v": v}
    if group["amsgrad"]:
        v = state["largest"] = torch.maximum(state.get("largest", torch.zeros_like(v)), v)
    after: Tensor = theta - rate * (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + group["eps"])
    return after


def _rmsprop(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State) -> Tensor:
    """Tieleman & Hinton, 2012; centered: Graves, 2013."""
    g = g + group["weight_decay"] * theta
    alpha = group["alpha"]
    v: Tensor = alpha * state.get("v", 0.0) + (1 - alpha) * g**2
    state["v"] = v
    if group["centered"]:
        mean = state["mean"] = alpha * state.get("mean", 0.0) + (1 - alpha) * g
        v = (v - mean**2).clamp(min=0)
    step: Tensor = g / (v.sqrt() + group["eps"])
    if group["momentum"]:
        step = state["velocity"] = group["momentum"] * state.get("velocity", 0.0) + step
    return theta - float(group["lr"]) * step


def _adagrad(theta: Tensor, g: Tensor, group: Mapping[str, Any], state: _State) -> Tensor:
    """Duchi, Hazan & Singer, 2011."""
    g = g + group["weight_decay"] * theta
    step = state["step"] = state.get("step", 0) + 1
    total: Tensor = state.get("total", group["initial_accumulator_value"]) + g**2
    state["total"] = total
    after: Tensor = theta - float(group["lr"]) / (1 + (step - 1) * group["lr_decay"]) * g / (
        total.sqrt() + group["eps"]
    )
    return after


_RULES: Final[tuple[tuple[type[Optimizer], _Rule], ...]] = (
    (SGD, _sgd),
    (AdamW, _adamw),
    (Adam, _adam),
    (RMSprop, _rmsprop),
    (Adagrad, _adagrad),
)
