"""Experiments on a copy of a batch: what does an output depend on?

*One sample*: one example of the batch is replaced by another one. In evaluation mode no other example's output may
change. *Next token*: where the targets are the inputs moved by one place, everything from one place on is replaced.
No output before that place may change, for it would know what it is to predict.

A probe runs the model some four times without anyone noticing (unnoticed.py), on clones of what a training step
gave it, after that step has ended. Each model is probed twice: at its third sampled step, and when some more have been
seen. A model that would take too much of the seconds that probes may take is run once, to find that out.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.forward import ActivationCall, LossCall, ModelRun, modes_in_place
from diagnose.collect.memory import copies_fit
from diagnose.collect.nested import mapped, tensors_in
from diagnose.collect.reading import Unseen, undisturbed
from diagnose.collect.unnoticed import run_unnoticed
from diagnose.history import ProbeFacts

_TURNS: Final = (3, 16)
_EARLY_TARGETS: Final = 4
_RUNS: Final = 8
_TARGET_ELEMENTS: Final = 1 << 20
_SAME: Final = 0.95
"""Share of the targets that must be the next inputs; the rest may be padding."""
_VARIED: Final = 0.2
"""Share of the places at which a sequence must change, or the next input equals this one by itself."""
_TOLERANCE: Final = 1e-3
"""Change of an output, relative to the spread of all, that is no rounding: kernels may round a row differently when its
neighbours change, by some units in the last place (1e-7 in float32, 1e-3 in half precision, which are run as they
are: there the tolerance is 30 times as large)."""


class _NotRunError(Exception):
    """Why a probe cannot be made."""


@dataclass
class _Batch:
    """What one training step gave a model, cloned."""

    module: weakref.ref[nn.Module]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    targets: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Softmax:
    """A softmax along a dimension, seen while a model ran."""

    dim: int
    shape: tuple[int, ...]
    site: CallSite | None


class _Softmaxes(TorchFunctionMode):
    """Notes along which dimension softmaxes go."""

    _functions: ClassVar = frozenset(
        getattr(home, name)
        for home in (torch, F, Tensor)
        for name in ("softmax", "log_softmax")
        if hasattr(home, name)
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[_Softmax] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._functions and args and isinstance(args[0], Tensor) and len(self.seen) < 256:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            # What torch takes where none is given; it warns about it.
            dim = dim if isinstance(dim, int) else 0 if args[0].dim() in (0, 1, 3) else 1
            self.seen.append(_Softmax(dim % max(args[0].dim(), 1), tuple(args[0].shape), call_site()))
        return func(*args, **kwargs)


class ProbeCollector(Collector):
    """Fills `history.probes`. Memory: one batch and its targets, during a step that is probed."""

    name: ClassVar[str] = "probes"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._batch: _Batch | None = None
        self._probed: dict[str, int] = {}
        self._softmaxes: list[_Softmax] = []
        self._early: list[Tensor] = []

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._batch = None
        self._early.clear()
        self._softmaxes.clear()

    def root_called(self, module: nn.Module) -> None:
        self._early.clear()

    def model_ran(self, run: ModelRun) -> None:
        if (
            self._batch is not None
            or not run.training
            or self.shared.turn < _TURNS[0]
            or self.shared.probe_seconds_left <= 0
        ):
            return
        name = self.inventory.module_name(run.module)
        if name is None:
            return
        name = name or type(run.module).__name__
        times = self._probed.get(name, 0)
        if times >= len(_TURNS) or self.shared.turn < _TURNS[times]:
            return
        self._probed[name] = times + 1
        if not copies_fit((1, tensors_in((run.args, run.kwargs))), (1, run.module.buffers())):
            return self._not_run(name, "a copy of its inputs and buffers would take a tenth of the free memory")
        with Unseen():
            args, kwargs = mapped((run.args, dict(run.kwargs)), lambda tensor: tensor.detach().clone())
        self._batch = _Batch(weakref.ref(run.module), name, args, kwargs)
        self._batch.targets += self._early

    def loss_called(self, call: LossCall) -> None:
        if not call.training or call.target.numel() > _TARGET_ELEMENTS:
            return
        # A model that computes its own loss calls it before it returns.
        targets = self._batch.targets if self._batch is not None else self._early
        if self._batch is not None or (self._is_due() and len(targets) < _EARLY_TARGETS):
            with Unseen():
                targets.append(call.target.detach().clone())

    def _is_due(self) -> bool:
        """Whether a model may be about to be probed."""
        turn, last = self.shared.turn, _TURNS[-1]
        if self.shared.probe_seconds_left <= 0 or turn < _TURNS[0]:
            return False
        return turn <= last or any(times < len(_TURNS) for times in self._probed.values())

    def activation_begins(self, call: ActivationCall) -> None:
        if call.kind == "softmax" and call.module == "" and len(self._softmaxes) < 16:
            site = CallSite(call.file, call.line) if call.file and call.line else None
            self._softmaxes.append(_Softmax(call.unit_dim % call.pre.dim(), tuple(call.pre.shape), site))

    def step_ends(self, step: Step) -> None:
        batch, self._batch = self._batch, None
        module = batch.module() if batch is not None else None
        if batch is None or module is None:
            return
        begun_s = time.perf_counter()
        try:
            if not undisturbed() or modes_in_place():
                raise _NotRunError("a mode of the program's would have seen it")
            with torch._C._EnableTorchFunction():
                probe = _Probe(module, batch, outside=self._softmaxes, seconds=self.shared.probe_seconds_left)
            for kind, look in (("one-sample", probe.one_sample), ("next-token", probe.next_token)):
                try:
                    with torch._C._EnableTorchFunction():
                        facts = look()
                except _NotRunError as reason:
                    facts = ProbeFacts(kind, batch.name, reason=str(reason))
                self._keep(facts, step)
        except _NotRunError as reason:
            self._not_run(batch.name, str(reason))
        finally:
            self.shared.probed_s += time.perf_counter() - begun_s

    def _not_run(self, name: str, reason: str) -> None:
        for kind in ("one-sample", "next-token"):
            self.history.probes.setdefault(f"{kind} {name}", ProbeFacts(kind, name, reason=reason))

    def _keep(self, facts: ProbeFacts, step: Step) -> None:
        """The latest result that is one: what was found at the start may be gone when weights have grown."""
        key = f"{facts.probe} {facts.model}"
        known = self.history.probes.get(key)
        if known is not None and not known.reason and (facts.reason or facts.affected <= known.affected):
            return
        facts.step = step.number
        self.history.probes[key] = facts


class _Probe:
    """One model with one batch. Raises _NotRunError where it cannot be run, or gives other outputs each time."""

    def __init__(self, module: nn.Module, batch: _Batch, *, outside: list[_Softmax], seconds: float) -> None:
        self.module, self.batch, self.outside = module, batch, outside
        self.softmaxes = _Softmaxes()
        begun_s = time.perf_counter()
        self.outputs = self._run(batch.args, batch.kwargs)
        if (time.perf_counter() - begun_s) * _RUNS > seconds:
            raise _NotRunError("the model takes too long to be run some times more")
        again = self._run(batch.args, batch.kwargs)
        if len(again) != len(self.outputs) or any(
            a.shape != b.shape or not torch.equal(a, b) for a, b in zip(self.outputs, again, strict=True)
        ):
            raise _NotRunError("its outputs differ from one run to the next")
        self.inputs = [t for t in tensors_in((batch.args, batch.kwargs)) if t.dim() and t.numel()]

    def one_sample(self) -> ProbeFacts:
        examples = self._examples()
        facts = ProbeFacts("one-sample", self.batch.name, examples=examples)
        outputs = [i for i, o in enumerate(self.outputs) if o.dim() >= 2 and o.shape[0] == examples]
        if not outputs:
            raise _NotRunError("it puts out nothing that has a row for each target")
        places = [(t, _batch_dim(t, examples)) for t in self.inputs]
        rows = [(t, dim) for t, dim in places if dim is not None]
        if not rows:
            raise _NotRunError("it is given nothing that has a row for each target")
        if reason := _mixes_on_purpose(self.module, self.inputs, self.outputs, rows, examples):
            raise _NotRunError(reason)
        affected = torch.zeros(examples, dtype=torch.bool)
        for row in (0, examples - 1):
            changed = self._run_with({id(t): _with_other_row(t, dim, row) for t, dim in rows})
            for index in outputs:
                moved = _moved(self.outputs[index], changed[index], dim=0)
                moved[row] = False
                affected |= moved
        facts.affected = float(affected.sum()) / (examples - 1)
        self._find_softmax(facts, examples)
        return facts

    def next_token(self) -> ProbeFacts:
        for sequence, dim in itertools.product(self.inputs, (1, 0)):
            if sequence.dim() < 2 or sequence.shape[dim] < 4 or not self._is_next(sequence, dim):
                continue
            length = sequence.shape[dim]
            middle = length // 2
            found = [
                (index, along)
                for index, output in enumerate(self.outputs)
                if (along := _sequence_dim(output, sequence, dim)) is not None
            ]
            if not found:
                raise _NotRunError("it puts out nothing for each place of the sequence")
            changed = self._run_with({id(sequence): _with_other_future(sequence, dim, middle)})
            before = [_moved(self.outputs[i], changed[i], dim=along)[:middle] for i, along in found]
            affected = max(float(moved.float().mean()) for moved in before)
            sees_target = any(bool(moved[-1]) for moved in before)
            return ProbeFacts(
                "next-token", self.batch.name, examples=length, affected=affected, sees_target=sees_target
            )
        raise _NotRunError("its targets are not its inputs moved by one place")

    def _run(self, args: Any, kwargs: Any) -> list[Tensor]:
        output, reason = run_unnoticed(self.module, args, kwargs, watched_by=self.softmaxes, evaluating=True)
        if reason is not None:
            raise _NotRunError(reason)
        return [t for t in tensors_in(output) if t.is_floating_point() and t.numel()]

    def _run_with(self, replaced: Mapping[int, Tensor]) -> list[Tensor]:
        args, kwargs = mapped((self.batch.args, self.batch.kwargs), lambda t: replaced.get(id(t), t))
        changed = self._run(args, kwargs)
        if [t.shape for t in changed] != [t.shape for t in self.outputs]:
            raise _NotRunError("its outputs change their shapes")
        return changed

    def _examples(self) -> int:
        """How many examples the batch has, by the targets of a loss function."""
        for target in self.batch.targets:
            if target.dim() == 1 or (target.dim() == 2 and any(t.shape == target.shape for t in self.outputs)):
                if target.shape[0] < 3:
                    raise _NotRunError("the batch has fewer than three examples")
                return int(target.shape[0])
        raise _NotRunError("no loss function of torch was given a target for each example")

    def _is_next(self, sequence: Tensor, dim: int) -> bool:
        following = sequence.narrow(dim, 1, sequence.shape[dim] - 1)
        previous = sequence.narrow(dim, 0, sequence.shape[dim] - 1)
        if float((following != previous).float().mean()) < _VARIED:
            return False
        for target in self.batch.targets:
            if target.numel() == following.numel():
                expected, got = following, target.reshape(following.shape)
            elif target.numel() == sequence.numel():
                expected, got = following, target.reshape(sequence.shape).narrow(dim, 0, following.shape[dim])
            else:
                continue
            used = got != -100
            if used.any() and float((got == expected)[used].float().mean()) >= _SAME:
                return True
        return False

    def _find_softmax(self, facts: ProbeFacts, examples: int) -> None:
        """A softmax across the examples, in the model or behind it. Between examples on purpose: [N, N]."""
        for softmax in (*self.softmaxes.seen, *self.outside):
            shape = softmax.shape
            if softmax.dim == 0 and len(shape) >= 2 and shape[0] == examples and 1 < shape[1] != examples:
                facts.softmax_across, facts.softmax_shape = True, list(shape)
                facts.file, facts.line = softmax.site or (None, None)
                return


def _batch_dim(tensor: Tensor, examples: int) -> int | None:
    """Along which dimension the examples lie; None for what they share. Sequences may come first."""
    if tensor.shape[0] == examples:
        return 0
    return 1 if tensor.dim() > 1 and tensor.shape[1] == examples else None


def _mixes_on_purpose(
    module: nn.Module, inputs: list[Tensor], outputs: list[Tensor], rows: list[tuple[Tensor, int]], examples: int
) -> str | None:
    """Why outputs of this model may well depend on other examples; None if they may not."""
    stored = [v for m in module.modules() for v in (*vars(m).values(), *m._buffers.values()) if isinstance(v, Tensor)]
    for tensor in (*inputs, *stored):
        if tensor.layout is not torch.strided or tuple(tensor.shape) == (examples, examples):
            return "it is given a matrix between examples, as a graph is"
        if tensor.dim() == 2 and tensor.shape[0] == 2 and not tensor.is_floating_point() and examples != 2:
            return "it is given pairs of indices, as the edges of a graph"
    if any(o.dim() == 2 and o.shape[0] == o.shape[1] for o in outputs):
        return "it puts out a matrix between examples"
    if any(isinstance(m, _NormBase) and not m.track_running_stats and _across_examples(m) for m in module.modules()):
        return "it normalises with the statistics of the batch in evaluation mode too"
    floats = [t for t, _ in rows if t.is_floating_point()]
    if len({tuple(t.shape[1:]) for t in floats}) < len(floats):
        return "it is given several inputs of one shape, which it may compare"
    ambiguous = [t for t, dim in rows if dim == 0 and t.dim() > 2 and t.shape[1] == examples]
    if any(t.dim() == 3 for t in ambiguous):
        return "sequences are as long as the batch is large, so that the two cannot be told apart"
    return None


def _across_examples(norm: nn.Module) -> bool:
    return not isinstance(norm, nn.modules.instancenorm._InstanceNorm)


def _with_other_row(tensor: Tensor, dim: int, row: int) -> Tensor:
    """`tensor` with the example `row` replaced by the first one that differs from it."""
    changed = tensor.clone()
    own = tensor.select(dim, row)
    for other in range(tensor.shape[dim]):
        if not torch.equal(tensor.select(dim, other), own):
            changed.select(dim, row).copy_(tensor.select(dim, other))
            break
    return changed


def _with_other_future(sequence: Tensor, dim: int, begin: int) -> Tensor:
    """`sequence` with everything from `begin` on taken from the neighbouring example, or reversed."""
    changed = sequence.clone()
    future = sequence.narrow(dim, begin, sequence.shape[dim] - begin)
    other = 1 - dim
    moved = future.roll(1, other) if sequence.shape[other] > 1 else future.flip(dim)
    changed.narrow(dim, begin, sequence.shape[dim] - begin).copy_(moved)
    return changed


def _sequence_dim(output: Tensor, sequence: Tensor, dim: int) -> int | None:
    """Along which dimension of an output the places of `sequence` lie."""
    if output.dim() >= 2 and output.shape[:2] == sequence.shape[:2]:
        return dim
    last = output.dim() - 1
    if dim == 1 and last >= 2 and output.shape[0] == sequence.shape[0] and output.shape[last] == sequence.shape[1]:
        return last  # [examples, classes, places], as cross_entropy wants it
    return None


def _moved(before: Tensor, after: Tensor, *, dim: int) -> Tensor:
    """For each index along `dim`, whether any of its outputs has changed by more than rounding: shape (n,)."""
    wide = before.to(torch.float32)
    change = (after.to(torch.float32) - wide).abs().movedim(dim, 0).flatten(1).nan_to_num(0.0)
    spread = float(wide.nan_to_num(0.0).std()) if wide.numel() > 1 else 0.0
    tolerance = _TOLERANCE * (1 if before.dtype in (torch.float32, torch.float64) else 30)
    return (change.amax(1) > tolerance * spread + 1e-12).cpu()
