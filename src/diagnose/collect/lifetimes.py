"""How long the graph behind a loss stays alive: a marker lies with one of its nodes and dies with it."""

from __future__ import annotations

import contextlib
import functools
import weakref
from typing import ClassVar, Final

from diagnose.collect._collector import Collector, Loss, Shared
from diagnose.collect.graph import Node
from diagnose.history import LifetimeFacts

_MARKS_MAX: Final = 256
_DEPTH: Final = 3
_KEY: Final = "diagnose"


class _Mark:
    __slots__ = ("__weakref__",)


class LifetimeCollector(Collector):
    """Keeps `History.lifetimes`: one graph per sampled interval and line that calls backward, 256 at most.

    A Python object for a node is made anew whenever somebody asks for it; its `metadata` belongs to the node itself,
    and goes when the node goes. A few nodes below the loss, so that what is kept may be the loss before it was
    scaled or divided, or one of its terms.
    """

    name: ClassVar[str] = "lifetimes"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._marks: list[weakref.ref[_Mark]] = []
        self._turns: dict[object, int] = {}

    def backward_begins(self, loss: Loss | None) -> None:
        if loss is None or loss.tensor.grad_fn is None or len(self.history.lifetimes) >= _MARKS_MAX:
            return
        if self._turns.get(loss.site) == self.shared.turn:
            return
        self._turns[loss.site] = self.shared.turn
        node = _below(loss.tensor.grad_fn)
        if _KEY in node.metadata:
            return  # a part of the graph that is used again and again
        facts = LifetimeFacts(self._step())
        if loss.site is not None:
            facts.file, facts.line = loss.site
        mark = _Mark()
        node.metadata[_KEY] = mark
        self._marks.append(weakref.ref(mark, functools.partial(self._died, facts)))
        self.history.lifetimes.append(facts)

    def finish(self) -> None:
        self._marks.clear()

    def _died(self, facts: LifetimeFacts, reference: weakref.ref[_Mark]) -> None:
        with contextlib.suppress(Exception):  # wherever a graph is freed: nothing may be raised there
            facts.died = self._step()

    def _step(self) -> int:
        return sum(self.shared.step_of.values())


def _below(node: Node) -> Node:
    for _ in range(_DEPTH):
        inner = next((n for n, _ in node.next_functions if n is not None and not hasattr(n, "variable")), None)
        if inner is None:
            break
        node = inner
    return node
