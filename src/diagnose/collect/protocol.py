"""One state machine per optimizer: backward, clear, clip, unscale, step."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import call_site
from diagnose.collect.witnesses import Key, Witnesses, choose_witnesses, gradients_remain, keys_of, none_has_gradient
from diagnose.history import OptimizerFacts


@dataclass
class _State:
    """What is known about one optimizer's gradients.

    Attributes:
        used: whether its current gradients were used by a step and not cleared since.
        followed: whether all that happened to them since its last step has been seen.
        keys: keys of the witnesses' gradients when they were last used or cleared.
        backwards: backward passes since its last step that changed its gradients.
        clipped: whether its gradients were clipped since its last step.
        begun: keys before the running backward.
    """

    used: bool = False
    followed: bool = True
    keys: list[Key] = field(default_factory=list)
    witnesses: Witnesses = field(default_factory=list)
    backwards: int = 0
    clipped: bool = False
    begun: list[Key] = field(default_factory=list)


class ProtocolCollector(Collector):
    """Notes "stale-gradients", "no-new-gradient", "clipped", "step-skipped"; records "lr".

    Follows sampled intervals, from the end of the step before to the end of their own: a loop that does this wrong
    does it in every round. An optimizer whose last step lies further back is not judged. Memory: O(optimizers).
    """

    name: ClassVar[str] = "protocol"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._states: weakref.WeakKeyDictionary[Optimizer, _State] = weakref.WeakKeyDictionary()

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        for optimizer, state in self._states.items():
            if optimizer is stepped:
                state.backwards, state.clipped = 0, False
                state.keys = keys_of(state.witnesses)
                state.used = any(key is not None for key in state.keys)
                state.followed = True
            elif not follows:  # what happened to it since its last step was not seen
                state.followed = state.used = False

    def backward_begins(self, loss: Loss | None) -> None:
        for state in self._states.values():
            if state.used and not gradients_remain(state.witnesses):
                state.used = False
                state.keys = keys_of(state.witnesses)
            state.begun = keys_of(state.witnesses)

    def backward_ends(self) -> None:
        for state in self._states.values():
            if not state.witnesses or keys_of(state.witnesses) != state.begun:
                state.backwards += 1

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        for optimizer, state in self._states.items():
            if owner is optimizer or (isinstance(owner, nn.Module) and not gradients_remain(state.witnesses)):
                state.used, state.backwards = False, 0
                state.keys = keys_of(state.witnesses)

    def gradients_clipped(self, parameters: Sequence[Tensor], limit: float, norm: float | None) -> None:
        first = parameters[0] if parameters else None
        for name, optimizer in self.inventory.optimizers():
            if first is None or not any(p is first for group in optimizer.param_groups for p in group["params"]):
                continue
            state = self._state(optimizer)
            state.clipped = True
            # Clipping rewrites gradients in place; that makes no new gradient.
            state.keys = state.keys if state.backwards else keys_of(state.witnesses)
            if norm is not None:
                number = self.shared.step_of.get(name, 0) + 1
                self.history.record("grad_norm_before_clip", number, {name: norm}, clock=name)
                if norm > limit:
                    site = call_site()
                    where = {"file": site.file, "line": site.line} if site else {}
                    self.history.note("clipped", number, name, norm=norm, limit=limit, **where)

    def step_skipped(self, optimizer: Optimizer, scale: float) -> None:
        name = self.inventory.optimizer_name(optimizer)
        if name is not None:
            site = call_site()
            where = {"file": site.file, "line": site.line} if site else {}
            self.history.note("step-skipped", self.shared.step_of.get(name, 0), name, scale=scale, **where)

    def step_begins(self, step: Step) -> None:
        state = self._state(step.optimizer)
        if none_has_gradient(state.witnesses):
            state.witnesses = choose_witnesses(step.optimizer)
        if not step.closure:
            self._judge(step, state)

    def step_ends(self, step: Step) -> None:
        state = self._state(step.optimizer)
        if not state.witnesses:
            state.witnesses = choose_witnesses(step.optimizer)
        if step.closure:
            self._judge(step, state)
        facts = self.history.optimizers[step.name]
        facts.steps = step.number
        facts.closures += step.closure
        facts.backwards += state.backwards
        facts.clipped += state.clipped
        self._learning_rates(step)

    def _judge(self, step: Step, state: _State) -> None:
        """Whether the gradients that this step uses are new, and free of old ones."""
        if not state.followed:
            return
        self.history.optimizers[step.name].followed += 1
        keys = keys_of(state.witnesses)
        # At the first step, backward may have run before we were there.
        new = state.backwards > 0 or keys != state.keys or step.number == 1
        fresh = new and any(key is not None for key in keys)
        if not fresh:
            self.history.note("no-new-gradient", step.number, step.name)
        elif state.used and state.backwards and gradients_remain(state.witnesses):
            self.history.note("stale-gradients", step.number, step.name)

    def _learning_rates(self, step: Step) -> None:
        rates = [group.get("lr") for group in step.optimizer.param_groups]
        row = {f"{step.name}/{index}": float(rate) for index, rate in enumerate(rates) if rate is not None}
        self.history.record("lr", step.number, row, clock=step.name)

    def _state(self, optimizer: Optimizer) -> _State:
        state = self._states.get(optimizer)
        if state is None:
            state = self._states[optimizer] = _State()
            name = self.inventory.optimizer_name(optimizer)
            if name is not None and name not in self.history.optimizers:
                site = call_site()
                self.history.optimizers[name] = OptimizerFacts(
                    type=type(optimizer).__name__,
                    file=site.file if site else None,
                    line=site.line if site else None,
                )
        return state
