"""Training steps that no optimizer of torch's makes: `p -= lr * p.grad`, or a class of the user's own.

Nobody tells of such a step. But between two backward passes the parameters are others, and their gradients should not
be what the last backward has left.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Loss, Shared
from diagnose.collect.graph import leaves_behind
from diagnose.collect.reading import Unseen, flat_window, readable
from diagnose.history import HandmadeFacts

_BACKWARDS: Final = 32
_WINDOW: Final = 64


@dataclass
class _Witness:
    """A parameter that the loss depends on, and windows of its values and its gradient after the last backward."""

    reference: weakref.ref[Tensor]
    values: Tensor
    gradient: Tensor


class HandmadeCollector(Collector):
    """Fills `History.handmade`, as long as no optimizer has made a step, over the first 32 backward passes.

    Looks at the two parameters that are nearest to the loss and farthest from it. Memory: 1 KiB.
    """

    name: ClassVar[str] = "handmade"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._left = _BACKWARDS
        self._parameters: list[weakref.ref[Tensor]] = []
        self._witnesses: list[_Witness] = []
        self._were_left = False

    def backward_begins(self, loss: Loss | None) -> None:
        if not self._is_open():
            return
        self._left -= 1
        with Unseen():
            node = loss.tensor.grad_fn if loss is not None else None
            leaves = [leaf.tensor for leaf in leaves_behind(node) if readable(leaf.tensor)] if node is not None else []
            # What this pass does not add to may be cleared later: of two models, the other one's.
            reached = {id(leaf) for leaf in leaves}
            states = [_state(witness) for witness in self._witnesses if id(witness.reference()) in reached]
            ends = leaves if len(leaves) < 2 else [leaves[0], leaves[-1]]
            self._parameters = [weakref.ref(leaf) for leaf in ends]
        moved = bool(states) and all(moved for moved, _ in states)
        # A pass for another model may run through this one and add to what its step has used, before it is cleared. It
        # counts when a step has used that, too.
        again, self._were_left = self._were_left, moved and all(kept for _, kept in states)
        if not moved:
            return
        facts = self.history.handmade[0] if self.history.handmade else HandmadeFacts()
        if not self.history.handmade:
            self.history.handmade.append(facts)
        facts.steps += 1
        facts.stale += again and self._were_left
        if loss is not None and loss.site is not None:
            facts.file, facts.line = loss.site

    def backward_ends(self) -> None:
        self._witnesses = []
        if not self._is_open():
            return
        with Unseen():
            for reference in self._parameters:
                parameter = reference()
                gradient = parameter.grad if parameter is not None else None
                if parameter is not None and readable(parameter) and readable(gradient):
                    self._witnesses.append(_Witness(reference, _window(parameter), _window(gradient)))

    def finish(self) -> None:
        self._parameters, self._witnesses = [], []

    def _is_open(self) -> bool:
        return self._left > 0 and not any(self.shared.step_of.values())


def _window(tensor: Tensor) -> Tensor:
    return flat_window(tensor, turn=0, elements=_WINDOW).clone()


def _state(witness: _Witness) -> tuple[bool, bool]:
    """Whether the parameter is another since the last backward, and whether its gradient is the same and not zero."""
    parameter = witness.reference()
    if not readable(parameter):
        return False, False
    values, gradient = _window(parameter), parameter.grad
    moved = values.shape == witness.values.shape and not torch.equal(values, witness.values)
    kept = readable(gradient) and bool(witness.gradient.any()) and torch.equal(_window(gradient), witness.gradient)
    return moved, kept
