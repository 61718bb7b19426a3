"""What if? Three experiments on a training whose loss does not fall, to tell why.

*Shuffled labels*: is the loss lower with the targets of the examples than with targets permuted among them? What was
put out is known, so only the loss function is called again. If it is not lower, outputs say nothing about targets.

*Constant input*: how far do outputs move if every example is given the same input, or a far larger one? Outputs that
do not move at all do not depend on the input; outputs that were alike before, and do, have collapsed.

*One batch*: can copies of the weights fit a few examples (fitting.py)? If so, and the run does not, it is the
optimisation, or there is nothing to learn; if not, it is what lies between inputs, outputs and loss.

A run whose loss falls costs a look at its loss now and then. Since nobody knows when a run will end, and the model may
be gone by then, experiments are made again whenever the run has grown: shuffling on sampled steps, the others when
it has doubled, so that the latest ones are about a state in which most of the run was spent.
"""

from __future__ import annotations

import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.fitting import Fit, NotFittedError, fit_unnoticed
from diagnose.collect.forward import LossCall, ModelRun, modes_in_place
from diagnose.collect.graph import operation_name, sequence_number
from diagnose.collect.memory import copies_fit
from diagnose.collect.nested import mapped, tensors_in
from diagnose.collect.reading import Unseen, accessible, readable, undisturbed
from diagnose.collect.unnoticed import run_unnoticed
from diagnose.history import ConstantInputFacts, FitFacts, History, PairingFacts
from diagnose.stats.curves import Floats, finite_prefix

FROM_STEP: Final = 50
"""Before that a loss may well be where it began: heads start at zero, learning rates warm up."""

FIT_FROM_STEP: Final = 100
CHECK_GROWTH: Final = 1.25
FIT_GROWTH: Final = 2
EXAMPLES: Final = 32
"""Few enough that any network with more weights than they have labels can learn them by heart, and soon."""

WALL_SHARE: Final = 0.25
UNFELT_S: Final = 0.2
"""A fit may take so much of the time that the run has taken, or UNFELT_S, and no more than half of what is left."""

PERMUTATIONS: Final = 16
BATCHES_KEPT: Final = 16
ROWS_SHUFFLED: Final = 512
_ELEMENTS: Final = 1 << 20
_SCOPES: Final = 8
_TERMS: Final = 4

NOT_FALLEN: Final = 0.9
GUESSING: Final = 0.97
SETTLED_STEPS: Final = 300
SETTLED_ABOVE: Final = 0.5
SETTLED: Final = 0.03
ALIKE: Final = 0.02

AFFINE: Final = 1e-3
"""Rounding of float32 is a thousandth of that, and activations that do anything bend by far more."""

_BY_INDEX: Final = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
_BINARY: Final = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})
_DISTANCES: Final = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "difference"})
_VIEWS: Final = frozenset(
    {"view", "unsafeview", "transpose", "t", "permute", "squeeze", "unsqueeze", "select", "slice", "alias", "narrow"}
)
_VIEWS_MOST: Final = 12
_NOT_SHUFFLED: Final = frozenset({"ctc_loss"})


# -- whether it is worth while ---------------------------------------------------------------------


