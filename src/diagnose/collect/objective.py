"""What loss functions are given in training: whether it is what they are made for, and whether outputs answer it.

In a sampled interval bounded samples of inputs and targets are copied at the call, with the autograd graph behind
the input; what they say is worked out on the host when the step is over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.forward import LossCall
from diagnose.collect.graph import Node, loss_part, operation_name, operations_behind, sequence_number
from diagnose.collect.reading import Unseen, readable, sample_rows, to_host
from diagnose.history import ObjectiveFacts

Array = NDArray[np.floating[Any]]

_OVER_CLASSES: Final = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss", "kl_div"})
_BINARY: Final = frozenset(
    {"binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss"}
)  # fmt: skip
_REGRESSION: Final = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "difference"})

OBJECTIVES_MAX: Final = 32
CALLS_MAX: Final = 4
"""Calls of one objective that are looked at in one interval: accumulation makes many."""
ROWS: Final = 64
COLUMNS: Final = 64
CLASSES_MAX: Final = 1000
_ELEMENTS: Final = 4096
_ROWS_OF_MANY_CLASSES: Final = 4
AROUND: Final = 1.1
"""What a model without knowledge gets, and a tenth: where the level is not known better than that."""
_COVERED: Final = 12

_BOUNDS: Final[Mapping[str, tuple[float | None, float | None]]] = {
    "relu": (0.0, None),
    "softplus": (0.0, None),
    "exp": (0.0, None),
    "abs": (0.0, None),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "logsoftmax": (None, 0.0),
    "logsigmoid": (None, 0.0),
}


@dataclass
class _Sample:
    """Copies of what one call was given, until the step is over.

    Attributes:
        value: what the loss function returned, of any shape.
        covered: numbers of the nodes between the loss and the layer that made its input.
        examples: what a sum is divided by.
        sequence: number of the result's node in the graph, -1 if it has none.
        is_first: whether no optimizer had made a step.
        is_thorough: whether facts are taken in, too, and not only how outputs differ.
    """

    scope: str
    facts: ObjectiveFacts
    rows: Tensor
    targets: Tensor | None
    value: Tensor
    examples: int
    sequence: int
    covered: frozenset[int]
    is_first: bool
    ignored: int | None
    is_thorough: bool


class _Enlarged(NamedTuple):
    """Two operands that broadcasting has enlarged both, waiting to be found in a loss."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    file: str | None
    line: int | None


