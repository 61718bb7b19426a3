"""Reads the autograd graph behind a loss: which operations, in which order, on which parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from torch import Tensor

Node: TypeAlias = Any  # torch.autograd.graph.Node; attributes of subclasses are made in C++

_NODES_MAX: Final = 50_000
_ACCUMULATE: Final = "AccumulateGrad"


def nodes_in_order(root: Node) -> list[Node]:
    """The operations behind `root` in the order in which the forward pass made them; leaves are left out."""
    seen = {root}
    queue = deque([root])
    found: list[Node] = []
    while queue and len(seen) < _NODES_MAX:
        node = queue.popleft()
        if hasattr(node, "variable"):  # a leaf: AccumulateGrad
            continue
        found.append(node)
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)
    return sorted(found, key=_sequence_number)


def nearest_leaf(node: Node) -> Tensor | None:
    """The trainable leaf that is fewest operations before `node`: the layer that feeds it."""
    seen = {node}
    queue = deque([node])
    while queue and len(seen) < _NODES_MAX:
        current = queue.popleft()
        variable = getattr(current, "variable", None)
        if variable is not None:
            return variable  # type: ignore[no-any-return]
        for below, _ in current.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)
    return None


def trainable_leaves(root: Node) -> Iterator[Tensor]:
    """The leaves to which a backward from `root` adds gradients, each once."""
    seen = {root}
    queue = deque([root])
    while queue and len(seen) < _NODES_MAX:
        node = queue.popleft()
        variable = getattr(node, "variable", None)
        if variable is not None:
            yield variable
            continue
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)


def saved_tensors(node: Node) -> Iterator[tuple[str, Tensor]]:
    """What a node keeps for its backward, by name ("self", "result", "mat1", ...)."""
    for attribute in dir(type(node)):
        if attribute.startswith("_saved_"):
            try:
                value = getattr(node, attribute)
            except RuntimeError:  # freed, or changed in place since
                continue
            if isinstance(value, Tensor):
                yield attribute.removeprefix("_saved_"), value


def operation_name(node: Node) -> str:
    """The name that the user wrote, more or less: "log" for LogBackward0."""
    name = str(node.name()).rpartition("::")[2]
    return name.rstrip("0123456789").removesuffix("Backward").lower() or str(node.name())


def _sequence_number(node: Node) -> int:
    return int(node._sequence_nr())
