"""From what the caller gives to a problem: copies, named slots, and what cannot be checked."""

from __future__ import annotations

import contextlib
import fnmatch
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import MappingKey, SequenceKey, TreeSpec, tree_flatten_with_path, tree_unflatten

from diagnose.errors import CheckError
from diagnose.gradcheck._problem import Problem, Slot
from diagnose.gradcheck._report import Entry
from diagnose.isolation import Copier, NarrowDraws, State, wide_constants

FULL: Final = (torch.float64, torch.complex128)


@dataclass(frozen=True)
class Subject:
    """What is to be checked, as the caller gave it.

    Attributes:
        target: a module or a function.
        parameters: whether parameters are checked, or patterns of the names of those that are.
    """

    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    loss_fn: Callable[[Any], Any] | None
    parameters: bool | Sequence[str]

    @property
    def name(self) -> str:
        target = self.target
        if (function := _custom_function(target)) is not None:
            return f"{function.__name__}.apply"
        if isinstance(target, nn.Module):
            return type(target).__name__
        if isinstance(target, BuiltinFunctionType):
            return target.__name__
        return str(getattr(target, "__qualname__", None) or type(target).__name__).rpartition("<locals>.")[2]


@dataclass(frozen=True)
class Prepared:
    """A problem of copies, ready to run.

    Attributes:
        skipped: entries of the tensors that cannot be checked.
        modules: the copies of the modules that take part, by the name of the variable that holds them.
        exact: whether all slots are float64.
    """

    problem: Problem
    skipped: tuple[Entry, ...]
    modules: Mapping[str, nn.Module]
    shared: Sequence[str]
    exact: bool


def prepare(subject: Subject, *, widen: bool, seed: int) -> Prepared:
    """A problem made of copies.

    Args:
        widen: in double precision, whatever the precision of the original.

    Raises:
        CheckError: there is no tensor to check, or no parameter of a name that was given.
    """
    copier = Copier(widen=widen)
    target, loss_fn = copier.copy(subject.target, ""), copier.copy(subject.loss_fn, "loss")
    flat, spec = tree_flatten_with_path((tuple(subject.args), dict(subject.kwargs)))
    names = _input_names(subject, [path for path, _ in flat])

    slots, skipped = _parameter_slots(copier, target, subject.parameters)
    any_wanted = any(isinstance(value, Tensor) and value.requires_grad for _, value in flat)
    values: list[Any] = []
    inputs: list[Slot] = []
    memo: dict[int, Tensor] = {}
    for name, (_, value) in zip(names, flat, strict=True):
        if not isinstance(value, Tensor):
            values.append(value)
            continue
        if id(value) in memo:
            values.append(memo[id(value)])
            continue
        why = _why_not(value, wanted=value.requires_grad or not any_wanted)
        leaf = memo[id(value)] = _input_copy(value, widen=widen, requires_grad=why is None)
        values.append(leaf)
        if why is None:
            inputs.append(Slot(name, "input", leaf))
        else:
            skipped.append(_skipped(name, "input", value, why))

    state = State(copier.modules.values(), copier.tensors.values(), seed=seed)
    slots = [*inputs, *slots]
    run = _runner(target, loss_fn, values, spec, drawing=_narrowest(subject, flat) if widen else None)
    if not slots:
        raise CheckError(
            f"{subject.name} has no tensor whose gradient could be checked: pass floating point inputs, or a module "
            "with parameters that require gradients."
        )
    exact = all(slot.leaf.dtype in FULL for slot in slots)
    return Prepared(Problem(run, slots, state), tuple(skipped), copier.modules, copier.shared, exact)


def _runner(
    target: Callable[..., Any],
    loss_fn: Callable[[Any], Any] | None,
    values: Sequence[Any],
    spec: TreeSpec,
    *,
    drawing: torch.dtype | None,
) -> Callable[[], Any]:
    """What one run does. `drawing`: of a widened copy, the precision in which its original draws random numbers."""

    def run() -> Any:
        # A clone of each: what works in place on its inputs does so in training on activations, never on leaves.
        args, kwargs = tree_unflatten([v.clone() if isinstance(v, Tensor) else v for v in values], spec)
        with contextlib.ExitStack() as stack:
            if drawing is not None:
                stack.enter_context(wide_constants())
                stack.enter_context(NarrowDraws(drawing))
            output = target(*args, **kwargs)
            return output if loss_fn is None else loss_fn(output)

    return run


def _narrowest(subject: Subject, flat: Sequence[tuple[Any, Any]]) -> torch.dtype:
    """The lowest precision of the original's parameters and inputs."""
    tensors = [value for _, value in flat if isinstance(value, Tensor)]
    if isinstance(subject.target, nn.Module):
        tensors += subject.target.parameters()
    kinds = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return min(kinds, key=lambda kind: torch.finfo(kind).bits, default=torch.float32)


