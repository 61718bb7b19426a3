"""A copy of what is to be checked that shares no memory with the caller's, in double precision if wanted.

Modules are deep-copied. Functions are built anew around copies of the modules and tensors that they close over or
find among their globals: `lambda x: F.linear(x, weight)` gets its own `weight`. Sharing survives: tied weights stay
tied, and a module that two functions use is copied once.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn

WIDER: Final = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}

LONGEST: Final = 1000
DEEPEST: Final = 3
"""Items of a container, and objects in objects, that are searched for modules and tensors."""


class Copier:
    """Copies, each object once.

    Attributes:
        modules, tensors: the copies of modules and of tensors that functions refer to, by the variable's name.
        shared: names of modules that cannot be copied; they are used as they are.

    Args:
        widen: turn floating point numbers into float64 and complex numbers into complex128.
    """

    def __init__(self, *, widen: bool = False) -> None:
        self.widen = widen
        self.modules: dict[str, nn.Module] = {}
        self.tensors: dict[str, Tensor] = {}
        self.shared: list[str] = []
        self._memo: dict[int, Any] = {}
        self._kept: list[Any] = []  # ids stay taken as long as the objects live
        self._namespaces: dict[int, dict[str, Any]] = {}
        self._depth = 0

    def copy(self, value: Any, name: str = "") -> Any:
        """A copy of a module, tensor, function, or of a container of these; anything else is passed on."""
        if id(value) in self._memo:
            return self._memo[id(value)]
        made = self._copy(value, name)
        if made is not value:
            self._memo[id(value)] = made
            self._kept.append(value)
        return made

    def _copy(self, value: Any, name: str) -> Any:
        if isinstance(value, nn.Module):
            return self._module(value, name)
        if isinstance(value, Tensor):
            self.tensors[name] = self._tensor(value)
            return self.tensors[name]
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            owner = self.copy(value.__self__, name)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        if isinstance(value, functools.partial):
            function, args = self.copy(value.func, name), self.copy(value.args, name)
            return functools.partial(function, *args, **self.copy(value.keywords, name))
        if type(value) in (list, tuple, dict) and len(value) > LONGEST:
            return value
        if type(value) in (list, tuple):
            items = [self.copy(item, f"{name}[{index}]") for index, item in enumerate(value)]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        if type(value) is dict:
            made = {key: self.copy(item, f"{name}[{key!r}]") for key, item in value.items()}
            return value if all(made[key] is value[key] for key in value) else made
        return self._object(value, name) if _is_plain_object(value) else value

    def _object(self, value: Any, name: str) -> Any:
        """A copy of an object that holds modules or tensors (a trainer, say), or the same one if it holds none."""
        if self._depth == DEEPEST:
            return value
        self._memo[id(value)] = value  # it may refer to itself
        attributes = vars(value)
        self._depth += 1
        try:
            made = {key: self.copy(item, f"{name}.{key}" if name else key) for key, item in attributes.items()}
        finally:
            self._depth -= 1
        changed = {key: item for key, item in made.items() if item is not attributes[key]}
        if not changed:
            return value
        try:
            clone = copy.copy(value)
            clone.__dict__.update(changed)
        except Exception:
            return value
        return clone

    # ------------------------------------------------------------------ tensors and modules

    def _tensor(self, tensor: Tensor) -> Tensor:
        dtype = WIDER.get(tensor.dtype, tensor.dtype) if self.widen else tensor.dtype
        made = tensor.detach().clone().to(dtype)
        if isinstance(tensor, nn.Parameter):
            made = nn.Parameter(made, requires_grad=False)
        return made.requires_grad_(tensor.requires_grad)

    def _module(self, module: nn.Module, name: str) -> nn.Module:
        for child in module.modules():
            # deepcopy refuses tensors that carry a graph; such an attribute was left by an earlier forward.
            for value in vars(child).values():
                if isinstance(value, Tensor) and not value.is_leaf:
                    self._memo.setdefault(id(value), value.detach().clone())
        try:
            made = copy.deepcopy(module, self._memo)
        except Exception:
            self.shared.append(name or type(module).__name__)
            made = module
        else:
            # A copy gets copies of .grad that nobody needs.
            for parameter in made.parameters():
                parameter.grad = None
            if self.widen:
                _widen(made)
        self.modules[name] = made
        return made

    # ------------------------------------------------------------------ functions

    def _function(self, function: FunctionType) -> FunctionType:
        """A function around copies, or the same one if it refers to nothing that has to be copied."""
        self._memo[id(function)] = function  # it may refer to itself
        cells = self._cells(function)
        namespace = self._namespace(function)
        defaults = self.copy(function.__defaults__)
        keywords = self.copy(function.__kwdefaults__)
        unchanged = (
            cells is None
            and namespace is function.__globals__
            and defaults is function.__defaults__
            and keywords is function.__kwdefaults__
        )
        if unchanged:
            return function
        made = FunctionType(function.__code__, namespace, function.__name__, defaults, cells or function.__closure__)
        made.__kwdefaults__ = keywords
        made.__dict__.update(function.__dict__)
        return made

    def _cells(self, function: FunctionType) -> tuple[CellType, ...] | None:
        cells, changed = [], False
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                value = cell.cell_contents
                made = self.copy(value, name)
                if made is not value:
                    cell, changed = CellType(made), True
            cells.append(cell)
        return tuple(cells) if changed else None

    def _namespace(self, function: FunctionType) -> dict[str, Any]:
        """Its globals, with copies of those that it names; one such namespace per module."""
        original = function.__globals__
        for name in _names(function.__code__):
            value = original.get(name)
            if isinstance(value, FunctionType) and value.__globals__ is not original:
                continue  # a library's
            if isinstance(value, nn.Module | Tensor | FunctionType | functools.partial) or _is_plain_object(value):
                made = self.copy(value, name)
                if made is not value:
                    self._namespaces.setdefault(id(original), dict(original))[name] = made
        return self._namespaces.get(id(original), original)


def _is_plain_object(value: Any) -> bool:
    kind = type(value)
    return (
        isinstance(getattr(value, "__dict__", None), dict)
        and not isinstance(value, type | ModuleType | torch.Generator)
        and not kind.__module__.startswith(("torch.", "builtins", "numpy"))
    )


def _names(code: CodeType) -> Iterator[str]:
    """The global names that a function refers to, its inner functions' included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _widen(module: nn.Module) -> None:
    """Turns parameters, buffers and tensors among the attributes into double precision, in place."""

    def wide(tensor: Tensor) -> Tensor:
        return tensor.to(WIDER.get(tensor.dtype, tensor.dtype))

    module._apply(wide)
    for child in module.modules():
        for key, value in list(vars(child).items()):
            if isinstance(value, Tensor) and value.dtype in WIDER:
                vars(child)[key] = wide(value)
            elif type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
                vars(child)[key] = type(value)(wide(v) if isinstance(v, Tensor) else v for v in value)


@contextlib.contextmanager
def wide_constants() -> Iterator[None]:
    """A context in which `torch.zeros(3)` is float64: a widened function makes its constants so."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
