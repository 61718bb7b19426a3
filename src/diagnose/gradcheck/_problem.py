"""What is differentiated: real numbers in named slots, a function of them, real numbers out.

Everything beyond this file is about a function from R^n to R^m. A slot is one leaf tensor, an input or a parameter;
complex tensors count as pairs of reals (`view_as_real`). With v as real numbers too, what torch back-propagates for a
complex leaf is the gradient of Re<v, out> by real and by imaginary part, so both sides agree without a special case.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from diagnose.collect.nested import tensors_in
from diagnose.isolation import State

Kind = Literal["input", "parameter", "upstream"]


class Slot:
    """One leaf tensor; its content as n real numbers.

    Attributes:
        leaf: requires a gradient; belongs to the copy that is checked.
        base: its content at the point of the check, float64 on the CPU, shape (n,).
    """

    def __init__(self, name: str, kind: Kind, leaf: Tensor) -> None:
        self.name = name
        self.kind = kind
        self.leaf = leaf
        self.shape = tuple(leaf.shape)
        self.dtype = str(leaf.dtype).removeprefix("torch.")
        self._real = torch.view_as_real(leaf.data) if leaf.is_complex() else leaf.data
        self._saved = self._real.clone()
        self.base = flat(self._saved).clone()
        self.scale = scales(self.base)

    def rounded(self, values: Tensor) -> Tensor:
        """`values` as the leaf's own dtype can hold them, shape (n,)."""
        if self._real.dtype == torch.float64:
            return values
        return values.to(self._real.dtype).to(torch.float64)

    def write(self, values: Tensor) -> None:
        """Moves the leaf to `values`, shape (n,), behind autograd's back."""
        self._real.copy_(values.view(self._real.shape))

    def reset(self) -> None:
        """Moves it back, bit for bit."""
        self._real.copy_(self._saved)

    @contextlib.contextmanager
    def at(self, values: Tensor) -> Iterator[None]:
        """A context in which `values`, shape (n,), is the point of the check."""
        base, saved = self.base, self._saved
        self.write(values)
        self._saved = self._real.clone()
        self.base = flat(self._saved)
        try:
            yield
        finally:
            self.base, self._saved = base, saved
            self.reset()

    def index(self, position: int) -> tuple[int, ...]:
        """The index of the `position`-th real number; in a complex tensor the last one is 0 (real) or 1."""
        index = []
        for size in reversed(self._real.shape):
            position, remainder = divmod(position, size)
            index.append(remainder)
        return tuple(reversed(index))


def scales(base: Tensor) -> Tensor:
    """How far each number lies from zero, as the unit of its steps: max(|x|, 0.1 rms(x)); 0 where x is not finite.

    In a tensor of zeros the unit is 1. Following Dennis & Schnabel, Numerical Methods for Unconstrained Optimization
    (1983), sec. 5.4, with the tensor's own rms as the typical size.
    """
    finite = torch.isfinite(base)
    magnitude = torch.where(finite, base.abs(), 0.0)
    count = int(finite.sum())
    largest = float(magnitude.max()) if count else 0.0
    rms = largest * math.sqrt(float((magnitude / largest).square().sum()) / count) if largest > 0 else 1.0
    return torch.where(finite, magnitude.clamp(min=0.1 * rms if largest > 0 else 1.0), 0.0)


