"""Parameters that several optimizers hold: whether two of them use one gradient, or pull at one output layer."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.callsite import call_site
from diagnose.collect.witnesses import Witnesses, gradients_remain
from diagnose.history import EventKind


@dataclass
class _Used:
    """What one optimizer has used of the parameters that it shares with another.

    Attributes:
        witnesses: one shared parameter; shares: how many there are; name: its name.
        parameters: identities of all of them; contained: whether the other one holds more than these, and the first
            one only these.
        gradient: the gradient that the latest step of the first one used, None if cleared since.
        stepped: steps of the first one by the latest step of the other.
    """

    witnesses: Witnesses
    shares: int
    name: str
    parameters: frozenset[int]
    contained: bool
    gradient: weakref.ref[Tensor] | None = None
    stepped: int = 0


@dataclass
class _State:
    """One optimizer: the number of its parameters, and what it shares with each of the others."""

    size: int = -1
    others: dict[str, _Used] = field(default_factory=dict)


class SharingCollector(Collector):
    """Notes "stepped-twice" and "stepped-by-both".

    Two optimizers that hold the same parameter are no fault while each steps with gradients of its own, as those of
    an adversarial autoencoder do. What is noted is a step with a gradient that is in the parameter still from the
    step of another one: the same tensor, not cleared since. And a step, in turn with those of another one, that moves
    all that this other one trains, where that is the last before the loss: a critic that is moved by the optimizer of
    what it judges. What the optimizers of an encoder share comes first. Memory: O(pairs of optimizers that share).
    """

    name: ClassVar[str] = "sharing"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._states: weakref.WeakKeyDictionary[Optimizer, _State] = weakref.WeakKeyDictionary()
        self._sizes: dict[str, int] = {}
        self._contained = False
        self._orders: dict[int, int] = {}

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._orders.clear()
        for optimizer, state in self._states.items():
            if optimizer is stepped:
                _remember(state)
            elif not follows:
                _forget(state)

    def module_ran(self, module: nn.Module, output: Any, order: int) -> None:
        if self._contained:
            self._orders.update((id(p), order) for p in module._parameters.values() if p is not None)

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        for state in self._states.values():
            for used in state.others.values():
                if used.gradient is not None and not gradients_remain(used.witnesses):
                    used.gradient = None

    def step_begins(self, step: Step) -> None:
        self._look_for_shares(step)
        for optimizer, state in self._states.items():
            used = state.others.get(step.name)
            if optimizer is step.optimizer or used is None:
                continue
            if _is_there(used):
                self._note("stepped-twice", step, optimizer, used)
            elif used.contained and self._takes_turns(optimizer, used) and self._is_last(step.optimizer, used):
                self._note("stepped-by-both", step, optimizer, used)

    def _takes_turns(self, optimizer: Optimizer, used: _Used) -> bool:
        """Whether the first one has made a step since the latest of the other."""
        before = used.stepped
        used.stepped = self.shared.step_of.get(self.inventory.optimizer_name(optimizer) or "", 0)
        return 0 < before < used.stepped

    def _is_last(self, optimizer: Optimizer, used: _Used) -> bool:
        """Whether what is shared ran, and all else that `optimizer` trains ran before it."""
        held = [id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        own = [self._orders[p] for p in held if p in self._orders and p not in used.parameters]
        shared = [self._orders[p] for p in held if p in self._orders and p in used.parameters]
        return bool(own and shared) and max(own) < min(shared)

    def _note(self, kind: EventKind, step: Step, optimizer: Optimizer, used: _Used) -> None:
        site = call_site()
        self.history.note(
            kind,
            step.number,
            step.name,
            other=self.inventory.optimizer_name(optimizer),
            parameters=used.shares,
            parameter=used.name,
            file=site.file if site else None,
            line=site.line if site else None,
        )

    def step_ends(self, step: Step) -> None:
        state = self._states.get(step.optimizer)
        if state is not None:
            _remember(state)

    def _look_for_shares(self, step: Step) -> None:
        """Who shares with whom; looked at anew when an optimizer is new or has got other parameters."""
        sizes = {
            name: sum(len(group["params"]) for group in optimizer.param_groups)
            for name, optimizer in self.inventory.optimizers()
        }
        if sizes == self._sizes:
            return
        self._sizes = sizes
        held = {
            name: (optimizer, {id(p): p for group in optimizer.param_groups for p in group["params"]})
            for name, optimizer in self.inventory.optimizers()
        }
        for name, (optimizer, own) in held.items():
            state = self._states.setdefault(optimizer, _State())
            for other, (_, theirs) in held.items():
                shared = [p for key, p in own.items() if key in theirs] if other != name else []
                if not shared:
                    state.others.pop(other, None)
                elif other not in state.others:
                    first = next((p for p in shared if p.grad is not None), shared[0])
                    label = self.inventory.parameter_name(first) or ""
                    state.others[other] = _Used(
                        [weakref.ref(first)],
                        len(shared),
                        label,
                        frozenset(map(id, shared)),
                        contained=len(shared) == len(own) < len(theirs),
                    )
        self._contained = any(used.contained for state in self._states.values() for used in state.others.values())


def _remember(state: _State) -> None:
    for used in state.others.values():
        parameter = used.witnesses[0]()
        gradient = parameter.grad if parameter is not None else None
        used.gradient = weakref.ref(gradient) if gradient is not None else None


def _forget(state: _State) -> None:
    for used in state.others.values():
        used.gradient = None


def _is_there(used: _Used) -> bool:
    """Whether the gradient is that tensor still, and not zeroed by hand."""
    gradient = used.gradient() if used.gradient is not None else None
    parameter = used.witnesses[0]()
    return (
        gradient is not None
        and parameter is not None
        and parameter.grad is gradient
        and gradients_remain(used.witnesses)
    )
