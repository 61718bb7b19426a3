"""Parameters, their gradients and their updates, on sampled steps.

Norms are exact, over whole tensors, in a few kernel launches (`torch._foreach_norm`). Updates are the true change
that the optimizer's step made, whatever the optimizer, over a window of at most 4,096 elements per tensor
that walks through it from sample to sample: for a tensor of n elements the RMS of one window has a relative
standard error of about sqrt((k - 1) / (4 * 4096)) for updates of kurtosis k. One host read per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.inventory import dense_gradient
from diagnose.collect.reading import Unseen, flat_window, readable, to_floats
from diagnose.history import Quantity

_ZERO_ELEMENTS: Final = 4096
_FIRST: Final = 64
_COARSE: Final = 4.0
_HALF_UNIT: Final = 2.0**-24
_NUMPY_DTYPES: Final = (torch.float32, torch.float64, torch.float16)


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
    """Records "grad_norm" and "grad_rms"; in full samples "param_rms", on thorough ones "grad_max" and the shares."""

    name: ClassVar[str] = "gradients"
    each_step: ClassVar[bool] = True

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
        with Unseen():
            # A fused optimizer unscales inside of its own step.
            scale = getattr(step.optimizer, "grad_scale", None)
            gradients = [gradient.detach() for *_, gradient in held]
            # Parameters change slowly: their norms are taken in full samples only.
            parameters = [parameter.detach() for _, parameter, _ in held] if self.shared.is_full else []
            read = to_floats([*foreach_norms([*gradients, *parameters]), *([scale] if scale is not None else ())])
        unscale = 1.0 / read.pop() if scale is not None else 1.0
        norm, size = read[: len(held)], read[len(held) :]
        self.shared.gradients_are_finite = all(map(math.isfinite, norm))
        rows: dict[Quantity, dict[str, float]] = {"grad_rms": {}}
        for (name, _, gradient), its_norm in zip(held, norm, strict=True):
            rows["grad_rms"][name] = unscale * its_norm / math.sqrt(gradient.numel())
        if parameters:
            rows["param_rms"] = {
                name: its_size / math.sqrt(parameter.numel())
                for (name, parameter, _), its_size in zip(held, size, strict=True)
            }
        if self.shared.is_thorough or not self.shared.gradients_are_finite:
            rows.update(self._details([name for name, *_ in held], gradients, norm, unscale))
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

    def _details(
        self, names: list[str], gradients: list[Tensor], norm: list[float], unscale: float
    ) -> dict[Quantity, dict[str, float]]:
        with Unseen():
            windows = [flat_window(g, turn=self.shared.turn, elements=_ZERO_ELEMENTS) for g in gradients]
            # The largest magnitude is that of an extreme. (`_foreach_norm(inf)` is slow on a CPU.)
            extremes = to_floats([extreme for gradient in gradients for extreme in torch.aminmax(gradient)])
        largest = [unscale * max(-low, high) for low, high in zip(extremes[::2], extremes[1::2], strict=True)]
        bad = [0.0 if math.isfinite(n) else nonfinite_share(g) for n, g in zip(norm, gradients, strict=True)]
        return {
            "grad_max": dict(zip(names, largest, strict=True)),
            "grad_zero_share": dict(zip(names, zero_shares(windows), strict=True)),
            "grad_nonfinite_share": dict(zip(names, bad, strict=True)),
            "grad_coarse_share": self._coarse(names, windows) if unscale == 1.0 else {},
        }

    def _coarse(self, names: list[str], windows: list[Tensor]) -> dict[str, float]:
        with Unseen():
            shares = coarse_shares(windows)
        return {name: share for name, share in zip(names, shares, strict=True) if share is not None}


class UpdateCollector(Collector):
    """Records "update_rms" and "update_ratio": what the step really changed, over rotating windows."""

    name: ClassVar[str] = "updates"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._before: list[tuple[str, Tensor, int, Tensor, Tensor]] = []

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._before.clear()

    def step_begins(self, step: Step) -> None:
        self._before.clear()
        with Unseen():
            for name, parameter in _parameters_of(self, step):
                if readable(parameter) and (parameter.grad is not None or step.closure):
                    window = flat_window(parameter, turn=self.shared.turn)
                    self._before.append((name, parameter, parameter.data_ptr(), window, window.clone()))

    def step_ends(self, step: Step) -> None:
        if not self._before:
            return
        with Unseen():
            before = [copy for *_, copy in self._before]
            # The windows are views, and see what the step has done in place; few optimizers put new tensors.
            after = [
                window if parameter.data_ptr() == address else flat_window(parameter, turn=self.shared.turn)
                for _, parameter, address, window, _ in self._before
            ]
            changes = torch._foreach_sub(after, before)
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


def zero_shares(windows: Sequence[Tensor]) -> list[float]:
    """For each tensor the share of its elements that are exactly 0. NumPy counts twice as fast as torch."""
    if all(window.device.type == "cpu" and window.dtype in _NUMPY_DTYPES for window in windows):
        return [1.0 - np.count_nonzero(window.numpy()) / window.numel() for window in windows]
    counts = to_floats([torch.count_nonzero(window) for window in windows])
    return [1.0 - count / window.numel() for count, window in zip(counts, windows, strict=True)]


def coarse_shares(windows: Sequence[Tensor]) -> list[float | None]:
    """For each tensor the share of its elements that are 1 to 4 units, a unit being half precision's smallest number.

    None for a tensor that is zero, or that holds anything but multiples of the unit, as single precision does,
    and half precision whose loss scale was divided out again.
    """
    if all(window.device.type == "cpu" for window in windows):
        return [_coarse_share(window) for window in windows]
    read = to_floats([value for window in windows for value in _counted(window)])
    return [coarse if odd == 0 and some > 0 else None for odd, some, coarse in zip(*[iter(read)] * 3, strict=True)]


def _coarse_share(window: Tensor) -> float | None:
    first = window[:_FIRST].to(torch.float32) / _HALF_UNIT
    if window.dtype is torch.bfloat16 or not torch.equal(first, first.round()):
        return None  # nearly always
    odd, some, coarse = to_floats(_counted(window))
    return coarse if odd == 0 and some > 0 else None


def _counted(window: Tensor) -> list[Tensor]:
    """How many elements are no multiples of the unit, how many are not zero, the share that is 1 to 4 units."""
    units = window.to(torch.float32).abs() / _HALF_UNIT
    some = units > 0
    return [(units != units.round()).sum().float(), some.sum().float(), (some & (units <= _COARSE)).float().mean()]


def nonfinite_share(tensor: Tensor) -> float:
    """The share of elements that are NaN or infinite."""
    with Unseen():
        finite = torch.count_nonzero(torch.isfinite(tensor.detach()))
    return 1.0 - int(finite) / tensor.numel()
