"""Parameters, their gradients and their updates, on sampled steps.

Norms are exact, over whole tensors, in a few kernel launches (`torch._foreach_norm`). Updates are the true change
that the optimizer's step made, whatever the optimizer, over a window of at most 16,384 elements per tensor
that walks through it from sample to sample: for a tensor of n elements the RMS of one window has a relative
standard error of about sqrt((k - 1) / (4 * 16384)) for updates of kurtosis k. One host read per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.inventory import dense_gradient
from diagnose.collect.reading import Unseen, flat_window, readable, to_floats
from diagnose.history import Quantity

_ZERO_ELEMENTS: Final = 4096


def foreach_norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """L2 norms as 0-dim tensors, in order; a few launches per device and dtype. Half precision is summed in
    float32, so that a sum of squares does not overflow where the values do not.
    """
    norms: list[Tensor] = [torch.empty(0)] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(index)
    for (_, dtype), indices in groups.items():
        group = [tensors[i] for i in indices]
        if dtype in (torch.float16, torch.bfloat16):
            found = list(torch._foreach_norm(group, 2, dtype=torch.float32))
        else:
            found = list(torch._foreach_norm(group, 2))
        for i, norm in zip(indices, found, strict=True):
            norms[i] = norm
    return norms


class GradientCollector(Collector):
    """Records "grad_norm", "grad_rms", "grad_max", "grad_zero_share", "grad_nonfinite_share", "param_rms"."""

    name: ClassVar[str] = "gradients"

    def step_begins(self, step: Step) -> None:
        if not step.closure:
            self._read(step)

    def step_ends(self, step: Step) -> None:
        if step.closure:
            self._read(step)

    def _read(self, step: Step) -> None:
        held = [
            (name, parameter, gradient)
            for name, parameter in _parameters_of(self, step)
            if (gradient := dense_gradient(parameter)) is not None and readable(gradient)
        ]
        if not held:
            return
        unscale = 1.0
        with Unseen():
            # A fused optimizer unscales inside of its own step.
            scale = getattr(step.optimizer, "grad_scale", None)
            gradients = [gradient.detach() for *_, gradient in held]
            norms = foreach_norms(gradients)
            extremes = [_largest(g) for g in gradients]
            zeros = [_zeros(flat_window(g, turn=self.shared.turn, elements=_ZERO_ELEMENTS)) for g in gradients]
            sizes = foreach_norms([p.detach() for _, p, _ in held])
            read = to_floats([*norms, *extremes, *zeros, *sizes, *([scale] if scale is not None else ())])
            if scale is not None:
                unscale = 1.0 / read.pop()
        count = len(held)
        norm, extreme, zero, size = (read[i * count : (i + 1) * count] for i in range(4))
        rows: dict[Quantity, dict[str, float]] = {
            "grad_rms": {}, "grad_max": {}, "grad_zero_share": {}, "grad_nonfinite_share": {}, "param_rms": {},
        }  # fmt: skip
        for i, (name, parameter, gradient) in enumerate(held):
            rows["grad_rms"][name] = unscale * norm[i] / math.sqrt(gradient.numel())
            rows["grad_max"][name] = unscale * extreme[i]
            rows["grad_zero_share"][name] = zero[i]
            rows["grad_nonfinite_share"][name] = 0.0 if math.isfinite(norm[i]) else _nonfinite_share(gradient)
            rows["param_rms"][name] = size[i] / math.sqrt(parameter.numel())
        total = unscale * math.hypot(*norm)
        self.history.record("grad_norm", step.number, {step.name: total}, clock=step.name)
        for quantity, row in rows.items():
            self.history.record(quantity, step.number, row, clock=step.name)
        if self.shared.histogram is not None:
            with Unseen():
                for name, parameter, gradient in held:
                    for tag, tensor in (("gradients", gradient), ("parameters", parameter)):
                        window = flat_window(tensor, turn=self.shared.turn, elements=_ZERO_ELEMENTS)
                        self.shared.histogram(f"{tag}/{name}", step.number, window.float().cpu())


class UpdateCollector(Collector):
    """Records "update_rms" and "update_ratio": what the step really changed, over rotating windows."""

    name: ClassVar[str] = "updates"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._before: list[tuple[str, Tensor, Tensor]] = []

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._before.clear()

    def step_begins(self, step: Step) -> None:
        self._before.clear()
        with Unseen():
            for name, parameter in _parameters_of(self, step):
                if readable(parameter) and (parameter.grad is not None or step.closure):
                    window = flat_window(parameter, turn=self.shared.turn)
                    self._before.append((name, parameter, window.clone()))

    def step_ends(self, step: Step) -> None:
        if not self._before:
            return
        with Unseen():
            before = [window for *_, window in self._before]
            after = [flat_window(p, turn=self.shared.turn) for _, p, _ in self._before]
            changes = [a - b for a, b in zip(after, before, strict=True)]
            read = to_floats([*foreach_norms(changes), *foreach_norms(before)])
        count = len(before)
        updates, ratios = {}, {}
        for (name, *_), window, moved, size in zip(self._before, before, read[:count], read[count:], strict=True):
            updates[name] = moved / math.sqrt(window.numel())
            if size > 0:
                ratios[name] = moved / size
        self.history.record("update_rms", step.number, updates, clock=step.name)
        self.history.record("update_ratio", step.number, ratios, clock=step.name)
        if self.shared.histogram is not None:
            for (name, *_), change in zip(self._before, changes, strict=True):
                self.shared.histogram(f"updates/{name}", step.number, change[:_ZERO_ELEMENTS].float().cpu())
        self._before.clear()


def _parameters_of(collector: Collector, step: Step) -> list[tuple[str, Tensor]]:
    """The parameters that the step's optimizer holds, with their names."""
    found = []
    for group in step.optimizer.param_groups:
        for parameter in group["params"]:
            name = collector.inventory.parameter_name(parameter)
            if name is not None:
                found.append((name, parameter))
    return found


def _largest(tensor: Tensor) -> Tensor:
    """The largest magnitude; NaN or inf if there is one. (`_foreach_norm(inf)` is slow on a CPU.)"""
    low, high = torch.aminmax(tensor)
    return torch.maximum(high, -low)


def _zeros(window: Tensor) -> Tensor:
    return 1.0 - torch.count_nonzero(window) / window.numel()


def _nonfinite_share(tensor: Tensor) -> float:
    with Unseen():
        return 1.0 - float(torch.isfinite(tensor.detach()).float().mean())
