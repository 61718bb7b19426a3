"""Which module, and which custom function, has the wrong backward.

A wrong backward spoils the gradients of everything before it, so the tensors that are wrong do not tell where it is.
Each module is checked alone, on the inputs that it got, with upstream gradients of its own, in the order in which
they finish: inner ones first. The first that is wrong is the one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from diagnose.errors import CheckError
from diagnose.gradcheck._custom import Source, source_of
from diagnose.gradcheck._judge import Judgement, Plan, judge
from diagnose.gradcheck._prepare import Prepared, Subject, prepare
from diagnose.gradcheck._report import Suspect

SECONDS: Final = 20.0


def suspect_of(prepared: Prepared, judgement: Judgement, plan: Plan) -> Suspect | None:
    """Where the wrong backward is; None if nothing can be told."""
    if judgement.not_linear:
        found = judgement.not_linear[0]
        return Suspect(functions=(found.source,), why=found.why)
    deadline = time.monotonic() + SECONDS
    for name, module, args, kwargs in _by_suspicion(_calls(prepared)):
        if time.monotonic() > deadline:
            break
        functions = _wrong_alone(module, args, kwargs, plan)
        if functions is not None:
            return Suspect(name, source_of(type(module)), functions)
    if judgement.functions:
        return Suspect(functions=judgement.functions)
    return None


Call = tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]


def _calls(prepared: Prepared) -> list[Call]:
    """The first call of each module with copies of its inputs, in the order in which they return."""
    calls: list[Call] = []
    seen: set[nn.Module] = set()
    names = {
        module: ".".join(filter(None, (prefix, name)))
        for prefix, root in prepared.modules.items()
        for name, module in root.named_modules()
    }
    inputs: dict[nn.Module, tuple[Any, Any]] = {}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        if module not in inputs:
            inputs[module] = tree_map_only(Tensor, lambda t: t.detach().clone(), (args, kwargs))

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module in inputs and module not in seen:
            seen.add(module)
            calls.append((names[module], module, *inputs[module]))

    handles = []
    for module in names:
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        prepared.problem.outputs()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _by_suspicion(calls: list[Call]) -> Iterator[Call]:
    """Modules that somebody wrote for this model, then those of torch itself, each in order."""
    for own in (True, False):
        yield from (call for call in calls if own != type(call[1]).__module__.startswith("torch."))


def _wrong_alone(module: nn.Module, args: Any, kwargs: Any, plan: Plan) -> tuple[Source, ...] | None:
    """The custom functions of a module whose own backward is wrong; None if it is right, or cannot be told."""
    subject = Subject(module, args, kwargs, None, True)
    try:
        prepared = prepare(subject, widen=False, seed=plan.seed)
        with prepared.problem.state:
            judgement = judge(prepared.problem, replace(plan, mode="screen", told=lambda done, total: None))
    except (CheckError, RuntimeError, TypeError, ValueError, torch.cuda.OutOfMemoryError):
        return None
    return judgement.functions if any(e.verdict == "fault" for e in judgement.entries) else None
