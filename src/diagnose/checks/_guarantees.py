"""guarantees: what has to hold at every step of a training, and whether it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.checks import invariants as built_in
from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import named_tensors
from diagnose.checks._trace import Trace, line_in_model, name_of
from diagnose.collect.callsite import CallSite
from diagnose.errors import CheckError, CheckFailedError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "guarantees"
_FINITE: Final = "finite"
_MAKE_INFINITE: Final = ("fill", "full", "where", "tensor", "triu", "tril", "log", "zeros", "ones", "empty")
"""Functions that put infinities where they are wanted: masks."""


@dataclass(frozen=True)
class Moment:
    """What an invariant may look at. A function gets what its arguments name, or all of it as its only argument.

    Attributes:
        step: number of the step that has just been taken, from 1.
        model: after the step.
        output: what the model returned, before the step.
        loss: before the step; None if there is none.
        losses: of all steps so far.
        inputs, targets: the batch; `inputs` is what was given, if it was one tensor, else (args, kwargs).
    """

    step: int
    model: nn.Module
    output: Any
    loss: float | None
    losses: tuple[float, ...]
    inputs: Any
    targets: Any


Invariant = Callable[..., Any]


def guarantees(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    invariants: Mapping[str, Invariant] | Sequence[str] = (),
    steps: int = 20,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
    automatic: bool = True,
    seed: int = 0,
) -> CheckResult:
    """Whether invariants hold at each of some training steps, on a copy of the model.

    An invariant is a function that returns None or True if it holds; False, a message, or an AssertionError say that it
    does not. Its arguments name what it looks at, among the attributes of `Moment`: `lambda output: ...`,
    `lambda model, losses: ...`. `diagnose.checks.invariants` has ready ones; the name of one of these stands for it
    applied to the output.

    Held to without being asked: outputs, loss, gradients and parameters are finite; softmaxes are finite (a row that is
    masked from end to end is not); weights that `nn.MultiheadAttention` returns sum to 1 and are 0 where masked.

    Args:
        model, inputs, targets, loss_fn: as for a training step. Without a loss the model is run once, not trained.
        invariants: functions by name, or names of ready ones.
        steps: of training.
        optimizer: makes one from parameters; by default Adam at 1e-3.
        automatic: hold the model to what goes without saying.
        seed: of random numbers.

    Returns:
        One finding per invariant that was broken: the first step, how often, and the numbers.

    Raises:
        CheckError: the model, the loss or an invariant raises (something else than an AssertionError).
        ValueError: there is no ready invariant of that name.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", section 11.5, on tests of what is guaranteed by construction.
    """
    functions = _functions(invariants)
    with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
        watched = _Watched(rehearsal, functions, optimizer, automatic)
        taken = watched.run(steps)
    findings = tuple(sorted((b.finding(taken) for b in watched.broken.values()), key=lambda f: f.severity.rank))
    names = [*functions, *([_FINITE, "softmax", "attention"] if automatic else [])]
    evidence: dict[str, Evidence] = {
        "steps": taken,
        "invariants": [*names],
        "trained": watched.trains,
        "broken": [*watched.broken],
    }
    if findings:
        summary = findings[0].message
    else:
        summary = f"{len(names)} invariants hold over {taken} step{'s' if taken != 1 else ''}"
    return CheckResult(NAME, summary, findings, evidence)


@dataclass
class _Broken:
    """An invariant that did not hold."""

    name: str
    message: str
    first: int
    last: int
    times: int = 1
    code: str = "invariant-broken"
    where: Location = field(default_factory=Location)

    def finding(self, steps: int) -> Finding:
        is_finite = self.code == "nan-or-inf"
        return Finding(
            self.code,
            Severity.ERROR,
            f"{self.name} does not hold at {self.times} of {steps} steps, first at step {self.first}: {self.message}",
            self.where,
            self.first,
            self.last,
            {"invariant": self.name, "steps": steps, "broken_at": self.times},
            cause="An operation outside of its domain, or a step that is too large."
            if is_finite
            else "What is to hold by construction is not constructed so, or a step of the optimizer leaves it.",
            remedy="Look at the line that is named; mask with large finite numbers, clamp before log and division."
            if is_finite
            else "Parametrise so that it holds for every value (softplus, softmax, a Cholesky factor), or project "
            "after each step.",
        )


class _Watched:
    """A training whose steps are looked at."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        functions: Mapping[str, Invariant],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
        automatic: bool,
    ) -> None:
        self.rehearsal, self.functions, self.automatic = rehearsal, functions, automatic
        self.broken: dict[str, _Broken] = {}
        self.trains = False
        self._make = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3))
        self._losses: list[float] = []
        self._step = 0
        self._told: set[str] = set()

    def run(self, steps: int) -> int:
        """The number of steps that were taken."""
        model = self.rehearsal.model
        hooks = list(self._attention_hooks(model)) if self.automatic else []
        try:
            self._step = 1
            output, loss = self._forward()
            self.trains = loss is not None and loss.requires_grad
            optimizer = self._make([p for p in model.parameters() if p.requires_grad]) if self.trains else None
            while True:
                if loss is not None:
                    self._losses.append(float(loss.detach()))
                if optimizer is not None and loss is not None:
                    self._take(optimizer, loss)
                self._look(output)
                if optimizer is None or self._step >= steps or _FINITE in self.broken:
                    return self._step
                self._step += 1
                output, loss = self._forward()
        finally:
            for hook in hooks:
                hook.remove()

    def _forward(self) -> tuple[Any, Tensor | None]:
        softmaxes = _Softmaxes()
        if self.automatic:
            with softmaxes:
                output = self.rehearsal.output()
        else:
            output = self.rehearsal.output()
        for message, site in softmaxes.broken:
            self._note("softmax", message, code="nan-or-inf", where=_at(site))
        try:
            loss = self.rehearsal.loss_of(output, self.rehearsal.batch)
        except CheckError:
            if self.rehearsal.has_loss:
                raise
            loss = None
        is_wrong = loss is not None and not self._is_finite(loss)
        for name, tensor in named_tensors(output):
            # A model may put out -inf for what is impossible; the loss tells whether it matters.
            if not self._is_finite(tensor) and (is_wrong or bool(tensor.detach().isnan().any())):
                self._note_first_call(name)
        if loss is not None and is_wrong:
            self._note(_FINITE, f"the loss is {float(loss.detach())}", code="nan-or-inf")
        return output, loss

    def _take(self, optimizer: Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()

        def closure() -> float:
            return float(loss.detach())

        named = list(self.rehearsal.model.named_parameters())
        for name, parameter in named:
            if parameter.grad is not None and not self._is_finite(parameter.grad):
                where = Location(parameter=name)
                self._note(_FINITE, f"the gradient of {name} is not finite", code="nan-or-inf", where=where)
                break
        optimizer.step(closure) if isinstance(optimizer, torch.optim.LBFGS) else optimizer.step()
        for name, parameter in named:
            if not self._is_finite(parameter):
                where = Location(parameter=name)
                self._note(_FINITE, f"{name} is not finite after the step", code="nan-or-inf", where=where)
                break

    def _is_finite(self, tensor: Tensor) -> bool:
        if not self.automatic or not (tensor.is_floating_point() or tensor.is_complex()):
            return True
        values = tensor.detach()
        return bool(torch.isfinite(values.to_dense() if values.layout is not torch.strided else values).all())

    def _note_first_call(self, name: str) -> None:
        """An output that is not finite, with the call that made it so."""
        try:
            trace = Trace()
            with trace:
                self.rehearsal.output()
        except CheckError:
            return
        for call in trace.calls:
            bad = [r for r in call.results if r.is_floating_point() and not bool(torch.isfinite(r).all())]
            wanted = any(word in call.name for word in _MAKE_INFINITE)
            if any(bool(r.isnan().any()) or not wanted for r in bad):
                self._note(_FINITE, f"{call.name} makes it not finite", code="nan-or-inf", where=_at(call.site))
                return
        self._note(_FINITE, f"{name} is not finite", code="nan-or-inf")

    def _attention_hooks(self, model: nn.Module) -> Iterator[Any]:
        for name, module in model.named_modules():
            if isinstance(module, nn.MultiheadAttention):
                yield module.register_forward_hook(self._attention_hook(name), with_kwargs=True)

    def _attention_hook(self, name: str) -> Callable[..., None]:
        def look(module: nn.MultiheadAttention, args: Any, kwargs: Any, result: Any) -> None:
            weights = result[1] if isinstance(result, tuple) and len(result) == 2 else None
            if not isinstance(weights, Tensor) or (module.dropout and module.training):
                return
            bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
            hidden = _hidden(weights, bound.get("key_padding_mask"), bound.get("attn_mask"), module.num_heads)
            try:
                built_in.attention_weights(weights, hidden)
            except CheckFailedError as error:
                self._note(f"attention of {name or 'the model'}", str(error), where=Location(module=name or None))

        return look

    def _look(self, output: Any) -> None:
        batch = self.rehearsal.batch
        one = len(batch.args) == 1 and not batch.kwargs
        moment = Moment(
            self._step,
            self.rehearsal.model,
            output,
            self._losses[-1] if self._losses else None,
            tuple(self._losses),
            batch.args[0] if one else (batch.args, batch.kwargs),
            batch.targets,
        )
        for name, function in self.functions.items():
            message = _asked(name, function, moment)
            if message is not None:
                self._note(name, message, where=_defined_at(function))

    def _note(self, name: str, message: str, *, code: str = "invariant-broken", where: Location | None = None) -> None:
        known = self.broken.get(name)
        if known is None:
            self.broken[name] = _Broken(
                name, message, self._step, self._step, code=code, where=where if where is not None else Location()
            )
        elif known.last != self._step:
            known.last, known.times = self._step, known.times + 1


class _Softmaxes(Trace):
    """Looks at each softmax: one of finite numbers and masks is finite, unless a row is masked from end to end."""

    def __init__(self) -> None:
        super().__init__(0)
        self.broken: list[tuple[str, CallSite | None]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if name_of(func).rpartition(".")[2] in ("softmax", "log_softmax") and isinstance(result, Tensor) and args:
            given = args[0].detach() if isinstance(args[0], Tensor) else None
            was_right = given is not None and not bool((given.isnan() | (given == torch.inf)).any())
            if was_right and bool(result.detach().isnan().any()):
                rows = int(result.detach().isnan().flatten(0, -2).any(-1).sum()) if result.dim() > 1 else 1
                self.broken.append((f"{rows} rows are masked from end to end, and are NaN", line_in_model()))
        return result


def _functions(given: Mapping[str, Invariant] | Sequence[str]) -> dict[str, Invariant]:
    if isinstance(given, Mapping):
        for name, function in given.items():
            if not callable(function):
                raise ValueError(f"invariant {name!r} is a {type(function).__name__}, and has to be a function")
        return dict(given)
    names = [given] if isinstance(given, str) else list(given)
    if unknown := [name for name in names if name not in built_in.__all__]:
        raise ValueError(f"there is no invariant {unknown[0]!r}: there are {', '.join(built_in.__all__)}")
    return {name: _of_output(getattr(built_in, name)) for name in names}


def _of_output(function: Invariant) -> Invariant:
    def look(output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None:
            raise CheckError("There is no tensor in the output.")
        function(tensor)

    return look


def _asked(name: str, function: Invariant, moment: Moment) -> str | None:
    """What is wrong; None if the invariant holds."""
    try:
        with torch.no_grad():
            answer = function(**_arguments(function, moment)) if _is_named(function) else function(moment)
    except AssertionError as error:
        return str(error) or "it raised an AssertionError"
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"invariant {name!r} raised {type(error).__name__}: {error}") from error
    if isinstance(answer, str):
        return answer or None
    if answer is None or bool(answer):
        return None
    return f"it returned {answer}"


_NAMES: Final = frozenset(field.name for field in fields(Moment))


def _parameters(function: Invariant) -> list[str]:
    try:
        return [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
    except (TypeError, ValueError):
        return []


def _is_named(function: Invariant) -> bool:
    names = _parameters(function)
    if set(names) <= _NAMES:
        return True
    if len(names) == 1:
        return False
    raise CheckError(
        f"An invariant takes {', '.join(names)}; it may take one argument, or some of {', '.join(sorted(_NAMES))}."
    )


def _arguments(function: Invariant, moment: Moment) -> dict[str, Any]:
    return {name: getattr(moment, name) for name in _parameters(function)}


def _hidden(weights: Tensor, padding: Any, mask: Any, heads: int) -> Tensor | None:
    """What must not be seen, in the shape of the weights; None if nothing is masked, or it cannot be told."""
    hidden = torch.zeros(weights.shape, dtype=torch.bool, device=weights.device)
    for value, is_padding in ((padding, True), (mask, False)):
        if not isinstance(value, Tensor):
            continue
        out_of_sight = value if value.dtype == torch.bool else value == -torch.inf
        if is_padding and out_of_sight.dim() == 2:  # (batch, keys)
            out_of_sight = out_of_sight.reshape(len(out_of_sight), *[1] * (weights.dim() - 2), -1)
        elif out_of_sight.dim() == 3 and len(out_of_sight) == heads * len(weights):  # one for each head
            by_head = out_of_sight.reshape(len(weights), heads, *out_of_sight.shape[1:])
            # Averaged weights are zero only where every head is blind.
            out_of_sight = by_head if weights.dim() == 4 else by_head.all(1)
        try:
            hidden |= out_of_sight.expand_as(hidden)
        except RuntimeError:
            return None
    return hidden if bool(hidden.any()) else None


def _defined_at(function: Invariant) -> Location:
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename == __file__:
        return Location()
    return Location(file=code.co_filename, line=code.co_firstlineno)


def _at(site: CallSite | None) -> Location:
    return Location(file=site.file, line=site.line) if site is not None else Location()