def flat(tensor: Tensor) -> Tensor:
    """The numbers of a real or complex tensor as float64 on the CPU, shape (n,); may share memory."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.reshape(-1).to("cpu", torch.float64)


@dataclass(frozen=True)
class Gradients:
    """What one cotangent gives back.

    Attributes:
        values: per slot, shape (n,); zeros where no gradient came back.
        missing: the slots for which none came back (None).
    """

    values: list[Tensor]
    missing: frozenset[int]


class Problem:
    """A function of slots. `run` reads the slots' leaves and returns anything that contains tensors."""

    def __init__(self, run: Callable[[], Any], slots: Sequence[Slot], state: State) -> None:
        self.run = run
        self.slots = list(slots)
        self.state = state
        self.forwards = 0
        self.with_graph = False
        """Whether plain forwards record a graph too: some functions compute something else without."""
        self._chosen: list[int] | None = None
        self._dtypes: list[torch.dtype] = []

    def outputs(self) -> list[Tensor]:
        """The differentiable outputs, with their graph; after the first call always the same ones."""
        with torch.enable_grad():
            return self._forward()

    def _forward(self) -> list[Tensor]:
        self.state.restore()
        self.forwards += 1
        found = [_dense(t) for t in self._results() if t.is_floating_point() or t.is_complex()]
        if self._chosen is None:
            self._chosen = [i for i, t in enumerate(found) if t.requires_grad]
            found_chosen = [found[i] for i in self._chosen]
            self._dtypes = [t.dtype for t in found_chosen]
            return found_chosen
        return [found[i] for i in self._chosen]

    def _results(self) -> Sequence[Tensor]:
        return list(tensors_in(self.run()))

    def values(self) -> Tensor:
        """All differentiable outputs as real numbers, float64 on the CPU, shape (m,); a copy."""
        with torch.set_grad_enabled(self.with_graph):
            return torch.cat([flat(output) for output in self._forward()])

    def epsilons(self, outputs: Sequence[Tensor]) -> Tensor:
        """The rounding unit of each output, shape (m,)."""
        units = [torch.full((flat(o).numel(),), torch.finfo(o.dtype).eps, dtype=torch.float64) for o in outputs]
        return torch.cat(units)

    def gradients(self, outputs: Sequence[Tensor], cotangent: Tensor) -> Gradients:
        """Back-propagates `cotangent`, shape (m,), through `outputs`; their graph stays."""
        grads = torch.autograd.grad(
            list(outputs),
            [slot.leaf for slot in self.slots],
            as_tensors(cotangent, outputs),
            retain_graph=True,
            allow_unused=True,
        )
        values: list[Tensor] = []
        missing: set[int] = set()
        for position, (slot, gradient) in enumerate(zip(self.slots, grads, strict=True)):
            if gradient is None:
                missing.add(position)
                values.append(torch.zeros_like(slot.base))
            else:
                values.append(_gradient_values(gradient, slot))
        return Gradients(values, frozenset(missing))


def _dense(tensor: Tensor) -> Tensor:
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _gradient_values(gradient: Tensor, slot: Slot) -> Tensor:
    """The gradient of a slot as real numbers; a real gradient of a complex leaf has imaginary parts of zero."""
    if slot.leaf.is_complex() and not gradient.is_complex():
        gradient = torch.complex(gradient, torch.zeros_like(gradient))
    return flat(gradient).clone()


def as_tensors(numbers: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """`numbers`, shape (m,), cut into tensors of the shapes, dtypes and devices of `like`."""
    made, start = [], 0
    for tensor in like:
        width = tensor.numel() * (2 if tensor.is_complex() else 1)
        piece = numbers[start : start + width]
        start += width
        if tensor.is_complex():
            piece = torch.view_as_complex(piece.reshape(*tensor.shape, 2).contiguous())
        made.append(piece.reshape(tensor.shape).to(tensor.device, tensor.dtype))
    return made


class SecondOrder(Problem):
    """The gradients of another problem, as a function of its slots and of the upstream gradient.

    What is checked is the backward of the backward, as `torch.autograd.gradgradcheck` does.
    """

    def __init__(self, first: Problem, cotangent: Tensor) -> None:
        outputs = first.outputs()
        self._first = first
        self._upstream = [
            Slot(f"upstream[{number}]", "upstream", tensor.detach().clone().requires_grad_())
            for number, tensor in enumerate(as_tensors(cotangent, outputs))
        ]
        super().__init__(first.run, [*first.slots, *self._upstream], first.state)
        self.with_graph = True

    def _results(self) -> Sequence[Tensor]:
        first = self._first
        with torch.enable_grad():
            grads = torch.autograd.grad(
                first.outputs(),
                [slot.leaf for slot in first.slots],
                [slot.leaf for slot in self._upstream],
                create_graph=True,
                allow_unused=True,
            )
        return [
            torch.zeros_like(slot.leaf) if gradient is None else gradient
            for slot, gradient in zip(first.slots, grads, strict=True)
        ]
