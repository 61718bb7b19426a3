"""Runs a user's model once more in a way that nothing in the run can notice.

For a shadow forward (shadow.py) and for probes (probes.py): without gradients of the user's, eagerly, on cloned
inputs and cloned buffers, with the user's hooks suspended, what it prints swallowed, and every random state put back.
A forward that changes attributes of its own is put right afterwards, and reported, so that it is never run again.
What cannot be put right (files, global variables) is looked for in the code of the model beforehand.
"""

from __future__ import annotations

import contextlib
import dis
import io
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import CodeType, FunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from diagnose.collect import _board

_HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LASTING_OPCODES: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF"})
_LASTING_CALLS: Final = frozenset(
    {
        "open",
        "write",
        "writelines",
        "add_scalar",
        "add_histogram",
        "add_image",
        "savefig",
        "save",
        "dump",
        "put",
        "send",
    }
)


def run_unnoticed(
    model: nn.Module,
    args: Any,
    kwargs: Any,
    *,
    watched_by: AbstractContextManager[Any] | None = None,
    evaluating: bool = False,
) -> tuple[Any, str | None]:
    """Runs `model` once.

    Args:
        watched_by: a context to run it in.
        evaluating: run it in evaluation mode, whatever mode it is in.

    Returns:
        Its output, and None; or None, and the reason for which this model is not to be run again.
    """
    if reason := refusal(model):
        return None, reason
    before = attributes_of(model)
    try:
        with (
            out_of_sight(model),
            _evaluation_mode(model) if evaluating else contextlib.nullcontext(),
            torch.no_grad(),
        ):
            inputs = tree_map_only(Tensor, torch.clone, (args, kwargs))
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            with watched_by or contextlib.nullcontext():
                output = functional_call(model, buffers, *inputs)
    except Exception as error:
        restore(before)
        return None, f"a second, eager forward raised {type(error).__name__}: {error}"
    if changed := restore(before):
        return None, f"its forward changes its attribute {changed}"
    return output, None


def refusal(model: nn.Module) -> str | None:
    """Why this model is not to be run once more; None if it may be."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "its forward may communicate with other processes"
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return "it holds scripted modules"
    if lasting := lasting_effect(model):
        return f"its forward may leave something behind: {lasting}"
    return None


@contextlib.contextmanager
def out_of_sight(model: nn.Module) -> Iterator[None]:
    """Within it `model` may run, eagerly: random states come back, its hooks are not called, what it prints is lost."""
    with (
        _board.eager_only(),
        _random_states(model),
        _hooks_suspended(model),
        contextlib.redirect_stdout(io.StringIO()),
        torch.compiler.set_stance("force_eager"),
    ):
        yield


def lasting_effect(model: nn.Module) -> str | None:
    """What in the user's own forward code may have effects that outlive it; None if nothing is seen."""
    for kind in {type(module) for module in model.modules()}:
        for method in _forward_methods(kind):
            found = _lasting_code(method.__code__)
            if found:
                return f"{kind.__name__}.{method.__name__} uses {found}"
    return None


def _forward_methods(kind: type) -> list[FunctionType]:
    """`forward` and the methods of the same class that it reaches by name; none for torch's own classes."""
    reached: dict[str, FunctionType] = {}
    names = ["forward"]
    while names:
        name = names.pop()
        method = getattr(kind, name, None)
        if name in reached or not isinstance(method, FunctionType) or method.__module__.startswith("torch."):
            continue
        reached[name] = method
        names.extend(method.__code__.co_names)
    return list(reached.values())


def _lasting_code(code: CodeType) -> str | None:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LASTING_OPCODES and instruction.argval in (*code.co_freevars, *code.co_names):
            return f"the outer variable {instruction.argval}"
    return next((name for name in code.co_names if name in _LASTING_CALLS), None)


@contextlib.contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    # Not `model.eval()`: users override it, and it is listened to.
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.__dict__["training"] = False
        yield
    finally:
        for module in training:
            module.__dict__["training"] = True


