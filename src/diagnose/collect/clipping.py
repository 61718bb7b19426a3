"""Clipping of gradients: whether a step can still use what is clipped, and whether it is in the right units."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.witnesses import Key, Witnesses, choose_witnesses, gradients_remain, keys_of, none_has_gradient


@dataclass(frozen=True)
class _Clip:
    """One call: where, its limit, whether the gradients had been used by a step, whether any was above the limit."""

    site: CallSite | None
    limit: float
    after_step: bool
    exceeded: bool


@dataclass
class _State:
    """One optimizer.

    Attributes:
        followed: whether all that happened since its last step has been seen.
        known: keys of the witnesses' gradients when last used or cleared; only identities once they were clipped.
        begun: keys before the running backward.
        fresh: whether a backward has brought gradients since its last step, and nobody cleared them.
        cleared: whether they have been cleared since its last step.
        clip: the latest clipping of fresh gradients since its last step; idle: the latest of others.
    """

    witnesses: Witnesses = field(default_factory=list)
    followed: bool = False
    known: list[Key] = field(default_factory=list)
    begun: list[Key] = field(default_factory=list)
    fresh: bool = False
    cleared: bool = False
    clip: _Clip | None = None
    idle: _Clip | None = None

    def used(self) -> None:
        """A step has used the gradients."""
        self.known, self.fresh, self.cleared, self.followed = keys_of(self.witnesses), False, False, True
        self.clip = self.idle = None


class ClippingCollector(Collector):
    """Notes "clipped-too-late" and "clipped-while-scaled".

    Clipping is too late if its gradients are those of the step before, or if there are none yet, and nothing is
    clipped between the next backward and the next step. Memory: O(optimizers).
    """

    name: ClassVar[str] = "clipping"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._states: weakref.WeakKeyDictionary[Optimizer, _State] = weakref.WeakKeyDictionary()

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        for optimizer, state in self._states.items():
            if optimizer is stepped:
                state.used()
            elif not follows:  # what happened to it since its last step was not seen
                state.followed, state.clip, state.idle = False, None, None

    def backward_begins(self, loss: Loss | None) -> None:
        for state in self._states.values():
            state.begun = keys_of(state.witnesses)

    def backward_ends(self) -> None:
        for state in self._states.values():
            if keys_of(state.witnesses) != state.begun:
                state.fresh = True

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        for optimizer, state in self._states.items():
            if owner is optimizer or not gradients_remain(state.witnesses):
                state.known, state.fresh, state.cleared, state.clip = keys_of(state.witnesses), False, True, None

    def gradients_clipped(self, parameters: Sequence[Tensor], limit: float, norm: float | None) -> None:
        self._clip(parameters, limit, exceeded=norm is None or norm > limit)

    def gradients_clamped(self, gradients: Sequence[Tensor], limit: float) -> None:
        clamped = set(map(id, gradients))
        witnesses = [p() for state in self._states.values() for p in state.witnesses]
        held = [p for p in witnesses if p is not None and p.grad is not None and id(p.grad) in clamped]
        self._clip(held, limit, exceeded=True)

    def gradients_unscaled(self, optimizer: Optimizer, scale: float) -> None:
        state = self._states.get(optimizer)
        if state is not None and state.clip is not None and scale != 1.0:
            self._note_scaled(optimizer, state.clip, scale)

    def step_begins(self, step: Step) -> None:
        state = self._states.setdefault(step.optimizer, _State())
        if none_has_gradient(state.witnesses):
            state.witnesses = choose_witnesses(step.optimizer)
        if not state.followed or step.closure:
            return
        scale = getattr(step.optimizer, "grad_scale", None)  # of a fused optimizer that divides by itself
        if state.clip is not None and isinstance(scale, Tensor) and scale.numel() == 1 and float(scale) != 1.0:
            self._note_scaled(step.optimizer, state.clip, float(scale))
        if state.clip is None and state.idle is not None:
            site = state.idle.site
            self.history.note(
                "clipped-too-late",
                step.number,
                step.name,
                after_step=state.idle.after_step,
                exceeded=state.idle.exceeded,
                limit=state.idle.limit,
                file=site.file if site else None,
                line=site.line if site else None,
            )

    def step_ends(self, step: Step) -> None:
        state = self._states.get(step.optimizer)
        if state is not None:
            state.used()

    def _clip(self, parameters: Sequence[Tensor], limit: float, *, exceeded: bool) -> None:
        if not math.isfinite(limit):  # a way to ask for the norm
            return
        clipped = set(map(id, parameters))
        site = None
        for state in self._states.values():
            if not any(id(witness()) in clipped for witness in state.witnesses):
                continue
            site = site or call_site()
            keys = keys_of(state.witnesses)
            if state.fresh or _identities(keys) != _identities(state.known):
                state.clip = _Clip(site, limit, False, exceeded)
                continue
            after_step = not state.cleared and any(key is not None for key in keys)
            state.idle = _Clip(site, limit, after_step, exceeded and after_step)

    def _note_scaled(self, optimizer: Optimizer, clip: _Clip, scale: float) -> None:
        name = self.inventory.optimizer_name(optimizer)
        if name is not None:
            number = self.shared.step_of.get(name, 0) + 1
            site = clip.site
            self.history.note(
                "clipped-while-scaled",
                number,
                name,
                scale=scale,
                exceeded=clip.exceeded,
                file=site.file if site else None,
                line=site.line if site else None,
            )


def _identities(keys: Sequence[Key]) -> list[int]:
    return [key[0] if key is not None else 0 for key in keys]
