"""What a loss compares with what: outputs and labels of one class per example, from the graph behind it.

The call of a loss function is not seen on steps that are not sampled, but what it keeps for its backward is there
when `backward` begins. Where it lies does not change from step to step, so it is looked for once, and found by its path
after.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from diagnose.collect.graph import Node

Scale: TypeAlias = Literal["log", "probability", "odds", "one-probability"]
_Path: TypeAlias = tuple[int, ...]

_NODES: Final = 64
_TRIES: Final = 8
_LOSSES: Final = ("NllLossBackward0", "NllLoss2DBackward0")
_BINARY: Final = ("BinaryCrossEntropyWithLogitsBackward0", "BinaryCrossEntropyBackward0")
_PICKED: Final = ("GatherBackward0", "IndexBackward0")
_SOFTMAX: Final = {"LogSoftmaxBackward0": "log", "SoftmaxBackward0": "probability"}
_COMPILED: Final = "CompiledFunctionBackward"
_VIEWS: Final = (
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward1",
    "UnsqueezeBackward0",
)

SOFT: Final = "its labels are probabilities or mixtures (mixup, soft targets), not one class per example"
OTHER: Final = "no part of the loss compares one class per example: no cross entropy is behind it"
COMPILED: Final = "the loss runs in compiled code, where outputs and labels are not seen: compile the model alone"
CHANGES: Final = "the loss is computed differently from step to step"


@dataclass(eq=False, slots=True)
class Answer:
    """Outputs of a training step and their labels; tensors of the program, which are not to be changed.

    Attributes:
        outputs: shape (M, K) or (M, K, *), log-probabilities or probabilities; of binary labels as `labels`.
        labels: shape (M) or (M, *): classes; or 0 and 1.
        scale: what the outputs are.
        ignored: the class that stands for "no label"; None if there is none.
        node: the operation that made the outputs; to be dropped before the step ends.
        versions: of outputs and labels; another one later says that they were overwritten.
    """

    outputs: Tensor
    labels: Tensor
    scale: Scale
    ignored: int | None
    node: Node
    versions: tuple[int, int]

    @property
    def is_intact(self) -> bool:
        """Whether the tensors still hold what they held when the loss was computed."""
        return self.versions == (self.outputs._version, self.labels._version)


class AnswerReader:
    """Finds the answers behind losses; remembers where they were, for each kind of loss."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path | str] = {}
        self._tries: dict[str, int] = {}

    def read(self, loss: Tensor) -> Answer | str:
        """The answers behind `loss`, of the part that compares most labels; or why there are none."""
        root = loss.grad_fn
        if root is None:
            return OTHER
        name = root.name()
        known = self._paths.get(name)
        if isinstance(known, str):
            return known
        if known is not None:
            found = _follow(root, known)
            if found is not None:
                return found
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        if tries > _TRIES:
            self._paths[name] = CHANGES
            return CHANGES
        searched = _search(root)
        if isinstance(searched, str):
            if known is None and tries == _TRIES:
                self._paths[name] = searched
            return searched
        path, answer = searched
        self._paths[name] = path
        return answer


def _follow(root: Node, path: _Path) -> Answer | None:
    node = root
    for index in path:
        below = node.next_functions
        if index >= len(below) or below[index][0] is None:
            return None
        node = below[index][0]
    return _answer_at(node)


def _search(root: Node) -> tuple[_Path, Answer] | str:
    """Nearest first; of several parts with as many labels the nearest, which has the largest weight as a rule."""
    seen = {root}
    queue: deque[tuple[Node, _Path]] = deque([(root, ())])
    found: list[tuple[_Path, Answer]] = []
    reason = OTHER
    while queue and len(seen) < _NODES:
        node, path = queue.popleft()
        answer = _answer_at(node)
        if answer is not None:
            found.append((path, answer))
            continue
        name = node.name()
        if name in _SOFTMAX:
            reason = SOFT
            continue
        if name.startswith(_COMPILED):
            reason = COMPILED
            continue
        for index, (below, _) in enumerate(node.next_functions):
            if below is not None and below not in seen:
                seen.add(below)
                queue.append((below, (*path, index)))
    if not found:
        return reason
    if any(_are_mixed(found[0][1], other) for _, other in found[1:]):
        return SOFT
    return max(found, key=lambda each: each[1].labels.numel())


def _are_mixed(first: Answer, other: Answer) -> bool:
    """Whether the same outputs are compared with two sets of labels, as mixup does."""
    same = _source(first.node) is not None and _source(first.node) == _source(other.node)
    return same and first.labels.shape == other.labels.shape and not torch.equal(first.labels, other.labels)


def _source(node: Node) -> Node | None:
    """What the normalisation of the outputs was given."""
    while node is not None and (node.name() in _SOFTMAX or node.name() in _VIEWS):
        node = node.next_functions[0][0]
    return node


def _answer_at(node: Node) -> Answer | None:
    """The answers that this very operation compares, None if it is no loss of one class per example."""
    name = node.name()
    try:
        if name in _LOSSES:
            ignored = int(node._saved_ignore_index)
            ignored = ignored - 2**64 if ignored >= 2**63 else ignored
            return _answer(node._saved_self, node._saved_target, "log", ignored, node.next_functions[0][0])
        if name in _BINARY:
            scale: Scale = "odds" if "Logits" in name else "one-probability"
            return _answer(node._saved_self, node._saved_target, scale, None, node.next_functions[0][0])
        if name in _PICKED:
            return _picked(node, name)
    except (RuntimeError, AttributeError, IndexError):  # freed, changed in place since, or of another version of torch
        pass
    return None


def _picked(node: Node, name: str) -> Answer | None:
    """`log_softmax(x)[range(n), labels]` and `log_softmax(x).gather(1, labels[:, None])`."""
    below = node.next_functions[0][0]
    scale = _SOFTMAX.get(below.name()) if below is not None else None
    if scale is None:
        return None
    outputs = below._saved_result
    if outputs.dim() != 2:
        return None
    if name == "GatherBackward0":
        labels = node._saved_index
        if labels.shape != (len(outputs), 1) or node._saved_dim not in (1, 2**64 - 1):
            return None
        labels = labels[:, 0]
    else:
        indices = node._saved_indices
        if len(indices) != 2 or any(index is None or index.shape != (len(outputs),) for index in indices):
            return None
        rows, labels = indices
        if not torch.equal(rows.cpu(), torch.arange(len(outputs))):
            return None
    return _answer(outputs, labels, "log" if scale == "log" else "probability", None, below)


def _answer(outputs: Tensor, labels: Tensor, scale: Scale, ignored: int | None, node: Node) -> Answer | None:
    if outputs.dim() < 2 and scale == "log":
        return None  # one example without a batch
    outputs = outputs.detach()
    return Answer(outputs, labels.detach(), scale, ignored, node, (outputs._version, labels._version))