@contextlib.contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    """Puts back every random state that the forward can reach: torch, Python, NumPy, generators."""
    generators = [
        value for module in model.modules() for value in vars(module).values() if isinstance(value, torch.Generator)
    ]
    states = [generator.get_state() for generator in generators]
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy is not None else None
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


@contextlib.contextmanager
def _hooks_suspended(model: nn.Module) -> Iterator[None]:
    """The user's hooks count, log and change things: they run once per training step, not twice."""
    suspended: list[tuple[nn.Module, str, Any]] = []
    try:
        for module in model.modules():
            for attribute in _HOOKS:
                hooks = module.__dict__.get(attribute)
                if hooks:
                    suspended.append((module, attribute, hooks))
                    module.__dict__[attribute] = type(hooks)()
        yield
    finally:
        for module, attribute, hooks in suspended:
            module.__dict__[attribute] = hooks


class Snapshot:
    """Attributes of an object, and shallow copies of those that are containers or tensors."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder
        self.values = _own(holder)
        self.copies: dict[str, Any] = {k: v.copy() for k, v in self.values.items() if isinstance(v, list | dict | set)}
        self.copies |= {k: v.detach().clone() for k, v in self.values.items() if isinstance(v, Tensor)}

    def restore(self) -> str | None:
        """Puts the attributes back; returns the name of one that had changed."""
        changed: str | None = None
        now, namespace = _own(self.holder), vars(self.holder)
        for key in now.keys() - self.values.keys():
            del namespace[key]
            changed = changed or key
        for key, value in self.values.items():
            if now.get(key) is not value:
                namespace[key] = value
                changed = changed or (key if key not in _FOLLOWS_WEIGHTS else None)
            copy = self.copies.get(key)
            if isinstance(copy, Tensor):
                if not torch.equal(copy, value):
                    with torch.no_grad():
                        value.copy_(copy)
                    changed = changed or key
            elif copy is not None and not _same(value, copy):
                value.clear()
                value.extend(copy) if isinstance(value, list) else value.update(copy)
                changed = changed or key
        return changed


_KEPT_ELSEWHERE: Final = frozenset({"_parameters", "_buffers", "_modules", *_HOOKS})
_FOLLOWS_WEIGHTS: Final = frozenset({"_flat_weights", "_flat_weight_refs"})
"""Of torch's recurrent layers: put right like all others, and no sign of a forward that changes things."""


def _own(holder: Any) -> Mapping[str, Any]:
    return {key: value for key, value in vars(holder).items() if key not in _KEPT_ELSEWHERE}


def attributes_of(model: nn.Module) -> list[Snapshot]:
    """The modules' own attributes, and those of the plain objects that they hold (a configuration, a counter)."""
    holders: dict[int, Any] = {id(module): module for module in model.modules()}
    for module in tuple(holders.values()):
        for value in _own(module).values():
            if _is_plain_object(value):
                holders.setdefault(id(value), value)
    return [Snapshot(holder) for holder in holders.values()]


def _is_plain_object(value: Any) -> bool:
    return (
        not isinstance(value, nn.Module | Tensor | type | FunctionType)
        and isinstance(getattr(value, "__dict__", None), dict)
        and not type(value).__module__.startswith(("torch.", "builtins"))
    )


def restore(snapshots: list[Snapshot]) -> str | None:
    """Puts all attributes back; returns the name of one that had changed."""
    changed = [snapshot.restore() for snapshot in snapshots]
    return next((name for name in changed if name is not None), None)


def _same(value: Any, copy: Any) -> bool:
    """Equal item by item, by identity: comparing tensors with == would give tensors."""
    if len(value) != len(copy):
        return False
    if isinstance(value, set):
        return bool(value == copy)
    pairs = zip(value.items(), copy.items(), strict=True) if isinstance(value, dict) else zip(value, copy, strict=True)
    return all(
        (a is b) or (isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0] and a[1] is b[1]) for a, b in pairs
    )
