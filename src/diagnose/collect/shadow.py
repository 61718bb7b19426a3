"""A compiled model's activations, from a second, eager forward that nothing in the run can notice.

Compiled code rounds differently from eager code and draws dropout differently, so a training step is never run
eagerly behind the user's back. On a sampled step the step's inputs go through the model once more: eagerly,
without gradients of the user's, on cloned inputs and cloned buffers, with the user's hooks suspended, and with
every random state put back. A model whose forward changes its own attributes is put right and never
shadowed again; one that communicates with other processes is never shadowed at all.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from diagnose.collect import _board
from diagnose.collect.forward import ForwardTap

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def shadow_forward(model: nn.Module, args: Any, kwargs: Any, tap: ForwardTap) -> str | None:
    """Runs `model` once, unnoticed, under `tap`.

    Returns:
        None, or the reason for which this model was not seen and is not to be tried again.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "its forward may communicate with other processes"
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return "it holds scripted modules"
    before = _attributes(model)
    try:
        with (
            _board.eager_only(),
            _random_states(model),
            _hooks_suspended(model),
            torch.compiler.set_stance("force_eager"),
            torch.no_grad(),
        ):
            inputs = tree_map_only(Tensor, torch.clone, (args, kwargs))
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            tap.install(shadow=True)
            try:
                functional_call(model, buffers, *inputs)
            finally:
                tap.remove()
    except Exception as error:
        _restore(before)
        return f"a second, eager forward raised {type(error).__name__}: {error}"
    if changed := _restore(before):
        return f"its forward changes its attribute {changed}"
    return None


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


_Snapshot = list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]
_OURS = frozenset({"_parameters", "_buffers", "_modules", *_HOOKS})


def _attributes(model: nn.Module) -> _Snapshot:
    """For each module its attributes, and shallow copies of those that are containers."""
    snapshot: _Snapshot = []
    for module in model.modules():
        values = {key: value for key, value in vars(module).items() if key not in _OURS}
        copies: dict[str, Any] = {k: v.copy() for k, v in values.items() if isinstance(v, list | dict | set)}
        copies |= {k: v.detach().clone() for k, v in values.items() if isinstance(v, Tensor)}
        snapshot.append((module, values, copies))
    return snapshot


def _restore(snapshot: _Snapshot) -> str | None:
    """Puts attributes back; returns the name of one that had changed."""
    changed: str | None = None
    for module, values, copies in snapshot:
        now = {key: value for key, value in vars(module).items() if key not in _OURS}
        for key in now.keys() - values.keys():
            del module.__dict__[key]
            changed = key
        for key, value in values.items():
            if now.get(key) is not value:
                module.__dict__[key] = value
                changed = key
            copy = copies.get(key)
            if isinstance(copy, Tensor):
                if not torch.equal(copy, value):
                    with torch.no_grad():
                        value.copy_(copy)
                    changed = key
            elif copy is not None and not _same(value, copy):
                value.clear()
                value.extend(copy) if isinstance(value, list) else value.update(copy)
                changed = key
    return changed


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
