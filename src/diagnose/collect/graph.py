"""Reads the autograd graph behind a loss: which operations, in which order, on which parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from torch import Tensor

Node: TypeAlias = Any  # torch.autograd.graph.Node; attributes of subclasses are made in C++

_NODES_MAX: Final = 50_000


# Operation -> which of its inputs is a matrix of weights: the data is the other one.
_WEIGHT_INPUT: Final = {"mm": 1, "bmm": 1, "mv": 0, "addmm": 2, "linear": 1, "convolution": 1, "embedding": 0}


class Leaf(NamedTuple):
    """A tensor that a backward pass fills with a gradient, and whether a product or a layer uses it as its weight."""

    tensor: Tensor
    is_weight: bool


def leaves_behind(root: Node) -> list[Leaf]:
    """The trainable leaves behind `root`, nearest first; those of a graph of more nodes than _NODES_MAX in part."""
    seen = {root}
    queue: deque[tuple[Node, bool]] = deque([(root, False)])
    found: list[Leaf] = []
    while queue and len(seen) < _NODES_MAX:
        node, as_weight = queue.popleft()
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(Leaf(variable, as_weight))
            continue
        operation = ""
        for index, (below, _) in enumerate(node.next_functions):
            if below is None or below in seen:
                continue
            seen.add(below)
            operation = operation or operation_name(node)
            # `F.linear` hands its weight through a transposition.
            is_weight = as_weight if operation in ("t", "transpose") else _WEIGHT_INPUT.get(operation) == index
            queue.append((below, is_weight))
    return found


def _nearest_first(root: Node, stops_at: Callable[[Node], bool] = lambda node: False) -> Iterator[Node]:
    """The nodes behind `root`, each once, fewest operations away first; of a large graph _NODES_MAX at most.

    Args:
        stops_at: whether what lies behind a node is left out.
    """
    seen = {root}
    queue = deque([root])
    while queue and len(seen) < _NODES_MAX:
        node = queue.popleft()
        yield node
        if stops_at(node):
            continue
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)


def _is_leaf(node: Node) -> bool:
    return hasattr(node, "variable")  # AccumulateGrad


def nodes_in_order(root: Node) -> list[Node]:
    """The operations behind `root` in the order in which the forward pass made them; leaves are left out."""
    return sorted((node for node in _nearest_first(root) if not _is_leaf(node)), key=sequence_number)


def trainable_leaves(root: Node) -> Iterator[Tensor]:
    """The leaves to which a backward from `root` adds gradients, each once, nearest first."""
    return (node.variable for node in _nearest_first(root) if _is_leaf(node) and node.variable is not None)


def nearest_leaf(node: Node) -> Tensor | None:
    """The trainable leaf that is fewest operations before `node`: the layer that feeds it."""
    return next(trainable_leaves(node), None)


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


_TRANSPARENT: Final = frozenset(
    {
        "view", "unsafeview", "reshapealias", "transpose", "t", "permute", "squeeze", "unsqueeze", "select", "slice",
        "index", "indexselect", "gather", "maskedselect", "tocopy", "clone", "copy", "expand", "alias", "asstrided",
        "split", "splitwithsizes", "unbind", "cat", "stack", "clamp", "clampmin", "clampmax", "nantonum", "narrow",
        "flip", "movedim", "diagonal", "copybackwards",
    }
)  # fmt: skip
_JOINING: Final = frozenset({"cat", "stack"})
_CHAIN_MAX: Final = 48
# Behind one of these lies the model, not the loss.
_LAYERS: Final = (
    "addmm", "mm", "bmm", "baddbmm", "mv", "addmv", "dot", "convolution", "embedding", "nativebatchnorm",
    "nativelayernorm", "nativegroupnorm", "cudnn", "miopen", "mkldnn", "lstm", "gru", "scaled", "linear", "accumulate",
)  # fmt: skip


def operations_behind(node: Node | None, most: int = 4) -> list[Node]:
    """The operations that led to `node` one after another, itself first; views, casts and clamps are left out.

    It ends with the first that has several inputs in the graph, such as a layer.
    """
    found: list[Node] = []
    for _ in range(_CHAIN_MAX):
        if node is None or hasattr(node, "variable") or len(found) == most:
            break
        name = operation_name(node)
        below = [parent for parent, _ in node.next_functions if parent is not None]
        if name not in _TRANSPARENT:
            found.append(node)
        if not below or (len(below) > 1 and name not in _JOINING):
            break
        node = below[0]
    return found


def loss_part(root: Node, most: int = 64) -> list[Node]:
    """The operations between a loss and the last layers of the model: at most `most`, nearest to the loss first."""
    walk = _nearest_first(root, stops_at=lambda node: operation_name(node).startswith(_LAYERS))
    return list(islice((node for node in walk if not _is_leaf(node)), most))


def sequence_number(node: Node) -> int:
    """When the operation was made, among those of its thread: identifies it without keeping it alive."""
    return int(node._sequence_nr())
