"""batch_independence: does the output for one example depend on the others of its batch?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from diagnose.checks._rehearsal import Batch, Inputs, Rehearsal, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import changes, moved, named_tensors, spread
from diagnose.checks._trace import Call, first_reached, traced
from diagnose.collect.nested import tensors_in
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "batch-independence"


def batch_independence(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    batch_dim: int | None = None,
    examples: int = 3,
    share: float = 0.0,
    seed: int = 0,
) -> CheckResult:
    """Whether the outputs for one example stay as they are when another example of the batch is replaced.

    In evaluation mode, one example at a time becomes another one, becomes large, and becomes NaN. If other outputs
    change, the finding names the call that lets them. What mixes in training mode only (batch normalisation does, and
    may) is told among the evidence; anything else that does is an `info`.

    Args:
        model, inputs, targets: as for a training step; `targets` only help to tell which dimension counts examples.
        batch_dim: the dimension that counts the examples; by default found out from shapes, where they tell.
        examples: how many examples are replaced, one after another: the first, the last, and some between.
        share: share of the other examples that may be affected.
        seed: of random numbers that the model draws.

    Returns:
        Not applicable: fewer than two examples, no output with a row for each, inputs or outputs that relate examples
        (graphs), or shapes that leave open which dimension counts them.

    Raises:
        CheckError: the model raises, or cannot be copied.

    Source:
        Karpathy, "A Recipe for Training Neural Networks", 2019: "use backprop to chart dependencies". No other example
        may be affected, so `share` is 0. A change counts if it exceeds 1e-4 of the spread of all outputs (float32), far
        above rounding: the kernels are the same in both runs, so independent outputs do not change at all.
    """
    with Rehearsal(model, inputs, targets, seed=seed) as rehearsal:
        rehearsal.model.eval()
        base = rehearsal.output()
        dim, certain = _dimension(rehearsal.batch, base) if batch_dim is None else (batch_dim, True)
        probe = _Probe(rehearsal, dim)
        if reason := probe.cannot(base):
            return CheckResult.not_applicable(NAME, reason)
        found = probe.look(examples)
        if found.affected > share and not certain:
            other = _Probe(rehearsal, 1 - dim)
            if not other.cannot(base) and not other.look(examples).affected > share:
                return CheckResult.not_applicable(
                    NAME,
                    f"the shapes do not tell what counts the examples: outputs mix along dimension {dim} and not "
                    f"along dimension {1 - dim}; give batch_dim",
                )
        findings = [_finding(found, probe, share)] if found.affected > share else []
        evidence: dict[str, Evidence] = {
            "examples": probe.size,
            "batch_dim": dim,
            "affected_share": found.affected,
            "limit": share,
        }
        if not findings:
            mixing, call = _in_training(probe, examples, share)
            evidence["modules_that_mix_in_training"] = [*mixing]
            findings += [_training_finding(call)] if call is not None else []
    summary = (
        f"{found.affected:.0%} of the other examples are affected when one of {probe.size} is replaced"
        if found.affected > share
        else f"none of {probe.size} examples depends on another one in evaluation mode"
    )
    return CheckResult(NAME, summary, tuple(findings), evidence)


@dataclass
class _Found:
    """What replacing single examples has done to the others: the worst case."""

    affected: float = 0.0
    change: float = 0.0
    output: str = ""
    how: str = ""
    call: Call | None = None


class _Probe:
    """A model and a batch whose examples lie along `dim`."""

    def __init__(self, rehearsal: Rehearsal, dim: int) -> None:
        self.rehearsal, self.dim = rehearsal, dim
        tensors = [t for t in tensors_in((rehearsal.batch.args, rehearsal.batch.kwargs)) if t.dim() > dim]
        self.size = tensors[0].shape[dim] if tensors else 0
        self._tensors = tensors

    def cannot(self, base: Any) -> str | None:
        """Why there is nothing to look at."""
        if self.size < 2:
            return "the batch has fewer than two examples" if self._tensors else "no input counts examples"
        for tensor in tensors_in((self.rehearsal.batch.args, self.rehearsal.batch.kwargs)):
            if tensor.layout is not torch.strided:
                return "it is given a sparse matrix, as a graph is"
            if tuple(tensor.shape) == (self.size, self.size) and tensor is not self._tensors[0]:
                return "it is given a matrix between examples, as a graph is"
            if tensor.dim() == 2 and tensor.shape[0] == 2 != self.size and not tensor.is_floating_point():
                return "it is given pairs of indices, as the edges of a graph"
        if not self._judged(base):
            return "no output has a row for each example"
        self.rehearsal.restart()
        first = self._judged(self.rehearsal.output())
        self.rehearsal.restart()
        again = self._judged(self.rehearsal.output())
        if any(a.shape != b.shape or bool(moved(a, b).any()) for (_, a), (_, b) in zip(first, again, strict=False)):
            return "its outputs differ from one run to the next"
        return None

    def _judged(self, output: Any) -> list[tuple[str, Tensor]]:
        return [
            (name, tensor)
            for name, tensor in named_tensors(output)
            if tensor.dim() and tensor.numel() and (self.size in tensor.shape[:2] or tensor.shape[0] % self.size == 0)
        ]

    def look(self, examples: int) -> _Found:
        """The worst of what replacing some examples does."""
        worst = _Found()
        self.rehearsal.restart()
        base = self._judged(self.rehearsal.output())
        for index in _spaced(self.size, examples):
            for how, change in _WAYS.items():
                batch = self._with_other(index, change)
                if batch is None:
                    continue
                self.rehearsal.restart()
                try:
                    changed = dict(self._judged(self.rehearsal.output(batch)))
                except CheckError:
                    continue  # it refuses NaN, or a value that large
                for name, before in base:
                    found = self._compared(before, changed.get(name), index)
                    if found.affected > worst.affected:
                        worst, worst.output, worst.how = found, name, how
                if worst.how == how and worst.affected and worst.call is None:
                    worst.call = self._first_call(batch, index)
            if worst.affected:
                break
        return worst

    def _compared(self, before: Tensor, after: Tensor | None, index: int) -> _Found:
        if after is None or before.shape != after.shape:
            return _Found()
        change = moved(before, after)
        if confined(change, self.size, index) or _between(change, self.size, index):
            return _Found()
        along = next((d for d in (0, 1) if d < before.dim() and before.shape[d] == self.size), 0)
        rows = change.movedim(along, 0).reshape(self.size, -1).any(1)
        rows[index] = False
        size = float(changes(before, after).nan_to_num(posinf=0.0).max()) / spread(before)
        return _Found(max(float(rows.sum()) / (self.size - 1), 1 / (self.size - 1)), size)

    def _with_other(self, index: int, change: Callable[[Tensor, Tensor, int], Tensor | None]) -> Batch | None:
        """The batch with the example at `index` changed; None if that changes nothing."""
        some = False

        def changed(tensor: Tensor) -> Tensor:
            nonlocal some
            if tensor.dim() <= self.dim or tensor.shape[self.dim] != self.size:
                return tensor
            examples = tensor.movedim(self.dim, 0)
            other = change(examples[index], examples, index)
            if other is None:
                return tensor
            some = True
            made = tensor.detach().clone()
            made.movedim(self.dim, 0)[index] = other.detach()
            return made

        batch = self.rehearsal.batch
        made = Batch(batch.args, batch.kwargs).map(changed)
        return made if some else None

    def _first_call(self, batch: Batch, index: int) -> Call | None:
        def run(given: Batch | None) -> list[Call]:
            self.rehearsal.restart()
            return traced(lambda: self.rehearsal.output(given))

        def reaches(before: Tensor, after: Tensor) -> bool:
            change = moved(before, after)
            return not confined(change, self.size, index) and not _between(change, self.size, index)

        return first_reached(run(None), run(batch), reaches)


def confined(change: Tensor, size: int, index: int) -> bool:
    """Whether only what belongs to one of `size` examples has changed, in whatever dimension they lie.

    A dimension that is a multiple of `size` may hold examples flattened together with something else.
    """
    if not bool(change.any()):
        return True
    for dim in range(change.dim()):
        length = change.shape[dim]
        if length == 0 or length % size:
            continue
        along = change.movedim(dim, 0)
        for view, axis in (((size, length // size), 0), ((length // size, size), 1)):
            rows = along.reshape(*view, -1).any(-1).any(1 - axis)
            if int(rows.sum()) == 1 and bool(rows[index]):
                return True
    return False


def _between(change: Tensor, size: int, index: int) -> bool:
    """Whether it is a matrix between examples, as similarities are, of which one row and one column have changed."""
    if change.dim() != 2 or tuple(change.shape) != (size, size):
        return False
    rest = change.clone()
    rest[index, :] = False
    rest[:, index] = False
    return not bool(rest.any())


def _other(own: Tensor, examples: Tensor, index: int) -> Tensor | None:
    return next((other for other in examples.roll(-index - 1, 0) if not torch.equal(other, own)), None)


def _large(own: Tensor, examples: Tensor, index: int) -> Tensor | None:
    return own * -3 + 10 * spread(examples) if own.is_floating_point() else None


def _nan(own: Tensor, examples: Tensor, index: int) -> Tensor | None:
    return torch.full_like(own, float("nan")) if own.is_floating_point() else None


_WAYS: Final = {"another one": _other, "a large one": _large, "NaN": _nan}


def _spaced(size: int, count: int) -> list[int]:
    """`count` indices of `size`, the first and the last among them."""
    if count < 2 or size < 2:
        return [0]
    return sorted({round(k * (size - 1) / (min(count, size) - 1)) for k in range(min(count, size))})


def _dimension(batch: Batch, output: Any) -> tuple[int, bool]:
    """The dimension that counts the examples, and whether shapes leave no other choice."""
    first = next((t for t in tensors_in((batch.args, batch.kwargs)) if t.dim()), None)
    if first is None or first.dim() < 2:
        return 0, True
    result = first_tensor(output)
    for tensor in (next(tensors_in(batch.targets), None), result):
        if tensor is None or not tensor.dim() or (tensor is result and tensor.shape[:2] == first.shape[:2]):
            continue
        if tensor.dim() == 1 or tensor.shape[:2] != first.shape[:2]:
            fitting = [dim for dim in (0, 1) if first.shape[dim] == tensor.shape[0]]
            if len(fitting) == 1:
                return fitting[0], True
            # Sequences of two lengths, as of a translator: what they have in common is how many there are.
            if not fitting and tensor.dim() > 1 and tensor.shape[1] == first.shape[1]:
                return 1, True
    # Vectors and images come first everywhere; sequences do not.
    is_sequence = first.dim() == 3 or (first.dim() == 2 and not first.is_floating_point())
    return 0, not is_sequence


def _in_training(probe: _Probe, examples: int, share: float) -> tuple[list[str], Call | None]:
    """Names of the normalisations that mix examples in training mode, and what else does."""
    model = probe.rehearsal.model
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase) and not isinstance(module, _InstanceNorm)
    }
    model.train()
    for module in model.modules():
        # The masks that are drawn may depend on the order of packed sequences, say; masks mix nothing.
        if isinstance(module, _DropoutNd | nn.RNNBase | nn.MultiheadAttention):
            module.eval()
    active = {name: module for name, module in norms.items() if module.training}
    try:
        if not probe.look(examples).affected > share:
            return [], None
        for module in active.values():
            module.eval()
        rest = probe.look(examples)
    except CheckError:  # a batch, or what a layer makes of it, that is too small for batch statistics
        return sorted(active), None
    mixing = sorted(name or type(module).__name__ for name, module in active.items())
    return mixing, (rest.call or Call("forward", (), None)) if rest.affected > share else None


def _finding(found: _Found, probe: _Probe, share: float) -> Finding:
    frozen = [
        name or type(module).__name__
        for name, module in probe.rehearsal.model.named_modules()
        if isinstance(module, _NormBase) and not isinstance(module, _InstanceNorm) and not module.track_running_stats
    ]
    call = found.call
    seen = f"; {call.name} is the first call that mixes them" if call is not None else ""
    only_nan = found.how == "NaN"
    message = (
        f"one example that is NaN makes the outputs of {found.affected:.0%} of the {probe.size - 1} others wrong{seen}"
        if only_nan
        else f"replacing one of {probe.size} examples changes the outputs of {found.affected:.0%} of the others{seen}"
    )
    cause = (
        f"{', '.join(frozen)} normalise(s) with the statistics of the batch in evaluation mode too."
        if frozen
        else "Values of different examples are multiplied by zero and added up, or reduced to one number."
        if only_nan
        else "An operation goes along the dimension of the examples: a reshape for a transpose, a recurrent or "
        "attention layer that expects sequences first, a mean or softmax over dimension 0."
    )
    remedy = (
        "Let them track running statistics (track_running_stats=True), or use GroupNorm or LayerNorm."
        if frozen
        else "Follow the shapes through forward(); give batch_first=True where examples come first, batch_dim=1 "
        "to this check where sequences do."
    )
    return Finding(
        "batch-mixing",
        Severity.WARNING if only_nan or frozen else Severity.ERROR,
        message,
        _place(call),
        evidence={
            "affected_share": found.affected,
            "limit": share,
            "examples": probe.size,
            "largest_change_in_spreads": found.change,
            "output": found.output,
            "replaced_by": found.how,
        },
        cause=cause,
        remedy=remedy,
    )


def _training_finding(call: Call) -> Finding:
    return Finding(
        "batch-mixing",
        Severity.INFO,
        f"in training mode, something else than batch normalisation mixes examples: {call.name}",
        _place(call),
        cause="A part of forward() that runs in training only: a loss or a statistic of the whole batch, mixing on "
        "purpose, a normalisation of one's own.",
        remedy="Nothing, if it is meant.",
    )


def _place(call: Call | None) -> Location:
    return Location(file=call.site.file, line=call.site.line) if call is not None and call.site else Location()
