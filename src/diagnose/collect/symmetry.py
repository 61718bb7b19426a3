"""Layers whose units are copies of one another, and get gradients that keep them so."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.inventory import dense_gradient
from diagnose.collect.reading import Unseen, readable, to_floats
from diagnose.history import SymmetryFacts

TOLERANCE: Final = 1e-3
"""Units that are computed alike differ by rounding, about 1e-6; those of a random initialisation by about 1."""

_COLUMNS: Final = 64
_ROWS: Final = 4096
# The gates of a recurrent layer and the three projections of attention lie in one matrix, one below the other.
_STACKED: Final = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3, "MultiheadAttention": 3}
# Rows of a table are not units: each is trained when it is looked up.
_TABLES: Final = ("Embedding",)


@dataclass
class _Suspect:
    reference: weakref.ref[Tensor]
    axes: tuple[int, ...]
    blocks: int
    facts: SymmetryFacts


class SymmetryCollector(Collector):
    """Keeps `History.symmetric` on thorough samples, right before a step (with a closure, after it), when values
    and gradients are there.

    A parameter is looked at as a whole only while its first two units agree; one look at which they do not, or at
    which their gradients do not, clears it for good. So a healthy model costs two small kernels per matrix, once.
    """

    name: ClassVar[str] = "symmetry"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._cleared: dict[int, weakref.ref[Tensor]] = {}
        self._suspects: dict[str, _Suspect] = {}

    def step_begins(self, step: Step) -> None:
        if self.shared.is_thorough and not step.closure:
            self._compare(step)

    def step_ends(self, step: Step) -> None:
        if self.shared.is_thorough and step.closure:
            self._compare(step)

    def _compare(self, step: Step) -> None:
        with Unseen():
            self._take_in(step)
            held = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
            for name, suspect in list(self._suspects.items()):
                parameter = suspect.reference()
                if parameter is not None and id(parameter) in held:
                    self._look(name, suspect, parameter, step)

    def _take_in(self, step: Step) -> None:
        """Suspects among the parameters that are new: those whose first two units agree."""
        new: list[tuple[str, Tensor, int]] = []
        differences: list[Tensor] = []
        for name, parameter in self.inventory.parameters():
            known = self._cleared.get(id(parameter))
            if (known is not None and known() is parameter) or self._is_suspect(name, parameter):
                continue
            self._cleared[id(parameter)] = weakref.ref(parameter)
            if parameter.dim() < 2 or not parameter.requires_grad or not readable(parameter):
                continue
            for axis in self._axes(name, parameter):
                pair = parameter.detach().narrow(axis, 0, 2).movedim(axis, 0).reshape(2, -1)[:, :_COLUMNS]
                new.append((name, parameter, axis))
                differences.append((pair[0] - pair[1]).abs().amax())
        for (name, parameter, axis), difference in zip(new, to_floats(differences), strict=True):
            if difference == 0.0:
                self._suspect(name, parameter, axis, step)

    def _is_suspect(self, name: str, parameter: Tensor) -> bool:
        suspect = self._suspects.get(name)
        return suspect is not None and suspect.reference() is parameter

    def _suspect(self, name: str, parameter: Tensor, axis: int, step: Step) -> None:
        known = self._suspects.get(name)
        axes = (*known.axes, axis) if known is not None and known.reference() is parameter else (axis,)
        facts = SymmetryFacts(units=parameter.shape[axis], first_step=step.number, last_step=step.number)
        blocks = _STACKED.get(self.inventory.owner(name)[1], 1)
        self._suspects[name] = _Suspect(weakref.ref(parameter), axes, blocks, facts)

    def _axes(self, name: str, parameter: Tensor) -> tuple[int, ...]:
        """Along which dimensions the units of a layer may lie."""
        kind = self.inventory.owner(name)[1]
        if kind.startswith(_TABLES):
            return ()
        if kind.startswith("ConvTranspose"):
            axes: tuple[int, ...] = (1,)
        elif kind in _STACKED or kind.startswith(("Linear", "Conv", "Bilinear", "RNN")):
            axes = (0,)
        else:  # a parameter of the user's own: `x @ w` or `x @ w.T`
            axes = (0, 1) if parameter.dim() == 2 and min(parameter.shape) > 1 else ()
        return tuple(axis for axis in axes if parameter.shape[axis] > 1)

    def _look(self, name: str, suspect: _Suspect, parameter: Tensor, step: Step) -> None:
        gradient = dense_gradient(parameter)
        if gradient is None or gradient.shape != parameter.shape:
            return
        tensors = parameter.detach(), gradient
        axes = tuple(axis for axis in suspect.axes if all(_alike(t, axis, suspect.blocks) for t in tensors))
        if not axes:
            del self._suspects[name]
            self._cleared[id(parameter)] = weakref.ref(parameter)
            self.history.symmetric.pop(name, None)
            return
        suspect.axes = axes
        facts = self.history.symmetric[name] = suspect.facts
        facts.looks += 1
        facts.last_step = step.number
        facts.units = parameter.shape[axes[0]] // suspect.blocks
        facts.zero = not bool(parameter.any())
        facts.without_gradient = not bool(gradient.any())


def _alike(tensor: Tensor, axis: int, blocks: int) -> bool:
    """Whether all units within each block are the same, but for rounding. Of a large tensor a part is compared."""
    return all(_spread(rows) <= TOLERANCE for rows in _blocks(tensor, axis, blocks))


def _blocks(tensor: Tensor, axis: int, blocks: int) -> Iterator[Tensor]:
    rows = tensor.movedim(axis, 0).flatten(1)[:, :_COLUMNS]
    if rows.shape[0] % blocks:
        blocks = 1
    for block in rows.chunk(blocks):
        yield block[:_ROWS].to(torch.float32)


def _spread(rows: Tensor) -> float:
    """The largest difference to the first row, as a share of the largest value; 0 where all are 0."""
    largest = float(rows.abs().amax())
    return float((rows - rows[:1]).abs().amax()) / largest if largest > 0 else largest
