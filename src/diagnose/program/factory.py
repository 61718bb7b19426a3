"""FACTORY: a function of the user's that makes what a command is to look at. `MODULE:NAME` or `FILE.py:NAME`.

It takes no arguments and returns one of

    module                         the command makes up inputs, if it can
    (module, inputs)               or (function, inputs)
    (module, inputs, loss_fn)      loss_fn is given what the module returns
    (module, inputs, loss_fn, targets)     loss_fn is given what the module returns, and the targets
    (module, data)                 for commands that look at whole data sets
    (module, data, loss_fn)        the same; loss_fn is given what the module returns, and the targets

`inputs` is a tensor, a list or tuple of positional arguments, or a dict of keyword arguments; `data` is a Dataset or a
DataLoader of torch. Every command that takes a FACTORY takes it so, and says if it needs the one or the other. Not
imported by `diagnose.program` itself: a program that is run needs none of it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from diagnose.errors import FactoryError

_SHAPES: Final = (
    "a module, (module, inputs), (function, inputs), (module, inputs, loss_fn) or (module, inputs, loss_fn, targets); "
    "for commands that look at whole data sets (module, data) or (module, data, loss_fn)"
)


@dataclass(frozen=True)
class Made:
    """What a factory has returned, taken apart.

    Attributes:
        target: a module or a function.
        inputs: None if the factory made none; else positional arguments as a tuple, or keyword arguments as a dict.
        loss_fn: None if the factory gave none. It is given the output, and the targets if there are any.
        targets: None if the factory gave none.
        data: a Dataset or a DataLoader that stood in the place of the inputs, which are None then; else None.
    """

    target: Callable[..., Any]
    inputs: tuple[Any, ...] | dict[str, Any] | None
    loss_fn: Callable[..., Any] | None
    targets: Any = None
    data: Any = None

    @property
    def loss_of_output(self) -> Callable[[Any], Any] | None:
        """The loss function with the targets put in: of the output alone."""
        loss_fn, targets = self.loss_fn, self.targets
        if loss_fn is None or targets is None:
            return loss_fn
        return lambda output: loss_fn(output, targets)


def make(factory: str) -> Made:
    """Loads the FACTORY and calls it.

    Raises:
        FactoryError: it cannot be found, cannot be called, raises, or returns something else.
    """
    function = load(factory)
    try:
        result = function()
    except Exception as error:
        raise FactoryError(f"{factory} raised {type(error).__name__}: {error}") from error
    return taken_apart(result, factory)


def load(factory: str) -> Callable[[], Any]:
    """The function that FACTORY names.

    A FILE is imported under its own name with its folder in front of `sys.path`, as when Python runs it, except that
    `__name__` is not "__main__"; a MODULE is looked for in the current folder first, as by `python -m`.

    Raises:
        FactoryError: it names no file, no module, nothing in it, or something that cannot be called.
    """
    place, colon, name = factory.rpartition(":")
    if not colon or not place or not name:
        raise FactoryError(f"{factory!r} is no FACTORY: write MODULE:NAME or FILE.py:NAME, as in train.py:make_model")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            found = difflib.get_close_matches(part, [n for n in dir(value) if not n.startswith("__")], n=1)
            hint = f" Did you mean {found[0]!r}?" if found else ""
            raise FactoryError(f"{place} has no {name!r}.{hint}") from None
    if not callable(value):
        raise FactoryError(f"{factory} is {_a(value)}, not a function without arguments that returns {_SHAPES}.")
    function: Callable[[], Any] = value
    return function


def taken_apart(result: Any, factory: str) -> Made:
    """The parts of what a factory has returned.

    Raises:
        FactoryError: it is nothing of what a factory may return.
    """
    target, inputs, loss_fn, targets = result, None, None, None
    if isinstance(result, tuple):
        if len(result) not in (2, 3, 4):
            raise FactoryError(f"{factory} returned a tuple of {len(result)}. It has to return {_SHAPES}.")
        target, inputs = result[:2]
        loss_fn = result[2] if len(result) > 2 else None
        targets = result[3] if len(result) > 3 else None
        if _is_data(inputs):
            return _with_data(target, inputs, loss_fn, targets, factory)
        if isinstance(inputs, Mapping):
            inputs = dict(inputs)
        elif not (isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields")):
            inputs = (inputs,)
        else:
            inputs = tuple(inputs)
    if not callable(target) or (inputs is None and not _is_module(target)):
        what = f"a tuple that begins with {_a(target)}" if target is not result else _a(result)
        raise FactoryError(f"{factory} returned {what}. It has to return {_SHAPES}.")
    if loss_fn is not None and not callable(loss_fn):
        raise FactoryError(f"{factory} returned {_a(loss_fn)} as its loss_fn: that has to be callable.")
    if targets is not None and loss_fn is None:
        raise FactoryError(f"{factory} returned targets without a loss_fn that is given them.")
    return Made(target, inputs, loss_fn, targets)


def _with_data(target: Any, data: Any, loss_fn: Any, targets: Any, factory: str) -> Made:
    if not callable(target):
        raise FactoryError(f"{factory} returned a tuple that begins with {_a(target)}. It has to return {_SHAPES}.")
    if loss_fn is not None and not callable(loss_fn):
        raise FactoryError(f"{factory} returned {_a(loss_fn)} as its loss_fn: that has to be callable.")
    if targets is not None:
        raise FactoryError(f"{factory} returned targets beside a {type(data).__name__}, which has its own.")
    return Made(target, None, loss_fn, None, data)


def _is_data(value: Any) -> bool:
    from torch.utils.data import DataLoader, Dataset

    return isinstance(value, DataLoader | Dataset)


def _is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def _a(value: Any) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FactoryError(f"There is no file {path}.")
    path = path.resolve()
    _first_in_path(str(path.parent))
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    # A file that is called like a loaded module (`test.py`, `json.py`) must not replace it.
    name = path.stem if path.stem not in sys.modules else f"_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FactoryError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise FactoryError(f"importing {path.name} raised {type(error).__name__}: {error}") from error
    return module


def _from_module(name: str) -> ModuleType:
    _first_in_path(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = f" To name a file: {name}.py:..." if Path(f"{name}.py").is_file() else ""
            raise FactoryError(f"There is no module {name!r}.{hint}") from error
        raise FactoryError(f"importing {name} raised ModuleNotFoundError: {error}") from error
    except (Exception, SystemExit) as error:
        raise FactoryError(f"importing {name} raised {type(error).__name__}: {error}") from error


def _first_in_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