class ObjectiveCollector(Collector):
    """Keeps ObjectiveFacts; records "objective", "output_spread", "target_spread", "answer", "answer_share".

    Memory: at most OBJECTIVES_MAX objectives, and CALLS_MAX samples of 4,096 elements of each until the step is over.
    """

    name: ClassVar[str] = "objective"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._waiting: list[_Sample] = []
        self._counts: dict[str, int] = {}
        self._enlarged: dict[int, _Enlarged] = {}

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._waiting.clear()
        self._counts.clear()
        self._enlarged.clear()

    def loss_called(self, call: LossCall) -> None:
        if not call.training or not isinstance(call.result, Tensor):
            return
        output, target = _output_and_target(call)
        if not readable(output) or not readable(call.result):
            return
        if torch.is_grad_enabled() and not output.requires_grad:
            return
        scope = self._scope(call, output)
        if scope is None:
            return
        facts = self.history.objectives[scope]
        with Unseen():
            self._take(call, scope, facts, output, target)

    def difference_taken(self, call: LossCall) -> None:
        self.loss_called(call)

    def operands_enlarged(
        self, first: Tensor, second: Tensor, result: Tensor, file: str | None, line: int | None
    ) -> None:
        if result.grad_fn is not None and len(self._enlarged) < OBJECTIVES_MAX:
            self._enlarged[sequence_number(result.grad_fn)] = _Enlarged(
                tuple(first.shape), tuple(second.shape), file, line
            )

    def backward_begins(self, loss: Loss | None) -> None:
        if loss is None or loss.tensor.grad_fn is None or not self.shared.is_thorough:
            return
        waiting = {sample.sequence: sample for sample in self._waiting if sample.sequence >= 0}
        part = loss_part(loss.tensor.grad_fn)
        for node in part:
            sample = waiting.get(sequence_number(node))
            if sample is not None:
                sample.facts.used += 1
                if loss.site is not None:
                    sample.facts.loss_file, sample.facts.loss_line = loss.site
        alone = waiting.get(_only_term(loss.tensor.grad_fn, waiting))
        if alone is not None:
            alone.facts.alone += 1
        self._read_by_hand(loss, part)
        for node in part if self._enlarged else ():
            enlarged = self._enlarged.get(sequence_number(node))
            if enlarged is not None:
                self._note_by_hand("difference", enlarged.file, enlarged.line, loss, enlarged=enlarged)

    def step_ends(self, step: Step) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        with Unseen():
            tensors = [t for s in waiting for t in (s.rows, s.value, *([s.targets] if s.targets is not None else []))]
            host = iter(to_host(tensors))
            for sample in waiting:
                rows, value = next(host).numpy(), float(next(host).mean())
                targets = next(host).numpy() if sample.targets is not None else None
                self._digest(step, sample, rows, value, targets)

    # -- at the call ------------------------------------------------------------------------------------

    def _scope(self, call: LossCall, output: Tensor) -> str | None:
        """The name of the objective, which is known from now on; None if there are too many, or enough of this one."""
        classes = _classes(call.name, output)
        place = f"{os.path.basename(call.file)}:{call.line}" if call.file else "?"
        scope = f"{call.name} ({place})" + (f" of {classes}" if classes else "")
        self._counts[scope] = self._counts.get(scope, 0) + 1
        if self._counts[scope] > CALLS_MAX:
            return None
        if scope not in self.history.objectives:
            if len(self.history.objectives) >= OBJECTIVES_MAX:
                return None
            self.history.objectives[scope] = ObjectiveFacts(call.name, call.file, call.line, classes=classes)
        return scope

    def _take(self, call: LossCall, scope: str, facts: ObjectiveFacts, output: Tensor, target: Tensor | None) -> None:
        over_classes, result, is_thorough = call.name in _OVER_CLASSES, call.result, self.shared.is_thorough
        if is_thorough:
            _note_call(call, facts, output, target)
        ignored = call.options.get("ignore_index", -100) if over_classes else None
        self._waiting.append(
            _Sample(
                scope,
                facts,
                _rows_of_classes(output, self.shared.turn) if over_classes else _rows_of_examples(output),
                _targets(call.name, target, self.shared.turn) if is_thorough else None,
                result.detach().to(torch.float32, copy=True).mean(),
                _examples(output, target, over_classes=over_classes) if facts.reduction == "sum" else 1,
                sequence_number(result.grad_fn) if result.grad_fn is not None else -1,
                frozenset(sequence_number(node) for node in operations_behind(result.grad_fn, _COVERED))
                if is_thorough
                else frozenset(),
                not any(self.shared.step_of.values()) and facts.first_value is None,
                ignored if isinstance(ignored, int) else None,
                is_thorough,
            )
        )

    # -- at backward ------------------------------------------------------------------------------------

    def _read_by_hand(self, loss: Loss, part: list[Node]) -> None:
        """A cross-entropy written by hand takes a logarithm between the model and the loss."""
        known = frozenset[int]().union(*(sample.covered for sample in self._waiting))
        for node in part:
            if operation_name(node) not in ("log", "logsoftmax") or sequence_number(node) in known:
                continue
            operations = tuple(operation_name(n) for n in operations_behind(node))
            if "softmax" not in operations and "sigmoid" not in operations:
                continue
            file, line = loss.site if loss.site is not None else (None, None)
            self._note_by_hand("log", file, line, loss, operations=operations)

    def _note_by_hand(
        self,
        name: str,
        file: str | None,
        line: int | None,
        loss: Loss,
        *,
        operations: tuple[str, ...] = (),
        enlarged: _Enlarged | None = None,
    ) -> None:
        scope = f"{name} ({os.path.basename(file) if file else '?'}:{line})"
        facts = self.history.objectives.get(scope)
        if facts is None:
            if len(self.history.objectives) >= OBJECTIVES_MAX:
                return
            facts = self.history.objectives[scope] = ObjectiveFacts(name, file, line)
        if not facts.operations or _is_doubled(operations):
            facts.operations = operations
        if enlarged is not None:
            facts.broadcast += 1
            facts.input_shape, facts.target_shape = enlarged.first, enlarged.second
        facts.calls += 1
        facts.used += 1
        if loss.site is not None:
            facts.loss_file, facts.loss_line = loss.site
        facts.last_step = max(self.shared.step_of.values(), default=0) + 1
        facts.first_step = facts.first_step or facts.last_step

    # -- when the step is over --------------------------------------------------------------------------

    def _digest(self, step: Step, sample: _Sample, rows: Array, value: float, targets: Array | None) -> None:
        facts, row = sample.facts, rows.astype(np.float64) if rows.size <= _ELEMENTS else rows
        facts.optimizer = step.name
        facts.first_step, facts.last_step = facts.first_step or step.number, step.number
        is_value = facts.name != "difference"  # of a difference, only what is made of it is a loss
        record = {"objective": value / sample.examples} if is_value else {}
        is_finite = bool(np.isfinite(row).all())
        if is_finite:
            record |= _look_at_outputs(facts, row)
        if sample.is_thorough:
            facts.calls += 1
            if is_finite:
                _note_values(facts, row)
            wanted = None if targets is None else targets.astype(np.float64)
            if wanted is not None and wanted.size and np.isfinite(wanted).all():
                record |= _look_at_targets(facts, wanted, sample.ignored)
            facts.uninformed = _uninformed(facts)
        if facts.reached is None and facts.uninformed and value / sample.examples <= AROUND * facts.uninformed:
            facts.reached = step.number
        if is_value and sample.is_first and facts.first_value is None and math.isfinite(value):
            facts.first_value = value / sample.examples
        for quantity, number in record.items():
            self.history.record(quantity, step.number, {sample.scope: number}, clock=step.name)  # type: ignore[arg-type]


