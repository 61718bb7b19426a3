"""Trainable leaves of the graph that no module registers and no optimizer holds.

The graph behind a loss names every tensor that a backward pass fills with a gradient. Those that the inventory does
not know are looked for in the plain lists, dictionaries and attributes of the modules that it does know.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import ClassVar, Final, cast

import torch
from torch import Tensor, nn

from diagnose.collect._collector import Collector, Loss, Shared
from diagnose.collect.callsite import CallSite
from diagnose.collect.graph import Leaf, leaves_behind
from diagnose.collect.reading import Unseen, flat_window, readable
from diagnose.history import Container, LeafFacts

_WINDOW: Final = 256
_LEAVES_MAX: Final = 512
_SITES_MAX: Final = 16
_DEPTH: Final = 4
_ITEMS_MAX: Final = 2000
# What nn.Module itself keeps in its __dict__, registered parameters among it.
_OWN: Final = frozenset(vars(nn.Module()))

_NO_HOLDERS: Final = (type, FunctionType, MethodType, ModuleType, str, int, float)


@dataclass
class _Memory:
    reference: weakref.ref[Tensor]
    version: int
    window: Tensor


class LeafCollector(Collector):
    """Keeps `History.leaves`: walks the graph on the 1st, 2nd, 4th, 8th ... sampled backward of each line.

    Memory: 1 KiB for each of at most 512 unknown leaves.
    """

    name: ClassVar[str] = "leaves"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._walks: dict[CallSite | None, tuple[int, int]] = {}
        self._memories: dict[int, tuple[str, _Memory]] = {}
        self._lines: dict[tuple[type[nn.Module], str], CallSite | None] = {}

    def backward_begins(self, loss: Loss | None) -> None:
        if loss is None or loss.tensor.grad_fn is None:
            return
        count, turn = self._walks.get(loss.site, (0, 0))
        # Several backward passes before one step are one look: what is new in each step must not seem to last.
        if turn == self.shared.turn or (not count and len(self._walks) >= _SITES_MAX):
            return
        self._walks[loss.site] = count + 1, self.shared.turn
        if count & (count + 1) == 0:  # count + 1 is a power of two
            with Unseen():
                self._look(leaves_behind(loss.tensor.grad_fn))

    def finish(self) -> None:
        with Unseen():
            self._forget_known()
        self._memories.clear()

    def _look(self, leaves: list[Leaf]) -> None:
        unknown = self._unknown(leaves)
        if unknown and self.inventory.stale():
            self.inventory.refresh()
            unknown = self._unknown(unknown)
        self._forget_known()
        if not unknown:
            return
        held = self._held_outside_of_register()
        for leaf in unknown[:_LEAVES_MAX]:
            self._note(leaf, held.get(id(leaf.tensor)))

    def _unknown(self, leaves: list[Leaf]) -> list[Leaf]:
        return [leaf for leaf in leaves if self.inventory.parameter_name(leaf.tensor) is None]

    def _forget_known(self) -> None:
        """A leaf that is registered or given to an optimizer later was no stray."""
        for key, (name, memory) in list(self._memories.items()):
            tensor = memory.reference()
            if tensor is not None and self.inventory.parameter_name(tensor) is not None:
                del self._memories[key]
                self.history.leaves.pop(name, None)

    def _note(self, leaf: Leaf, place: _Place | None) -> None:
        tensor, step = leaf.tensor, max(self.shared.step_of.values(), default=0)
        name, memory = self._memories.get(id(tensor), ("", None))
        if memory is None or memory.reference() is not tensor:
            if len(self._memories) < _LEAVES_MAX and readable(tensor):
                self._begin(leaf, place, step)
            return
        facts = self.history.leaves[name]
        window = flat_window(tensor, turn=0, elements=_WINDOW)
        facts.looks += 1
        facts.last_step = step
        facts.changed |= tensor._version != memory.version or not torch.equal(window, memory.window)
        # A stray's gradient piles up: nobody clears what nobody knows.
        facts.cleared |= tensor.grad is None or not bool(tensor.grad.any())

    def _begin(self, leaf: Leaf, place: _Place | None, step: int) -> None:
        tensor = leaf.tensor
        name = place.path if place is not None else f"leaf {len(self._memories) + 1}"
        if name in self.history.leaves:
            return  # another tensor at the same place: made anew, as inputs are
        window = flat_window(tensor, turn=0, elements=_WINDOW).clone()
        self._memories[id(tensor)] = name, _Memory(weakref.ref(tensor), tensor._version, window)
        site = self._line_of(place) if place is not None else None
        self.history.leaves[name] = LeafFacts(
            shape=tuple(tensor.shape),
            is_parameter=isinstance(tensor, nn.Parameter),
            is_weight=leaf.is_weight,
            holder=place.attribute if place is not None else "",
            container=place.container if place is not None else "",
            module=self.inventory.module_name(place.module) or "" if place is not None else "",
            looks=1,
            first_step=step,
            last_step=step,
            file=site.file if site else None,
            line=site.line if site else None,
        )

    def _held_outside_of_register(self) -> dict[int, _Place]:
        """By id, the tensors that modules keep in plain attributes."""
        found: dict[int, _Place] = {}
        for _, model in self.inventory.models():
            for module in model.modules():
                for attribute, value in vars(module).items():
                    if attribute in _OWN:
                        continue
                    label = f"{type(module).__name__}.{attribute}"
                    for path, tensor in _tensors_in(value, label):
                        place = _Place(module, label, path, _container(value))
                        found.setdefault(id(tensor), place)
        return found

    def _line_of(self, place: _Place) -> CallSite | None:
        """Where the module's class first assigns the attribute."""
        attribute = place.attribute.rpartition(".")[2]
        key = type(place.module), attribute
        if key not in self._lines:
            self._lines[key] = _assignment(*key)
        return self._lines[key]


