"""What a forward may move (random states, buffers, attributes), put back before each run.

A check runs the same function hundreds of times and compares results to the last digits, so every run has to
begin where the first one began. Most functions move nothing: what does move is found out in the first run, and
only that is put back before the others.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

_KEPT_ELSEWHERE: Final = frozenset(
    {
        "_parameters",
        "_buffers",
        "_modules",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
    }
)


class _Part(Protocol):
    def moved(self) -> bool: ...
    def restore(self) -> None: ...


class _Generator:
    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.state = generator.get_state()

    def moved(self) -> bool:
        return not torch.equal(self.generator.get_state(), self.state)

    def restore(self) -> None:
        self.generator.set_state(self.state)


class _PythonRandom:
    def __init__(self) -> None:
        self.state = random.getstate()

    def moved(self) -> bool:
        return random.getstate() != self.state

    def restore(self) -> None:
        random.setstate(self.state)


class _NumpyRandom:
    def __init__(self, numpy: Any) -> None:
        self.random = numpy.random
        self.state = self.random.get_state()

    def moved(self) -> bool:
        now = self.random.get_state()
        return bool(now[2:] != self.state[2:] or (now[1] != self.state[1]).any())

    def restore(self) -> None:
        self.random.set_state(self.state)


class _Tensor:
    """A tensor whose content may be overwritten: a buffer, or a tensor that a function closes over."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.copy = tensor.detach().clone()

    def moved(self) -> bool:
        return not torch.equal(self.tensor, self.copy)

    def restore(self) -> None:
        with torch.no_grad():
            self.tensor.copy_(self.copy)


class _Names:
    """Which objects a module's names stand for: buffers and plain attributes may be replaced, added, removed."""

    def __init__(self, holder: dict[str, Any]) -> None:
        self.holder = holder
        self.values = {key: value for key, value in holder.items() if key not in _KEPT_ELSEWHERE}
        self.copies = {k: v.copy() for k, v in self.values.items() if type(v) in (list, dict, set)}

    def moved(self) -> bool:
        now = {key: value for key, value in self.holder.items() if key not in _KEPT_ELSEWHERE}
        if now.keys() != self.values.keys() or any(now[key] is not value for key, value in self.values.items()):
            return True
        return any(not _same_items(self.values[key], copy) for key, copy in self.copies.items())

    def restore(self) -> None:
        for key in [k for k in self.holder if k not in _KEPT_ELSEWHERE and k not in self.values]:
            del self.holder[key]
        self.holder.update(self.values)
        for key, copy in self.copies.items():
            value = self.values[key]
            if not _same_items(value, copy):
                value.clear()
                value.extend(copy) if isinstance(value, list) else value.update(copy)


class _Mode:
    """The mode of a scripted or traced module, which keeps what it has where Python does not see it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.training = module.training

    def moved(self) -> bool:
        return self.module.training != self.training

    def restore(self) -> None:
        if self.moved():
            self.module.training = self.training


def _same_items(value: Any, copy: Any) -> bool:
    if len(value) != len(copy):
        return False
    if isinstance(value, set):
        return bool(value == copy)
    if isinstance(value, dict):
        return all(key in value and value[key] is item for key, item in copy.items())
    return all(a is b for a, b in zip(value, copy, strict=True))


class State:
    """The state that every run begins with. A context: on leaving, the caller's random states are back.

    Args:
        modules: whose buffers and plain attributes are put back before each run.
        tensors: others that a run may overwrite.
        seed: of all random numbers that the runs draw, the same ones in each.
    """

    def __init__(self, modules: Iterable[nn.Module], tensors: Iterable[Tensor] = (), *, seed: int) -> None:
        self._modules = list(modules)
        self._tensors = list(tensors)
        self._seed = seed
        self._callers: list[_Part] = []
        self._parts: list[_Part] = []
        self._moving: list[_Part] | None = None

    def __enter__(self) -> State:
        self._callers = _random_parts()
        for part in self._callers:
            if isinstance(part, _Generator):
                part.generator.manual_seed(self._seed)
            elif isinstance(part, _PythonRandom):
                random.seed(self._seed)
            else:
                sys.modules["numpy"].random.seed(self._seed % 2**32)
        self._parts = [*_random_parts(), *self._parts_of_modules(), *map(_Tensor, self._tensors)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for part in (*self._parts, *self._callers):
            part.restore()

    def _parts_of_modules(self) -> Iterable[_Part]:
        for module in self._modules:
            for child in module.modules():
                if isinstance(child, torch.jit.ScriptModule):
                    yield _Mode(child)
                    yield from map(_Tensor, child.buffers(recurse=False))
                    continue
                yield _Names(child.__dict__)
                yield _Names(child.__dict__["_buffers"])
                yield from (_Tensor(buffer) for buffer in child.__dict__["_buffers"].values() if buffer is not None)
                for value in vars(child).values():
                    if isinstance(value, torch.Generator):
                        yield _Generator(value)
                    elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                        yield _Tensor(value)

    def note_what_moves(self) -> None:
        """After a run: from now on, only what this one has moved is put back before a run."""
        self._moving = [part for part in self._parts if part in (self._moving or ()) or part.moved()]

    def restore(self) -> None:
        """Puts everything back that runs move."""
        for part in self._parts if self._moving is None else self._moving:
            part.restore()

    @property
    def draws_random_numbers(self) -> bool:
        """Whether the runs draw random numbers, as far as the first ones have shown."""
        return any(isinstance(p, _Generator | _PythonRandom | _NumpyRandom) for p in self._moving or ())

    @property
    def moves_buffers(self) -> bool:
        """Whether the runs overwrite buffers, as batch normalisation in training mode does."""
        return any(isinstance(part, _Tensor) for part in self._moving or ())


def _random_parts() -> list[_Part]:
    parts: list[_Part] = [_Generator(torch.default_generator), _PythonRandom()]
    if torch.cuda.is_initialized():
        parts += [_Generator(generator) for generator in torch.cuda.default_generators]
    if (numpy := sys.modules.get("numpy")) is not None:
        parts.append(_NumpyRandom(numpy))
    return parts