def _note_call(call: LossCall, facts: ObjectiveFacts, output: Tensor, target: Tensor | None) -> None:
    facts.reduction = str(call.options.get("reduction", "mean"))
    facts.options = tuple(sorted(str(name) for name in call.options))
    facts.input_shape = tuple(output.shape)
    facts.both_learn = target is not None and target.requires_grad
    facts.broadcast += _both_enlarged(output, target)
    if target is not None:
        facts.target_shape = tuple(target.shape)
    nodes = operations_behind(output.grad_fn)
    facts.operations = tuple(operation_name(node) for node in nodes)
    facts.low, facts.high = _bounds(nodes[0]) if nodes else (None, None)


def _output_and_target(call: LossCall) -> tuple[object, Tensor | None]:
    """What the model put out and what was wanted; where they stand the wrong way round, turned."""
    output, target = call.input, call.target
    target = target if isinstance(target, Tensor) else None
    is_turned = (
        call.name in _REGRESSION
        and target is not None
        and target.requires_grad
        and isinstance(output, Tensor)
        and not output.requires_grad
    )
    return (target, output) if is_turned else (output, target)


def _class_dim(output: Tensor) -> int:
    return 1 if output.dim() > 1 else 0


def _classes(name: str, output: Tensor) -> int:
    if name in _OVER_CLASSES and output.dim():
        return int(output.shape[-1 if name == "kl_div" else _class_dim(output)])
    return 0


def _both_enlarged(output: Tensor, target: Tensor | None) -> bool:
    """Whether broadcasting repeats both, and one lacks a dimension that the other one has."""
    if target is None or output.dim() == target.dim() or not output.dim() or not target.dim():
        return False
    if target.dtype in (torch.int64, torch.int32) or output.shape == target.shape:
        return False
    try:
        numbers = math.prod(torch.broadcast_shapes(output.shape, target.shape))
    except RuntimeError:
        return False
    return bool(numbers > max(output.numel(), target.numel()))


