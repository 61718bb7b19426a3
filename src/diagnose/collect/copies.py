"""Parameters that begin as copies of one another although they have different roles."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.reading import Unseen, readable
from diagnose.history import TwinFacts

_WINDOW: Final = 64
_ROWS: Final = 1024
_TWINS_MAX: Final = 32


@dataclass
class _Twins:
    table: weakref.ref[Tensor]
    other: weakref.ref[Tensor]
    facts: TwinFacts


class TyingCollector(Collector):
    """Keeps `History.twins`: embeddings and weights of other layers that were bit for bit the same at the start.

    Looks for them once per model, before its first step, and compares them on thorough samples, before the step:
    code that copies one onto the other after each step has done so by then.
    """

    name: ClassVar[str] = "tying"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._examined: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._twins: list[_Twins] = []

    def step_begins(self, step: Step) -> None:
        if not self.shared.is_thorough:
            return
        with Unseen():
            for twins in self._twins:
                self._compare(twins, step)
            for _, model in self.inventory.models():
                if model not in self._examined:
                    self._examined.add(model)
                    self._examine(model, step)

    def finish(self) -> None:
        self._twins.clear()

    def _examine(self, model: nn.Module, step: Step) -> None:
        modules = list(model.modules())
        elsewhere = {
            id(parameter): parameter
            for module in modules
            if not isinstance(module, nn.Embedding)
            for parameter in module._parameters.values()
            if parameter is not None and parameter.dim() == 2 and parameter.requires_grad and readable(parameter)
        }
        for module in modules:
            # A table that is tied to a layer is no copy; what else began as its copy was meant to.
            if not isinstance(module, nn.Embedding) or id(module.weight) in elsewhere:
                continue
            for other in elsewhere.values():
                if len(self._twins) < _TWINS_MAX and _are_copies(module.weight, other):
                    self._begin(module.weight, other, step)

    def _begin(self, table: Tensor, other: Tensor, step: Step) -> None:
        names = [self.inventory.parameter_name(tensor) for tensor in (table, other)]
        if None in names:
            return
        facts = TwinFacts(str(names[0]), str(names[1]), first_step=step.number, last_step=step.number)
        self.history.twins.append(facts)
        self._twins.append(_Twins(weakref.ref(table), weakref.ref(other), facts))

    def _compare(self, twins: _Twins, step: Step) -> None:
        table, other, facts = twins.table(), twins.other(), twins.facts
        if table is None or other is None or table.shape != other.shape:
            return
        if not any(held is other for group in step.optimizer.param_groups for held in group["params"]):
            return
        facts.last_step = step.number
        rows = slice(None, None, -(-len(table) // _ROWS))
        kept, moved = table.detach()[rows], other.detach()[rows]
        difference = float(torch.linalg.vector_norm(kept - moved))
        size = float(torch.linalg.vector_norm(kept))
        facts.distance = difference / size if size > 0 else difference
        if facts.distance and facts.parted_at is None:
            facts.parted_at = step.number
        elif not facts.distance:
            facts.parted_at = None


def _are_copies(table: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values, which are not all equal, in different memory."""
    if not readable(table) or table.shape != other.shape or table.dtype != other.dtype or table.device != other.device:
        return False
    if table.untyped_storage().data_ptr() == other.untyped_storage().data_ptr():
        return False
    table, other = table.detach(), other.detach()
    if not torch.equal(table[-1, :_WINDOW], other[-1, :_WINDOW]):
        return False
    return torch.equal(table, other) and bool((table != table[-1, -1]).any())
