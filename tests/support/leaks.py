"""What a watch must leave as it found it: hooks, modes, patched functions, signal handlers.

`take()` before, `left_behind(before)` after: one line for each trace; `put_back(before)` removes them, so
that one leak is the failure of one test. conftest.py does it around every test.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Traces:
    """The state at one moment; `hooks`, `attributes` and `modes` are of torch, if it is imported."""

    handlers: dict[signal.Signals, Any]
    callbacks: list[Any]
    hooks: dict[str, dict[Any, Any]] = field(default_factory=dict)
    attributes: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)


def take() -> Traces:
    """The state now. Does not import torch."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    torch = _torch()
    if torch is None:
        return Traces(handlers, _our_callbacks())
    return Traces(
        handlers,
        _our_callbacks(),
        hooks={name: dict(registry) for name, registry in _registries(torch)},
        attributes=[(owner, dict(vars(owner))) for owner in _owners(torch)],
        modes={name: length() for name, (length, _) in _stacks(torch).items()},
    )


def left_behind(before: Traces) -> list[str]:
    """What differs from `before`, one line each; empty if nothing does."""
    found = [
        f"handler of {number.name}: {signal.getsignal(number)!r}"
        for number, handler in before.handlers.items()
        if signal.getsignal(number) is not handler
    ]
    found += [f"callback: {callback!r}" for callback in _our_callbacks() if callback not in before.callbacks]
    torch = _torch()
    if torch is None or not before.hooks:
        return found
    for name, registry in _registries(torch):
        found += [f"{name}: {hook!r}" for key, hook in registry.items() if key not in before.hooks[name]]
    for owner, name, _, value in _patched(before, torch):
        found.append(f"{owner.__name__}.{name} is now {value!r}")
    for name, (length, _) in _stacks(torch).items():
        if length() != before.modes[name]:
            found.append(f"{length() - before.modes[name]:+d} {name} modes")
    return found


def put_back(before: Traces) -> None:
    """Undoes what `left_behind` tells."""
    for number, handler in before.handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    for callbacks in _callback_lists():
        callbacks[:] = [c for c in callbacks if not _is_ours(c) or c in before.callbacks]
    torch = _torch()
    if torch is None or not before.hooks:
        return
    for name, registry in _registries(torch):
        for key in [key for key in registry if key not in before.hooks[name]]:
            del registry[key]
    for owner, name, original, _ in list(_patched(before, torch)):
        setattr(owner, name, original)
    for name, (length, pop) in _stacks(torch).items():
        while length() > before.modes[name]:
            pop()


def _torch() -> ModuleType | None:
    torch = sys.modules.get("torch")
    # Half imported: by a test that stopped in the middle of it.
    return torch if hasattr(torch, "compiler") and hasattr(torch, "optim") else None


def _callback_lists() -> list[list[Any]]:
    """Lists in which a program leaves what is to be called: on imports, when dynamo compiles."""
    lists = [sys.meta_path]
    if "torch._dynamo.callback" in sys.modules:
        handler = sys.modules["torch._dynamo.callback"].callback_handler
        lists += [handler.start_callbacks, handler.end_callbacks]
    return lists


def _our_callbacks() -> list[Any]:
    return [callback for callbacks in _callback_lists() for callback in callbacks if _is_ours(callback)]


def _is_ours(callback: Any) -> bool:
    # Those of others (six, setuptools) come with imports that a test makes, and are nobody's leak.
    definition = callback if hasattr(callback, "__code__") else type(callback)
    return str(definition.__module__).partition(".")[0] == "diagnose"


def _registries(torch: ModuleType) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The dictionaries of hooks that concern every module and every optimizer."""
    # torch.optim deletes the name of its submodule `optimizer`.
    for module in (torch.nn.modules.module, sys.modules["torch.optim.optimizer"]):
        for name, value in vars(module).items():
            if name.startswith("_global_") and isinstance(value, dict):
                yield f"{module.__name__}.{name}", value


def _owners(torch: ModuleType) -> list[Any]:
    """The modules and classes whose functions a watch might be tempted to replace."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return [
        *([dynamo.OptimizedModule] if dynamo else []),
        torch,
        torch.Tensor,
        torch.amp.GradScaler,
        torch.autograd,
        torch.autograd.graph,
        torch.compiler,
        torch.nn.Module,
        torch.nn.functional,
        torch.nn.utils,
        torch.nn.utils.clip_grad,
        torch.optim.Optimizer,
        torch.utils.data.DataLoader,
    ]


def _stacks(torch: ModuleType) -> dict[str, tuple[Callable[[], int], Callable[[], Any]]]:
    return {
        "function": (torch._C._len_torch_function_stack, torch._C._pop_torch_function_stack),
        "dispatch": (torch._C._len_torch_dispatch_stack, torch._C._pop_torch_dispatch_stack),
    }


def _patched(before: Traces, torch: ModuleType) -> Iterator[tuple[Any, str, Any, Any]]:
    """(owner, name, original, replacement) of every function replaced by one from outside of torch.

    Torch replaces some of its own: importing torch._dynamo wraps torch.manual_seed and Module.__init__.
    """
    home = str(Path(torch.__file__).parent)
    for owner, attributes in before.attributes:
        for name, original in attributes.items():
            value = vars(owner).get(name)
            if value is not original and callable(original) and not _source(value).startswith(home):
                yield owner, name, original, value


def _source(value: Any) -> str:
    """The file of a function, seen through staticmethod and the like; "" if it has none."""
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    return code.co_filename if code else ""
