"""Who is who: the models, optimizers and parameters of a run, and their names.

Everything is held weakly: a watch must not keep a model alive that its user has dropped. Where the user has
not said what to watch, models are found by their forward passes and optimizers by their steps, and names are
taken from the user's own variables.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect.callsite import user_frame

_WRAPPERS: Final = ("_orig_mod", "module")
_FRAMES_SEARCHED: Final = 8


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's module inside torch.compile's, DataParallel's or DDP's wrapper."""
    for _ in range(4):
        for attribute in _WRAPPERS:
            inner = module._modules.get(attribute)
            if inner is not None and len(module._modules) == 1 and not module._parameters:
                module = inner
                break
        else:
            break
    return module


class Known:
    """A weakly held object with its name."""

    __slots__ = ("name", "reference")

    def __init__(self, thing: Any, name: str) -> None:
        self.reference: weakref.ref[Any] = weakref.ref(thing)
        self.name = name


class Inventory:
    """Names of models, modules, parameters and optimizers.

    Args:
        models: the models to watch, by name; empty to discover them.
        optimizers: the optimizers to watch; empty to discover them.
    """

    def __init__(self, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> None:
        self.discovers_models = not models
        self.discovers_optimizers = not optimizers
        self._models: list[Known] = []
        self._optimizers: dict[int, Known] = {}
        self._parameters: dict[int, Known] = {}
        self._modules: dict[int, Known] = {}
        self._owners: dict[str, tuple[str, str]] = {}
        for name, model in models.items():
            self._models.append(Known(unwrapped(model), name))
        for optimizer in optimizers:
            self._add_optimizer(optimizer)
        self.refresh()

    # -- what is known ------------------------------------------------------------------------------

    def models(self) -> Iterator[tuple[str, nn.Module]]:
        """The live models, by name."""
        for known in self._models:
            model = known.reference()
            if model is not None:
                yield known.name, model

    def optimizers(self) -> Iterator[tuple[str, Optimizer]]:
        """The live optimizers, by name."""
        for known in tuple(self._optimizers.values()):
            optimizer = known.reference()
            if optimizer is not None:
                yield known.name, optimizer

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every live parameter of the models and the optimizers, by name, each once."""
        for known in tuple(self._parameters.values()):
            parameter = known.reference()
            if parameter is not None:
                yield known.name, parameter

    def optimizer_name(self, optimizer: Optimizer) -> str | None:
        """The name of a watched optimizer, None for one that is not watched; adds it if discovering."""
        known = self._optimizers.get(id(optimizer))
        if known is not None and known.reference() is optimizer:
            return known.name
        if not self.discovers_optimizers:
            return None
        name = self._add_optimizer(optimizer)
        self.refresh()
        return name

    def parameter_name(self, parameter: Tensor) -> str | None:
        """The name of a known parameter, else None."""
        known = self._parameters.get(id(parameter))
        return known.name if known is not None and known.reference() is parameter else None

    def module_name(self, module: nn.Module) -> str | None:
        """The qualified name of a module of a known model, else None."""
        known = self._modules.get(id(module))
        return known.name if known is not None and known.reference() is module else None

    def owner(self, parameter_name: str) -> tuple[str, str]:
        """Qualified name and class name of the module that owns a parameter; ("", "") if none is known."""
        return self._owners.get(parameter_name, ("", ""))

    # -- discovery ----------------------------------------------------------------------------------

    def saw_forward(self, root: nn.Module) -> None:
        """A module was called from outside of any module. A new one with parameters is a model."""
        if self.module_name(root) is not None or not self.discovers_models:
            return
        root = unwrapped(root)
        if self.module_name(root) is not None or next(root.parameters(), None) is None:
            return
        holder, name = _outermost_holder(root)
        inside = set(map(id, holder.modules()))
        # A model that turns out to be part of the new one gives way to it.
        self._models = [known for known in self._models if id(known.reference()) not in inside]
        self._models.append(Known(holder, self._unused_name(name or type(holder).__name__)))
        self.refresh()

    def refresh(self) -> None:
        """Names parameters and modules anew: models change while they train (a head is replaced)."""
        parameters: dict[int, Known] = {}
        modules: dict[int, Known] = {}
        owners: dict[str, tuple[str, str]] = {}
        self._models = [known for known in self._models if known.reference() is not None]
        several = len(self._models) > 1
        for model_name, model in self.models():
            prefix = f"{model_name}." if several else ""
            for module_name, module in model.named_modules():
                if id(module) in modules:
                    continue
                full_name = (prefix + module_name).rstrip(".")
                modules[id(module)] = Known(module, full_name)
                for own_name, parameter in module._parameters.items():
                    if parameter is None or id(parameter) in parameters:
                        continue
                    name = f"{full_name}.{own_name}" if full_name else own_name
                    parameters[id(parameter)] = Known(parameter, name)
                    owners[name] = (full_name, type(module).__name__)
        for optimizer_name, optimizer in self.optimizers():
            for group_index, group in enumerate(optimizer.param_groups):
                for index, parameter in enumerate(group["params"]):
                    if id(parameter) not in parameters:
                        known = self._parameters.get(id(parameter))
                        if known is None or known.reference() is not parameter or known.name in owners:
                            variable = _variable_name(parameter)
                            name = variable or f"{optimizer_name}/{group_index}.{index}"
                            known = Known(parameter, name)
                        parameters[id(parameter)] = known
        self._parameters, self._modules, self._owners = parameters, modules, owners

    def stale(self) -> bool:
        """Whether an optimizer holds a parameter, or a model a module, that has no name yet."""
        held = (p for _, optimizer in self.optimizers() for group in optimizer.param_groups for p in group["params"])
        owned = (p for _, model in self.models() for p in model.parameters())
        return any(self.parameter_name(p) is None for p in (*held, *owned))

    def _add_optimizer(self, optimizer: Optimizer) -> str:
        taken = {known.name for known in self._optimizers.values()}
        name = variable = _variable_name(optimizer) or type(optimizer).__name__
        number = 2
        while name in taken:
            name, number = f"{variable}#{number}", number + 1
        self._optimizers[id(optimizer)] = Known(optimizer, name)
        return name

    def _unused_name(self, name: str) -> str:
        taken = {known.name for known in self._models}
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}#{number}", number + 1
        return candidate


def _outermost_holder(root: nn.Module) -> tuple[nn.Module, str]:
    """The largest module among the user's variables that contains `root`, and the variable's name.

    A loop that calls `model.encoder(x)` and `model.decoder(z)` trains one model, not two.
    """
    best, best_name, best_size = root, "", 0
    for name, value in _user_variables():
        if isinstance(value, nn.Module):
            value = unwrapped(value)
            modules = list(value.modules())
            if len(modules) > best_size and any(module is root for module in modules):
                best, best_name, best_size = value, name, len(modules)
    return best, best_name


def _variable_name(thing: object) -> str:
    return next((name for name, value in _user_variables() if value is thing), "")


def _user_variables() -> Iterator[tuple[str, Any]]:
    """Local and global variables of the user's frames, innermost first, and attributes of their `self`."""
    frame: FrameType | None = user_frame()
    for _ in range(_FRAMES_SEARCHED):
        if frame is None:
            return
        variables = _locals_of(frame)
        yield from ((name, value) for name, value in variables.items() if name not in ("self", "cls"))
        holder = variables.get("self")
        if holder is not None and not isinstance(holder, nn.Module | Optimizer):
            yield from vars(holder).items() if hasattr(holder, "__dict__") else ()
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            yield from list(frame.f_globals.items())
        frame = frame.f_back


def _locals_of(frame: FrameType) -> dict[str, Any]:
    """A copy of the frame's local variables that leaves no reference behind."""
    namespace = frame.f_locals
    copy = dict(namespace)
    # Before 3.13, reading f_locals of a function makes a snapshot that lives as long as the frame, and
    # would keep alive what the user deletes. Emptying the snapshot does not touch the variables.
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        namespace.clear()
    return copy


def dense_gradient(parameter: Tensor) -> Tensor | None:
    """The gradient of a parameter as a dense tensor of its non-zero part; None if there is none."""
    gradient = parameter.grad
    if gradient is None:
        return None
    if gradient.is_sparse:
        return gradient.coalesce().values()
    if gradient.layout is not torch.strided:
        return None
    return gradient
