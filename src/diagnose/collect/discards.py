"""Backward passes whose gradients are cleared before any step has used them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.graph import trainable_leaves
from diagnose.collect.witnesses import (
    Key,
    Witnesses,
    choose_witnesses,
    gradients_of,
    gradients_remain,
    keys_of,
    none_has_gradient,
    same_direction,
    same_values,
    weights_of,
)

_PASSES_MAX: Final = 256
_WALKS_PER_LINE: Final = 8
_NAMES_MAX: Final = 16


@dataclass(eq=False)
class _Pass:
    """One backward pass.

    Attributes:
        site: the user's line that called backward.
        holders: the optimizers to whose parameters it gave gradients that have not been cleared yet.
        used: whether one of them has stepped with it, or its gradients were used in another way.
    """

    site: CallSite | None
    holders: set[int] = field(default_factory=set)
    used: bool = False


@dataclass
class _Line:
    """A line that calls backward, of which passes were discarded, or used where others were discarded.

    Attributes:
        walks: how many of its graphs have been looked at.
        reaches_inputs: whether any of them led to leaves that are nobody's parameters, as an attack on the inputs does.
        parameters: names of the parameters that they led to.
    """

    walks: int = 0
    reaches_inputs: bool = False
    parameters: set[str] = field(default_factory=set)


@dataclass
class _State:
    """One optimizer.

    Attributes:
        followed: whether all that happened since its last step has been seen.
        begun, after: keys of the witnesses' gradients before and after the latest backward.
        pending: the passes that are in its gradients.
        discarded: passes that were cleared unused since its last step, each with the line that cleared.
        clears: whether passes of it have ever been cleared unused: only then the windows are kept.
        weights: windows of its witnesses as the first pending pass found them.
        gradients: windows of their gradients as the latest pass left them.
    """

    witnesses: Witnesses = field(default_factory=list)
    followed: bool = False
    begun: list[Key] = field(default_factory=list)
    after: list[Key] = field(default_factory=list)
    pending: list[_Pass] = field(default_factory=list)
    discarded: list[tuple[_Pass, CallSite | None]] = field(default_factory=list)
    clears: bool = False
    weights: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)

    def forget(self) -> None:
        self.pending, self.discarded, self.weights, self.gradients = [], [], [], []


class DiscardCollector(Collector):
    """Notes "gradients-discarded".

    A pass counts as used if any optimizer steps with it (a critic clears what only flowed through it), if
    GradScaler skipped the step, or if parameters changed before it was cleared (SAM's first half). A step whose
    gradients were put together by hand from several passes (gradient surgery, per-sample clipping) is not judged:
    they point elsewhere than those of the latest pass. Memory: O(optimizers).
    """

    name: ClassVar[str] = "discards"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._states: weakref.WeakKeyDictionary[Optimizer, _State] = weakref.WeakKeyDictionary()
        self._pass: _Pass | None = None
        self._suspects: dict[CallSite | None, _Line] = {}

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        for optimizer, state in self._states.items():
            if optimizer is stepped:
                state.forget()
                state.followed = True
            elif not follows:  # what happened to it since its last step was not seen
                state.forget()
                state.followed = False

    def backward_begins(self, loss: Loss | None) -> None:
        site = loss.site if loss is not None else call_site()
        self._pass = _Pass(site)
        line = self._suspects.get(site)
        if loss is not None and line is not None and line.walks < _WALKS_PER_LINE:
            self._walk(line, loss.tensor)
        for optimizer, state in self._states.items():
            state.begun = keys_of(state.witnesses)
            if state.pending and state.begun != state.after and not gradients_remain(state.witnesses):
                self._cleared(state, None, id(optimizer))  # by hand

    def backward_ends(self) -> None:
        if self._pass is None:
            return
        for optimizer, state in self._states.items():
            if not state.witnesses:  # no step has ever found a gradient
                state.witnesses = choose_witnesses(optimizer)
            state.after = keys_of(state.witnesses)
            if state.after == state.begun or len(state.pending) >= _PASSES_MAX:
                continue
            if state.clears:
                if not state.pending:
                    state.weights = weights_of(state.witnesses)
                state.gradients = gradients_of(state.witnesses)
            state.pending.append(self._pass)
            self._pass.holders.add(id(optimizer))
        self._pass = None

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        site = None
        for optimizer, state in self._states.items():
            if state.pending and (owner is optimizer or not gradients_remain(state.witnesses)):
                site = site or call_site()
                self._cleared(state, site, id(optimizer))

    def gradients_clamped(self, gradients: Sequence[Tensor], limit: float) -> None:
        for state in self._states.values():
            if not state.clears:
                continue
            now = gradients_of(state.witnesses)  # perhaps scaled since
            if same_direction(state.gradients, now):
                state.gradients = [window.clamp(-limit, limit) for window in now]

    def step_skipped(self, optimizer: Optimizer, scale: float) -> None:
        state = self._states.get(optimizer)
        if state is not None:
            _use(state)

    def step_begins(self, step: Step) -> None:
        state = self._states.setdefault(step.optimizer, _State())
        if none_has_gradient(state.witnesses):
            state.witnesses = choose_witnesses(step.optimizer)
        if state.followed and state.discarded and not step.closure:
            self._judge(step, state)

    def step_ends(self, step: Step) -> None:
        state = self._states.get(step.optimizer)
        if state is not None:
            _use(state)
            state.forget()
            state.followed = True

    def _cleared(self, state: _State, site: CallSite | None, optimizer: int) -> None:
        passes, state.pending = state.pending, []
        if not state.clears:  # without windows nothing can be said of these
            state.clears = True
            return
        if not same_values(state.weights, weights_of(state.witnesses)):
            for one in passes:
                one.used = True
        for one in passes:
            one.holders.discard(optimizer)
            if not one.used and not one.holders and len(state.discarded) < _PASSES_MAX:
                state.discarded.append((one, site))

    def _judge(self, step: Step, state: _State) -> None:
        used, lost = len(state.pending), len(state.discarded)
        discarded = [self._line_of(one) for one, _ in state.discarded]
        others = [self._line_of(one) for one in state.pending]
        if lost < used or not all(line.walks and not line.reaches_inputs for line in discarded):
            return
        if used and not same_direction(state.gradients, gradients_of(state.witnesses)):
            return
        thrown, cleared = state.discarded[-1]
        self.history.note(
            "gradients-discarded",
            step.number,
            step.name,
            discarded=lost,
            used=used,
            same_line=thrown.site is not None and thrown.site in [one.site for one in state.pending],
            file=thrown.site.file if thrown.site else None,
            line=thrown.site.line if thrown.site else None,
            cleared_line=cleared.line if cleared else None,
            deprived=_deprived(discarded, others),
        )

    def _line_of(self, one: _Pass) -> _Line:
        """What is known of the line of a pass; its graphs are looked at once it has been asked for."""
        return self._suspects.setdefault(one.site, _Line())

    def _walk(self, line: _Line, loss: Tensor) -> None:
        line.walks += 1
        node: Any = loss.grad_fn
        for leaf in trainable_leaves(node) if node is not None else ():
            name = self.inventory.parameter_name(leaf)
            if name is None:
                line.reaches_inputs = True
            else:
                line.parameters.add(name)


def _deprived(discarded: Sequence[_Line], used: Sequence[_Line]) -> list[str]:
    """Names of parameters that the discarded passes lead to, and none of those that are used; at most _NAMES_MAX."""
    if not used or not all(line.walks for line in used):
        return []
    lost = {name for line in discarded for name in line.parameters}
    return sorted(lost.difference(*(line.parameters for line in used)))[:_NAMES_MAX]


def _use(state: _State) -> None:
    for one in state.pending:
        one.used = True
    state.pending = []