@dataclass(frozen=True)
class _Place:
    module: nn.Module
    attribute: str
    path: str
    container: Container


def _container(value: object) -> Container:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, dict):
        return "dict"
    return "list" if isinstance(value, list | tuple) else "object"


def _tensors_in(value: object, path: str) -> Iterator[tuple[str, Tensor]]:
    """Trainable leaves inside nested plain containers and objects, with their paths. Bounded, cycles included."""
    waiting: list[tuple[object, str, int]] = [(value, path, 0)]
    looked_at = 0
    while waiting and looked_at < _ITEMS_MAX:
        item, name, depth = waiting.pop()
        looked_at += 1
        if isinstance(item, Tensor):
            if item.requires_grad and item.is_leaf:
                yield name, item
        elif isinstance(item, nn.Module):
            yield from ((f"{name}.{own}", parameter) for own, parameter in item.named_parameters())
        elif depth < _DEPTH:
            waiting += [(inner, name + step, depth + 1) for step, inner in _inside(item)]


def _inside(item: object) -> list[tuple[str, object]]:
    if type(item) in (list, tuple):
        items = cast("list[object]", item)[:_ITEMS_MAX]
        return [(f"[{index}]", inner) for index, inner in enumerate(items)]
    if type(item) in (dict, OrderedDict, defaultdict):
        pairs = list(cast("dict[object, object]", item).items())
        return [(f"[{key!r}]", inner) for key, inner in pairs[:_ITEMS_MAX] if isinstance(key, str | int)]
    if isinstance(item, _NO_HOLDERS) or type(item).__module__.partition(".")[0] in sys.stdlib_module_names:
        return []
    try:
        variables = object.__getattribute__(item, "__dict__")
    except AttributeError:
        return []
    return [(f".{key}", inner) for key, inner in list(variables.items())]


def _assignment(kind: type[nn.Module], attribute: str) -> CallSite | None:
    with contextlib.suppress(OSError, TypeError, SyntaxError, IndexError):
        for cls in kind.__mro__:
            if cls is nn.Module:
                break
            lines, first = inspect.getsourcelines(cls)
            for offset, line in enumerate(lines):
                if re.search(rf"\bself\.{re.escape(attribute)}\b\s*(:[^=]+)?=[^=]", line):
                    return CallSite(inspect.getsourcefile(cls) or "", first + offset)
    return None
