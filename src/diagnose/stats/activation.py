"""The shape of activation functions: where they pass a gradient on, and where they are flat.

One measure serves all of them, the *relative slope* |f'(z)| / max |f'| of the preactivation z: 1 where the
unit passes the gradient on in full, 0 where it blocks it. A ReLU's is 0 or 1; tanh's is 1 - tanh(z)^2,
the sigmoid's 4 s (1 - s). A unit is *active* for an example where it is at least ACTIVE_SLOPE.
(Glorot and Bengio 2010, sec. 3, watch saturation in the same way: through what it does to the gradient.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

ACTIVE_SLOPE: Final = 0.01
SATURATED_SLOPE: Final = 0.1
"""A unit whose mean relative slope is below this weakens the gradient tenfold: see `saturated-units`."""


@dataclass(frozen=True)
class Activation:
    """What is known about one kind of activation function.

    Attributes:
        slope: maps preactivations of any shape, float32, to relative slopes in [0, 1].
        floor: for one-sided functions, the preactivation at and below which the relative slope is less
            than ACTIVE_SLOPE all the way to minus infinity; None for the others.
        bounded: whether it flattens out on both sides, so that its units can saturate.
    """

    slope: Callable[[Tensor], Tensor]
    floor: float | None = None
    bounded: bool = False


def _step(z: Tensor) -> Tensor:
    return (z > 0).to(z.dtype)


def _exponential(z: Tensor) -> Tensor:
    return torch.where(z > 0, 1.0, torch.exp(z.clamp(max=0.0)))


def _selu(z: Tensor) -> Tensor:
    # The steepest point is just below 0, where the slope is scale * alpha; above 0 it is scale.
    return torch.where(z > 0, 1 / 1.6732632423543772, torch.exp(z.clamp(max=0.0)))


def _gelu(z: Tensor) -> Tensor:
    cumulative = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return (cumulative + z * density).abs() / 1.1289041


def _silu(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return (s * (1 + z * (1 - s))).abs() / 1.0998393


def _mish(z: Tensor) -> Tensor:
    t = torch.tanh(torch.nn.functional.softplus(z))
    return (t + z * torch.sigmoid(z) * (1 - t * t)).abs() / 1.0884981


def _hardswish(z: Tensor) -> Tensor:
    return torch.where(z > -3, torch.where(z < 3, (2 * z + 3).abs() / 6, 1.0), 0.0) / 1.5


def _tanh(z: Tensor) -> Tensor:
    t = torch.tanh(z)
    return 1 - t * t


def _sigmoid(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return 4 * s * (1 - s)


ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "relu": Activation(_step, floor=0.0),
    "relu6": Activation(lambda z: ((z > 0) & (z < 6)).to(z.dtype), floor=0.0),
    "elu": Activation(_exponential, floor=math.log(ACTIVE_SLOPE)),
    "celu": Activation(_exponential, floor=math.log(ACTIVE_SLOPE)),
    "selu": Activation(_selu, floor=math.log(ACTIVE_SLOPE)),
    "gelu": Activation(_gelu, floor=-3.03),
    "silu": Activation(_silu, floor=-6.15),
    "mish": Activation(_mish, floor=-6.17),
    "hardswish": Activation(_hardswish, floor=-3.0),
    "softplus": Activation(torch.sigmoid, floor=math.log(ACTIVE_SLOPE / (1 - ACTIVE_SLOPE))),
    "leaky_relu": Activation(torch.ones_like),
    "tanh": Activation(_tanh, bounded=True),
    "sigmoid": Activation(_sigmoid, bounded=True),
    "softsign": Activation(lambda z: (1 + z.abs()) ** -2, bounded=True),
    "hardtanh": Activation(lambda z: (z.abs() < 1).to(z.dtype), bounded=True),
    "hardsigmoid": Activation(lambda z: (z.abs() < 3).to(z.dtype), bounded=True),
    "softmax": Activation(torch.ones_like),
}
"""By kind, as found in LayerFacts.kind. `leaky_relu` never blocks; a softmax is read by its entropy."""


def entropy_share(logits: Tensor) -> float:
    """Mean entropy of softmax(logits) over the rows, as a share of ln(C): 1 uniform, 0 one-hot.

    Args:
        logits: shape (R, C), float32; non-finite rows are left out.
    Returns:
        A value in [0, 1]; NaN if C < 2 or no row is finite.
    """
    rows = logits[torch.isfinite(logits).all(dim=1)]
    if logits.shape[1] < 2 or not len(rows):
        return math.nan
    log_p = torch.log_softmax(rows, dim=1)
    return float(-(log_p.exp() * log_p).sum(dim=1).mean() / math.log(logits.shape[1]))