def _parameter_slots(copier: Copier, target: Any, wanted: bool | Sequence[str]) -> tuple[list[Slot], list[Entry]]:
    slots: list[Slot] = []
    skipped: list[Entry] = []
    patterns = ["*"] if isinstance(wanted, bool) else list(wanted)
    used: set[str] = set()
    if wanted is False:
        return [], []
    for name, parameter in _named_tensors(copier, target):
        matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
        used.update(matching)
        if not matching:
            continue
        if is_lazy(parameter):
            raise CheckError(f"The parameter {name} has no shape yet: run the module once before it is checked.")
        why = _why_not(parameter, wanted=parameter.requires_grad)
        if why is None:
            slots.append(Slot(name, "parameter", parameter))
        else:
            skipped.append(_skipped(name, "parameter", parameter, why))
    if not isinstance(wanted, bool) and (unknown := [pattern for pattern in patterns if pattern not in used]):
        known = ", ".join(name for name, _ in _named_tensors(copier, target)) or "none"
        raise CheckError(f"There is no parameter {unknown[0]!r}. There are: {known}")
    return slots, skipped


def _named_tensors(copier: Copier, target: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters of all modules, and tensors that require gradients and that functions refer to, each once."""
    seen: set[int] = set()
    found: list[tuple[str, Tensor]] = [
        (name if module is target else f"{prefix}.{name}", parameter)
        for prefix, module in copier.modules.items()
        for name, parameter in module.named_parameters()
    ]
    found += [(name, tensor) for name, tensor in copier.tensors.items() if tensor.requires_grad]
    for name, tensor in found:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor


def _why_not(tensor: Tensor, *, wanted: bool) -> str | None:
    """Why the gradient of a tensor is not checked, or None."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return f"{_dtype(tensor)} has no gradient"
    if not wanted:
        return "it does not require a gradient"
    if tensor.layout != torch.strided:
        return f"its layout is {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_meta:
        return "it is on the meta device"
    if tensor.numel() == 0:
        return "it has no elements"
    return None


def _skipped(name: str, kind: Any, tensor: Tensor, why: str) -> Entry:
    total = tensor.numel() * (2 if tensor.is_complex() else 1)
    return Entry(name, kind, tuple(tensor.shape), _dtype(tensor), "not-checkable", total, reason=why)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _input_copy(tensor: Tensor, *, widen: bool, requires_grad: bool) -> Tensor:
    """A leaf of its own memory: dense ones keep their strides, expanded ones become contiguous."""
    made = tensor.detach()
    if made.layout == torch.strided:
        made = made.resolve_conj().resolve_neg()
    made = made.clone()
    if widen and (made.is_floating_point() or made.is_complex()):
        made = made.to(torch.complex128 if made.is_complex() else torch.float64)
    return made.requires_grad_(requires_grad)


def _input_names(subject: Subject, paths: Sequence[Any]) -> list[str]:
    """Names as in the signature: `x`, `batch['mask']`, `states[1]`."""
    target = subject.target
    try:
        signature = _signature(target)
        by_position = _positional_names(signature, len(subject.args))
    except (TypeError, ValueError):  # functions written in C
        by_position = [f"input[{number}]" for number in range(len(subject.args))]
    names = []
    for path in paths:
        side, first, *rest = path
        name = by_position[first.idx] if side.idx == 0 else str(first.key)
        for key in rest:
            inner = key.idx if isinstance(key, SequenceKey) else key.key if isinstance(key, MappingKey) else key
            name += f"[{inner!r}]" if isinstance(key, SequenceKey | MappingKey) else str(key)
        names.append(name)
    return names


def _custom_function(target: Any) -> type[torch.autograd.Function] | None:
    """The autograd.Function whose `apply` this is."""
    owner = getattr(target, "__self__", None)
    return owner if isinstance(owner, type) and issubclass(owner, torch.autograd.Function) else None


def _signature(target: Callable[..., Any]) -> inspect.Signature:
    if (function := _custom_function(target)) is not None:
        signature = inspect.signature(function.forward)
        new_style = function.setup_context is not torch.autograd.Function.setup_context
        parameters = list(signature.parameters.values())
        return signature.replace(parameters=parameters if new_style else parameters[1:])  # without ctx
    return inspect.signature(target.forward if isinstance(target, nn.Module) else target)


def _positional_names(signature: inspect.Signature, count: int) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{number}]" for number in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    names += [f"input[{number}]" for number in range(len(names), count)]
    return names[:count]