def is_stuck(history: History, optimizer: str) -> bool:
    """Whether the loss of `optimizer` has not fallen, is that of guessing, or has settled far above zero."""
    streams = [name for name, facts in history.losses.items() if facts.optimizer == optimizer]
    series = max((history.series("loss", name).values for name in streams), key=len, default=np.zeros(0))
    values = series[: finite_prefix(series)]
    if len(values) < 10:
        return False
    start, late = _start(values), float(np.median(values[-max(3, len(values) // 5) :]))
    if start <= 0:  # no floor, and no level that is good or bad
        return False
    guess = _guessing(history, optimizer)
    if late > NOT_FALLEN * start or guess:
        return True
    quarter = len(values) // 4
    third, last = (float(np.mean(values[i * quarter : (i + 1) * quarter])) for i in (2, 3))
    return len(values) >= SETTLED_STEPS and late > SETTLED_ABOVE * start and abs(third - last) < SETTLED * start


def _start(values: Floats) -> float:
    return float(np.median(values[: min(max(3, len(values) // 30), 10)]))


def _guessing(history: History, optimizer: str) -> bool:
    for scope, facts in history.objectives.items():
        if facts.optimizer == optimizer and facts.uninformed is not None and facts.alone:
            values = history.series("objective", scope).values[-5:]
            if len(values) and float(np.median(values)) >= GUESSING * facts.uninformed:
                return True
    return False


def _outputs_are_alike(history: History, optimizer: str) -> bool:
    for scope, facts in history.objectives.items():
        if facts.optimizer == optimizer:
            _, (spread, scale) = history.aligned("output_spread", "output_scale", scope=scope)
            if len(spread) and spread[-1] <= ALIKE * max(float(scale[-1]), ALIKE):
                return True
    return False


# -- what is kept of a step --------------------------------------------------------------------------


class _Output(NamedTuple):
    """A tensor that a model put out, without keeping it or its graph alive: what made it, and how it lies in memory."""

    sequence: int
    number: int
    offset: int
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Term:
    """One call of a loss function, and how its input is made of what the model put out.

    Attributes:
        index: of the output tensor.
        shape, stride, offset: of the input as a view of that; empty if it is the output itself.
        output_stride: what the output's strides were.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    output_stride: tuple[int, ...]
    target: Tensor
    options: Mapping[str, Any]

    def loss(self, outputs: Sequence[Tensor], examples: int | None) -> Tensor:
        output, target = outputs[self.index], self.target
        if self.stride:
            if output.stride() != self.output_stride:
                raise NotFittedError("its outputs lie elsewhere in memory each time")
            shape = self.shape if examples is None else (examples, *self.shape[1:])
            output = output.as_strided(shape, self.stride, output.storage_offset() + self.offset)
        if examples is not None:
            target = target[:examples]
        if output.dim() and target.dim() and len(output) != len(target):
            raise NotFittedError("its outputs do not follow its inputs in number")
        return _call(self.name, output, target, self.options)

    def floor_is_zero(self) -> bool:
        """Whether the lowest loss that there can be is zero."""
        if self.name in _BY_INDEX:
            return not self.target.is_floating_point() and "label_smoothing" not in self.options
        if self.name in _BINARY:
            return bool(((self.target == 0) | (self.target == 1)).all())
        return self.name in _DISTANCES

    def constant(self, examples: int | None) -> float:
        """The loss of the best answer that is the same for all examples; inf if not known."""
        target = self.target if examples is None else self.target[:examples]
        if self.options.keys() & {"weight", "pos_weight", "ignore_index"}:
            return math.inf
        if self.name in ("cross_entropy", "nll_loss") and not target.is_floating_point():
            shares = target.reshape(-1).unique(return_counts=True)[1].double() / max(target.numel(), 1)
            return float(-(shares * shares.log()).sum())
        if self.name in _BINARY and target.dim():
            means = target.double().mean(0)
            return float(-(torch.xlogy(means, means) + torch.xlogy(1 - means, 1 - means)).mean())
        if self.name in ("mse_loss", "difference") and target.dim():
            return float(target.double().var(0, unbiased=False).mean())
        return math.inf


@dataclass
class _Captured:
    """What a model was given in one step, cloned, and what became of it.

    Attributes:
        outputs: the tensors that it put out, None for those without a gradient.
        own_loss: index of an output that is a loss which was computed inside of it, None if there is none.
        terms: the calls of loss functions that were given its outputs; or the one inside of it.
    """

    module: weakref.ref[nn.Module]
    name: str
    args: Any
    kwargs: Any
    outputs: list[_Output | None]
    own_loss: int | None = None
    terms: list[_Term] = field(default_factory=list)

    def loss(self, output: Any, examples: int | None) -> Tensor:
        outputs = list(tensors_in(output))
        if self.own_loss is not None:
            return outputs[self.own_loss]
        return torch.stack([term.loss(outputs, examples) for term in self.terms]).sum()


@dataclass
class _Pairing:
    """One batch with its own targets, and with permuted ones."""

    call: LossCall
    examples: int
    loss: float
    shuffled: float
    sigmas: float


@dataclass
class _Known:
    """The latest batches of one loss call: (step, pairing)."""

    facts: PairingFacts
    batches: deque[tuple[int, float, float, float]] = field(default_factory=lambda: deque(maxlen=BATCHES_KEPT))


class CounterfactualCollector(Collector):
    """Fills `history.pairings`, `history.fits` and `history.constant_inputs`, for a loss that does not fall.

    Memory: one batch, and while copies are fitted four times the weights; neither if that is a tenth of what is free.
    """

    name: ClassVar[str] = "counterfactuals"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._begun_s = time.perf_counter()
        self._check_at = FROM_STEP
        self._fit_at = FIT_FROM_STEP
        self._stuck: set[str] = set()
        self._alike = False
        self._captures = False
        self._captured: _Captured | None = None
        self._inner: list[tuple[weakref.ref[Tensor], _Term | None]] = []
        self._pending: dict[str, _Pairing] = {}
        self._known: dict[str, _Known] = {}

    # -- listening -------------------------------------------------------------------------------------

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._captured, self._captures = None, False
        self._inner.clear()
        self._pending.clear()
        made = sum(self.shared.step_of.values())
        if made < self._check_at or self.shared.probe_seconds_left <= 0:
            return
        self._check_at = math.ceil(made * CHECK_GROWTH)
        names = [name for name, facts in self.history.optimizers.items() if facts.steps]
        self._stuck = {name for name in names if is_stuck(self.history, name)}
        self._alike = not self._stuck and any(_outputs_are_alike(self.history, name) for name in names)
        self._captures = made >= self._fit_at and bool(self._stuck or self._alike)

    def model_ran(self, run: ModelRun) -> None:
        if not self._captures or self._captured is not None or not run.training:
            return
        name = self.inventory.module_name(run.module)
        outputs = list(tensors_in(run.output))
        if name is None or not any(output.requires_grad for output in outputs):
            return
        name = name or type(run.module).__name__
        inputs = tensors_in((run.args, run.kwargs))
        if not copies_fit((4, run.module.parameters()), (1, run.module.buffers()), (2, inputs)):
            self._captures = False
            self._not_run(name, "", "copies of its weights and inputs would take a tenth of the free memory")
            return
        with Unseen():
            args, kwargs = mapped((run.args, dict(run.kwargs)), lambda tensor: tensor.detach().clone())
        captured = _Captured(weakref.ref(run.module), name, args, kwargs, [_known_again(o) for o in outputs])
        for index, output in enumerate(outputs):
            for reference, term in self._inner:
                if reference() is output and term is not None:
                    captured.own_loss, captured.terms = index, [term]
        self._captured = captured

    def loss_called(self, call: LossCall) -> None:
        if not call.training or not (self._stuck or self._captures):
            return
        self._shuffle(call)
        if self._captures:
            self._note_term(call)

    def difference_taken(self, call: LossCall) -> None:
        self.loss_called(call)

    def backward_begins(self, loss: Loss | None) -> None:
        self._captures = False  # what comes after the first backward belongs to another one

    def step_ends(self, step: Step) -> None:
        for scope, pairing in self._pending.items():
            self._take_in(step, scope, pairing)
        self._pending.clear()
        captured, self._captured = self._captured, None
        module = captured.module() if captured is not None else None
        if captured is None or module is None:
            return
        self._fit_at = FIT_GROWTH * sum(self.shared.step_of.values())
        begun_s = time.perf_counter()
        try:
            if not undisturbed() or modes_in_place():
                self._not_run(captured.name, step.name, "a mode of the program's would have seen it")
                return
            with torch._C._EnableTorchFunction():
                self._give_constant_input(module, captured, step)
                if step.name in self._stuck:
                    self._fit(module, captured, step)
        finally:
            self.shared.probed_s += time.perf_counter() - begun_s

    def _not_run(self, name: str, optimizer: str, reason: str) -> None:
        self.history.fits.setdefault(name, FitFacts(name, optimizer, reason))
        self.history.constant_inputs.setdefault(name, ConstantInputFacts(name, optimizer, reason))

    # -- shuffled labels ---------------------------------------------------------------------------------

    def _shuffle(self, call: LossCall) -> None:
        scope = f"{call.name} ({call.file}:{call.line})"
        if scope in self._pending or (scope not in self._known and len(self._known) >= _SCOPES):
            return
        begun_s = time.perf_counter()
        try:
            with Unseen():
                found = _shuffled(call, turn=self.shared.turn)
            if found is not None:
                self._pending[scope] = found
        except Exception as error:  # a loss function may refuse what it has not been given by the user
            facts = PairingFacts("", call.name, call.file, call.line, f"it raised {type(error).__name__}: {error}")
            self.history.pairings.setdefault(scope, facts)
        self.shared.probed_s += time.perf_counter() - begun_s

    def _take_in(self, step: Step, scope: str, found: _Pairing) -> None:
        known = self._known.get(scope)
        if known is None:
            call = found.call
            known = self._known[scope] = _Known(PairingFacts(step.name, call.name, call.file, call.line))
        facts, kept = known.facts, known.batches
        kept.append((step.number, found.loss, found.shuffled, found.sigmas))
        facts.first_step, facts.last_step = kept[0][0], step.number
        facts.batches, facts.examples = len(kept), found.examples
        facts.loss = sum(batch[1] for batch in kept) / len(kept)
        facts.shuffled = sum(batch[2] for batch in kept) / len(kept)
        facts.sigmas = sum(batch[3] for batch in kept) / math.sqrt(len(kept))
        self.history.pairings[scope] = facts

    # -- one batch -----------------------------------------------------------------------------------------

    def _note_term(self, call: LossCall) -> None:
        if self._captured is None:  # inside of the model, or about something else
            if len(self._inner) < _TERMS:
                with Unseen():
                    term = _term(call, [_known_again(call.input)])
                self._inner.append((weakref.ref(call.result), term))
            return
        terms = self._captured.terms
        if self._captured.own_loss is not None:
            return
        # A difference is what a loss that was written by hand begins with; where there is a real one, it is none.
        if len(terms) >= _TERMS or (call.name == "difference" and terms):
            return
        with Unseen():
            term = _term(call, self._captured.outputs)
        if term is None:
            return
        if call.name != "difference":
            terms[:] = [known for known in terms if known.name != "difference"]
        terms.append(term)

    def _fit(self, module: nn.Module, captured: _Captured, step: Step) -> None:
        facts = FitFacts(captured.name, step.name, step=step.number)
        wall_s = time.perf_counter() - self._begun_s
        seconds = min(self.shared.probe_seconds_left / 2, max(WALL_SHARE * wall_s, UNFELT_S))
        try:
            facts = self._fitted(module, captured, facts, seconds)
        except NotFittedError as reason:
            facts.reason = str(reason)
        known = self.history.fits.get(captured.name)
        if known is None or known.reason or not facts.reason:
            self.history.fits[captured.name] = facts

    def _fitted(self, module: nn.Module, captured: _Captured, facts: FitFacts, seconds: float) -> FitFacts:
        if captured.own_loss is None and not captured.terms:
            raise NotFittedError("no loss function is given what it puts out")
        if not all(term.floor_is_zero() for term in captured.terms):
            raise NotFittedError("the lowest loss that there can be is not known")
        whole = _examples(captured)
        few = min(whole, EXAMPLES) if whole else None
        for examples in dict.fromkeys((few if few != whole else None, None)):
            with Unseen():
                args, kwargs = _first((captured.args, captured.kwargs), whole, examples)
                constant = sum((term.constant(examples) for term in captured.terms), 0.0)
                if captured.own_loss is not None:
                    constant = math.inf
                repeated = _repeated((args, kwargs), examples or whole)
            try:
                fit = fit_unnoticed(
                    module,
                    args,
                    kwargs,
                    lambda output, few=examples: captured.loss(output, few),  # type: ignore[misc]
                    seconds=seconds,
                    constant=constant,
                )
            except NotFittedError:
                if examples is None:
                    raise
                continue  # what belongs to an example may be told apart by the user's program only
            return _with_fit(facts, fit, examples or whole, repeated, constant)
        return facts

    # -- constant input --------------------------------------------------------------------------------------

    def _give_constant_input(self, module: nn.Module, captured: _Captured, step: Step) -> None:
        facts = ConstantInputFacts(captured.name, step.name, step=step.number)
        try:
            self._compare(module, captured, facts)
        except NotFittedError as reason:
            facts.reason = str(reason)
        known = self.history.constant_inputs.get(captured.name)
        if known is None or known.reason or not facts.reason:
            self.history.constant_inputs[captured.name] = facts

    def _compare(self, module: nn.Module, captured: _Captured, facts: ConstantInputFacts) -> None:
        facts.examples = _examples(captured)
        if facts.examples < 2:
            raise NotFittedError("it is not known what its examples are")
        real = _outputs(module, captured.args, captured.kwargs, facts.examples)
        again = _outputs(module, captured.args, captured.kwargs, facts.examples)
        if not real:
            raise NotFittedError("it puts out nothing that has a row for each example")
        if any(not torch.equal(a, b) for a, b in zip(real, again, strict=True)):
            raise NotFittedError("its outputs differ from one run to the next")
        facts.spread = max(_relative(t - t.mean(0, keepdim=True), t) for t in real)
        found: list[list[Tensor]] = []
        for by in (_mean_for_all, torch.zeros_like, _far_larger):
            with Unseen():
                args, kwargs = _all_replaced((captured.args, captured.kwargs), facts.examples, by)
            changed = _outputs(module, args, kwargs, facts.examples)
            if [t.shape for t in changed] != [t.shape for t in real]:
                raise NotFittedError("its outputs change their shapes")
            moved = max(_relative(b - a, a) for a, b in zip(real, changed, strict=True))
            facts.change = max(facts.change, moved)
            found.append(changed)
        given = [t for t in tensors_in((captured.args, captured.kwargs)) if t.dim() and len(t) == facts.examples]
        facts.affine = all(t.is_floating_point() for t in given) and all(
            _is_affine(*outputs) for outputs in zip(real, *found, strict=True)
        )


# -- shuffling ---------------------------------------------------------------------------------------------


def _call(name: str, output: Tensor, target: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The loss, as a mean over whatever the call would have added up or left apart."""
    if name == "difference":
        return (output - target).square().mean()
    result: Tensor = getattr(F, name)(output, target, **{**options, "reduction": "mean"})
    return result.mean()


def _shuffled(call: LossCall, *, turn: int) -> _Pairing | None:
    """One batch with permuted targets; None where nothing can be told from it."""
    output, target = call.input, call.target
    if call.name in _DISTANCES and target.requires_grad and not output.requires_grad:
        output, target = target, output
    if call.name in _NOT_SHUFFLED or target.requires_grad or not readable(output) or not accessible(target):
        return None
    if not output.dim() or not target.dim() or len(output) != len(target) or len(output) < 4:
        return None
    options = dict(call.options)
    per_example = [v for v in options.values() if isinstance(v, Tensor) and v.dim() and len(v) == len(output)]
    if per_example and call.name not in ("cross_entropy", "nll_loss"):
        return None
    rows = min(len(output), ROWS_SHUFFLED, max(4, _ELEMENTS * len(output) // max(output.numel(), target.numel())))
    output, target = output.detach()[:rows], target.detach()[:rows]
    if bool((target == target[:1]).all()):
        return None
    numbers = np.random.Generator(np.random.PCG64(turn))  # our own: not the user's random state
    values = [_call(call.name, output, target, options)]
    for _ in range(PERMUTATIONS):
        order = torch.from_numpy(numbers.permutation(rows)).to(target.device)
        values.append(_call(call.name, output, target.index_select(0, order), options))
    own, *others = torch.stack(values).double().tolist()
    if not math.isfinite(own) or not all(map(math.isfinite, others)):
        return None
    mean, deviation = float(np.mean(others)), float(np.std(others, ddof=1))
    # Of outputs that are all the same, permutations leave rounding.
    is_blind = deviation <= 1e-6 * abs(own)
    sigmas = 0.0 if is_blind else (mean - own) / (deviation * math.sqrt(1 + 1 / PERMUTATIONS))
    return _Pairing(call, rows, own, mean, sigmas)


# -- the batch -------------------------------------------------------------------------------------------------


def _term(call: LossCall, outputs: Sequence[_Output | None]) -> _Term | None:
    learned, target = call.input, call.target
    if call.name in _DISTANCES and target.requires_grad and not learned.requires_grad:
        learned, target = target, learned
    if target.requires_grad or not accessible(target) or target.numel() > _ELEMENTS:
        return None
    options = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in call.options.items()}
    if not readable(learned) or learned.grad_fn is None:
        return None
    for index, output in enumerate(outputs):
        views = _views_between(learned, output) if output is not None else None
        if output is None or views is None:
            continue
        shape: tuple[int, ...] = ()
        stride: tuple[int, ...] = ()
        if views:
            shape, stride = tuple(learned.shape), learned.stride()
        offset = int(learned.storage_offset()) - output.offset
        return _Term(call.name, index, shape, stride, offset, output.stride, target.detach().clone(), options)
    return None


def _known_again(output: Tensor) -> _Output | None:
    if output.grad_fn is None or output.layout is not torch.strided:
        return None
    offset = int(output.storage_offset())
    return _Output(sequence_number(output.grad_fn), output.output_nr, offset, tuple(output.stride()))


def _views_between(tensor: Tensor, output: _Output) -> int | None:
    """How many views were taken of `output` to make `tensor`; None if it was made in another way."""
    node, number = tensor.grad_fn, tensor.output_nr
    for views in range(_VIEWS_MOST):
        if node is None:
            return None
        if sequence_number(node) == output.sequence and number == output.number:
            return views
        if operation_name(node) not in _VIEWS or not node.next_functions:
            return None
        node, number = node.next_functions[0]
    return None


def _examples(captured: _Captured) -> int:
    """How many examples there are, by the targets or by what the model is given first; 0 if not known."""
    for term in captured.terms:
        if term.target.dim():
            return len(term.target)
    return next((len(t) for t in tensors_in((captured.args, captured.kwargs)) if t.dim()), 0)


def _first(inputs: Any, whole: int, examples: int | None) -> Any:
    if examples is None:
        return inputs
    return mapped(inputs, lambda t: t[:examples].clone() if t.dim() and len(t) == whole else t)


def _repeated(inputs: Any, examples: int) -> int:
    """How many examples have the inputs of another one."""
    rows = [t.reshape(examples, -1).double() for t in tensors_in(inputs) if t.dim() and len(t) == examples]
    if not rows or sum(t.numel() for t in rows) > _ELEMENTS:
        return 0
    return examples - len(torch.cat(rows, dim=1).unique(dim=0))


def _with_fit(facts: FitFacts, fit: Fit, examples: int, repeated: int, constant: float) -> FitFacts:
    facts.examples, facts.repeated, facts.constant = examples, repeated, constant
    facts.steps, facts.before, facts.after = fit.steps, fit.before, fit.after
    return facts


def _outputs(module: nn.Module, args: Any, kwargs: Any, examples: int) -> list[Tensor]:
    output, reason = run_unnoticed(module, args, kwargs, evaluating=True)
    if reason is not None:
        raise NotFittedError(reason)
    found = [t for t in tensors_in(output) if t.is_floating_point() and t.dim() and len(t) == examples]
    return [t.detach().to(torch.float32) for t in found]


def _mean_for_all(tensor: Tensor) -> Tensor:
    return tensor.mean(0, keepdim=True).expand_as(tensor).clone()


def _far_larger(tensor: Tensor) -> Tensor:
    return 10 * tensor


def _all_replaced(inputs: Any, examples: int, by: Callable[[Tensor], Tensor]) -> Any:
    return mapped(inputs, lambda tensor: _replaced(tensor, examples, by))


def _replaced(tensor: Tensor, examples: int, by: Callable[[Tensor], Tensor]) -> Tensor:
    if not tensor.dim() or len(tensor) != examples:
        return tensor
    if tensor.is_floating_point():
        return by(tensor)
    return tensor[:1].expand_as(tensor).clone() if by is _mean_for_all else tensor


def _is_affine(real: Tensor, mean: Tensor, zero: Tensor, larger: Tensor) -> bool:
    """Whether outputs depend on inputs as an affine function would let them, and depend on them at all."""
    moved = larger - zero
    size = float(moved.square().mean().sqrt())
    if not size > AFFINE * float(zero.square().mean().sqrt()):
        return False
    by_scale, by_mean = moved - 10 * (real - zero), mean - real.mean(0, keepdim=True)
    return max(float(by_scale.square().mean().sqrt()), 10 * float(by_mean.square().mean().sqrt())) <= AFFINE * size


def _relative(difference: Tensor, outputs: Tensor) -> float:
    """Root mean square of the difference, in units of that of the outputs."""
    size = float(outputs.square().mean().sqrt())
    moved = float(difference.square().mean().sqrt())
    return moved / size if size > 0 else float(moved > 0)