def _bounds(node: Node) -> tuple[float | None, float | None]:
    name = operation_name(node)
    if name == "hardtanh":
        low, high = getattr(node, "_saved_min_val", None), getattr(node, "_saved_max_val", None)
        return (float(low) if low is not None else None), (float(high) if high is not None else None)
    return _BOUNDS.get(name, (None, None))


def _rows_of_classes(output: Tensor, turn: int) -> Tensor:
    dim = _class_dim(output)
    classes = output.shape[dim] if output.dim() else 1
    elements = max(_ELEMENTS, _ROWS_OF_MANY_CLASSES * classes)
    return sample_rows(output.reshape(1) if not output.dim() else output, dim, turn=turn, elements=elements)


def _rows_of_examples(tensor: Tensor) -> Tensor:
    """At most ROWS examples (the first dimension) with at most COLUMNS of the numbers of each: a float32 copy."""
    tensor = tensor.detach()
    if tensor.dim() < 2:
        return _every(tensor.reshape(-1), _ELEMENTS)[:, None].to(torch.float32, copy=True)
    sizes, wanted, index = tensor.shape, COLUMNS, [slice(0, None, max(1, tensor.shape[0] // ROWS))]
    for place, size in enumerate(sizes[1:]):
        take = size if math.prod(sizes[1 + place :]) <= wanted else _share(size, wanted, len(sizes) - 1 - place)
        index.append(slice(0, (take - 1) * (size // take) + 1, size // take))
        wanted = max(1, wanted // take)
    chosen = tensor[tuple(index)][:ROWS]
    return chosen.reshape(chosen.shape[0], -1).to(torch.float32, copy=True)


def _share(size: int, wanted: int, dims: int) -> int:
    """How many of `size` places to take in the first of `dims` dimensions, to have `wanted` in all."""
    return max(1, min(size, round(math.pow(wanted, 1 / dims))))


def _every(flat: Tensor, most: int) -> Tensor:
    return flat[:: -(-flat.numel() // most)] if flat.numel() > most else flat


def _targets(name: str, target: Tensor | None, turn: int) -> Tensor | None:
    """A sample of the targets: of shape (R,) for classes by number, else like that of the outputs."""
    if target is None or not target.numel() or target.layout is not torch.strided or target.device.type == "meta":
        return None
    if type(target) not in (Tensor, torch.nn.Parameter):
        return None
    if name in _OVER_CLASSES and not target.is_floating_point():
        return _every(target.detach().reshape(-1), _ELEMENTS).to(torch.float32, copy=True)
    if name in _OVER_CLASSES:
        return _rows_of_classes(target, turn)
    return _rows_of_examples(target)


def _examples(output: Tensor, target: Tensor | None, *, over_classes: bool) -> int:
    if not over_classes:
        return max(output.numel(), 1)
    if target is not None and not target.is_floating_point():
        return max(target.numel(), 1)
    return max(output.numel() // max(output.shape[_class_dim(output)], 1), 1) if output.dim() else 1


def _only_term(root: Node, waiting: Mapping[int, _Sample]) -> int:
    """Sequence number of the one call that is all of the loss, up to factors; -1 if there is none."""
    node = root
    for _ in range(16):
        if node is None or hasattr(node, "variable"):
            break
        if (number := sequence_number(node)) in waiting:
            return number
        # The square of a difference may be written as a product.
        below = {parent for parent, _ in node.next_functions if parent is not None}
        if len(below) != 1:
            break
        node = below.pop()
    return -1


def _is_doubled(operations: tuple[str, ...]) -> bool:
    return operations.count("softmax") + ("logsoftmax" in operations) > 1 or operations.count("sigmoid") > 1


def _note_values(facts: ObjectiveFacts, rows: Array) -> None:
    """Whether the rows are probabilities, or could be logarithms of probabilities."""
    facts.positive += bool((rows > 1e-3).mean() >= 0.1)
    if facts.classes < 2 or rows.shape[1] < 2:
        return
    low, high = float(rows.min()), float(rows.max())
    if low >= -1e-3 and high <= 1 + 1e-3:
        facts.distributions += bool(np.abs(rows.sum(axis=1) - 1).max() < 5e-3)
    if facts.name == "nll_loss":
        peak = rows.max(axis=1)
        totals = peak + np.log(np.exp(rows - peak[:, None]).sum(axis=1))
        facts.above_one += bool((totals > math.log(1.1)).mean() > 0.5)


def _look_at_outputs(facts: ObjectiveFacts, rows: Array) -> dict[str, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"output_scale": float(np.sqrt(np.mean(rows**2)))}
        if len(rows) > 1:
            # A softmax does not see what is added to all classes.
            shown = rows - rows.mean(axis=1, keepdims=True) if facts.classes > 1 and rows.shape[1] > 1 else rows
            found["output_spread"] = float(np.sqrt(shown.var(axis=0).mean()))
    answers = _answers(facts, rows)
    if answers is not None and len(answers) > 1:
        counts = np.bincount(answers)
        found["answer"] = float(counts.argmax())
        found["answer_share"] = float(counts.max() / len(answers))
    return found


def _answers(facts: ObjectiveFacts, rows: Array) -> NDArray[Any] | None:
    """The most likely class of each row, None where the loss has no classes."""
    if facts.classes > 1 and facts.name != "kl_div":
        answers: NDArray[Any] = rows.argmax(axis=1)
        return answers
    if facts.name in _BINARY and rows.shape[1] == 1:
        found: NDArray[Any] = rows[:, 0] > (0.5 if facts.name == "binary_cross_entropy" else 0.0)
        return found
    return None


def _look_at_targets(facts: ObjectiveFacts, targets: NDArray[np.float64], ignored: int | None) -> dict[str, float]:
    if targets.ndim == 1 and facts.name in _OVER_CLASSES:
        _count_labels(facts, targets[targets != ignored] if ignored is not None else targets)
        return {"target_spread": float(len(np.unique(targets)) > 1)}
    if facts.name in _OVER_CLASSES:
        facts.target_distributions += bool(targets.min() >= -1e-3 and np.abs(targets.sum(axis=1) - 1).max() < 5e-3)
        facts.target_logs += bool((targets < -1e-3).mean() > 0.5)
    elif facts.name in _BINARY and targets.shape[1] == 1:
        _count_labels(facts, np.round(targets[:, 0]))
    _follow(facts, targets)
    return {"target_spread": float(np.sqrt(targets.var(axis=0).mean()))} if len(targets) > 1 else {}


def _count_labels(facts: ObjectiveFacts, labels: NDArray[np.float64]) -> None:
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        key = str(int(label))
        if key in facts.labels or len(facts.labels) < CLASSES_MAX:
            facts.labels[key] = facts.labels.get(key, 0) + int(count)


def _follow(facts: ObjectiveFacts, targets: NDArray[np.float64]) -> None:
    """Brings the moments of the targets up to date: each sample weighs the same."""
    weight = 1 / max(facts.calls, 1)
    first = facts.calls <= 1
    facts.target_low = float(targets.min()) if first else min(facts.target_low, float(targets.min()))
    facts.target_high = float(targets.max()) if first else max(facts.target_high, float(targets.max()))
    facts.target_mean += weight * (float(targets.mean()) - facts.target_mean)
    facts.target_square += weight * (float((targets**2).mean()) - facts.target_square)
    below = 0.0 if facts.low is None else np.maximum(facts.low - targets, 0)
    above = 0.0 if facts.high is None else np.maximum(targets - facts.high, 0)
    outside = float(np.mean(np.square(below + above)))
    facts.unreachable += weight * (outside - facts.unreachable)


def _uninformed(facts: ObjectiveFacts) -> float | None:
    """What a model gets that gives every class the same chance, or says 0 or the mean of the targets."""
    options = set(facts.options)
    if facts.name in ("cross_entropy", "nll_loss") and facts.classes > 1:
        weighted = "weight" in options and facts.reduction != "mean"
        return None if weighted else math.log(facts.classes)
    if facts.name in _BINARY:
        return None if options & {"weight", "pos_weight"} else math.log(2)
    if facts.name == "mse_loss" and not facts.broadcast:
        return facts.target_square or None
    return None
