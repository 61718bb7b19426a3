"""The parameter ledger: who owns, runs, gets a gradient, is in an optimizer, and has ever changed."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.reading import Unseen, flat_window, readable
from diagnose.history import ParameterFacts

_WINDOW: Final = 1024
_COPIES_BYTES: Final = 64 << 20


@dataclass
class _Memory:
    """What a parameter was when first seen: its version counter, a window of it, perhaps all of it."""

    version: int
    window: Tensor
    copy: Tensor | None = None


class LedgerCollector(Collector):
    """Keeps ParameterFacts up to date on thorough samples.

    "Never changed" is exact: the version counter has not moved and the window is bit for bit the same; or, where
    the counter has moved (an optimizer added zero), a full copy compares equal. Copies are made of suspects
    only, at most 64 MiB in all. Memory: 4 KiB per parameter that has not changed yet, and the copies.
    """

    name: ClassVar[str] = "ledger"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._references: dict[str, weakref.ref[Tensor]] = {}
        self._memories: dict[str, _Memory] = {}
        self._changed: set[str] = set()
        self._ran: dict[str, int] = {}
        self._copied_bytes = 0

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._ran.clear()
        if self.shared.is_thorough:
            with Unseen():
                self._take_in()

    def module_ran(self, module: nn.Module, output: Any, order: int) -> None:
        if not self.shared.is_thorough:
            return
        name = self.inventory.module_name(module)
        if name is not None:
            self._ran.setdefault(name, order)

    def step_begins(self, step: Step) -> None:
        if not self.shared.is_thorough:
            return
        if self.inventory.stale():
            self.inventory.refresh()
        with Unseen():
            self._take_in()
        self._count(step)

    def step_ends(self, step: Step) -> None:
        if not self.shared.is_thorough:
            return
        if step.closure:
            self._count(step)
        with Unseen():
            for name, parameter in self.inventory.parameters():
                if name not in self._changed:
                    self._compare(name, parameter)

    def finish(self) -> None:
        self._memories.clear()

    def _take_in(self) -> None:
        """Notes parameters that are new, or new under their name."""
        for name, parameter in self.inventory.parameters():
            known = self._references.get(name)
            if known is not None and known() is parameter:
                continue
            # New, or new under its name: a head that was replaced begins a record of its own.
            self._references[name] = weakref.ref(parameter)
            self._changed.discard(name)
            self._memories.pop(name, None)
            module, module_type = self.inventory.owner(name)
            self.history.parameters[name] = ParameterFacts(
                shape=tuple(parameter.shape),
                module=module,
                module_type=module_type,
                requires_grad=parameter.requires_grad,
                first_step=max(self.shared.step_of.values(), default=0),
            )
            if readable(parameter):
                window = flat_window(parameter, turn=0, elements=_WINDOW).clone()
                self._memories[name] = _Memory(parameter._version, window)

    def _count(self, step: Step) -> None:
        holders: dict[int, list[str]] = {}
        for optimizer_name, optimizer in self.inventory.optimizers():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    holders.setdefault(id(parameter), []).append(optimizer_name)
        for name, parameter in self.inventory.parameters():
            facts = self.history.parameters.get(name)
            if facts is None:
                continue
            facts.requires_grad = parameter.requires_grad
            facts.optimizers = tuple(holders.get(id(parameter), ()))
            facts.module, facts.module_type = self.inventory.owner(name)
            facts.gradients += parameter.grad is not None
            order = self._ran.get(facts.module) if facts.module_type else None
            if order is not None:
                facts.forwards += 1
                facts.order = order if facts.order is None else facts.order
        self._ran.clear()

    def _compare(self, name: str, parameter: Tensor) -> None:
        memory, facts = self._memories.get(name), self.history.parameters.get(name)
        if memory is None or facts is None:
            return
        window = flat_window(parameter, turn=0, elements=_WINDOW)
        is_same_window = memory.window.shape == window.shape and memory.window.device == window.device
        if not is_same_window or not torch.equal(memory.window, window):
            self._has_changed(name, facts)
        elif parameter._version == memory.version or parameter.numel() <= _WINDOW:
            facts.changed = False
        elif memory.copy is not None:
            if torch.equal(memory.copy, parameter):
                facts.changed = False
            else:
                self._has_changed(name, facts)
        else:
            size = parameter.numel() * parameter.element_size()
            if self._copied_bytes + size <= _COPIES_BYTES:
                self._copied_bytes += size
                memory.copy = parameter.detach().clone()

    def _has_changed(self, name: str, facts: ParameterFacts) -> None:
        facts.changed = True
        self._changed.add(name)
        memory = self._memories.pop(name)
        if memory.copy is not None:
            self._copied_bytes -= memory.copy.numel() * memory.copy.element_size()
