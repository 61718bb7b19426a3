"""Modules that were given a state which lacks something, and are evaluated as they are.

Buffers that are registered with `persistent=False`, and all buffers where only parameters were saved, are in no
state: a fresh module that loads it has the weights of the trained one, and running statistics or a codebook of its
own. Parameters that the state lacks keep the values that they were made with. Neither is a fault in itself (masks,
tables, caches; a new head that is trained next), so what counts is what happens then.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.averages import statistics_are_new
from diagnose.collect.callsite import call_site
from diagnose.collect.forward import ModelRun
from diagnose.collect.inventory import unwrapped
from diagnose.collect.nested import tensors_in
from diagnose.collect.reading import Unseen, flat_window, readable
from diagnose.history import LoadFacts

_TAKEN_MAX: Final = 16
_LOADS_MAX: Final = 16
_BUFFERS_MAX: Final = 32
_ELEMENTS: Final = 256
_SLOW: Final = 0.1
"""A running statistic moves by its momentum from step to step, a codebook by little; a hidden state is another one for
each batch. So what never moved by less than a tenth of itself between two looks is not learned."""


@dataclass
class _Source:
    """A module that gave its state away: a window of one of its weights, and of the buffers that are in no state."""

    module: weakref.ref[nn.Module]
    name: str
    weight: Tensor
    buffers: dict[str, Tensor]


@dataclass
class _Pace:
    """A buffer that is in no state, as it was at the last look, and its smallest relative change from look to look."""

    window: Tensor
    slowest: float = float("inf")


@dataclass
class _Load:
    """A load that left something as it was.

    Attributes:
        buffers: what was not loaded, as it was then.
        suspects: names of those that the trained model had otherwise, or that know no batch.
        parameters: those that were not loaded, by weak reference, with their versions.
        units: sizes of what the parameters that were not loaded put out.
    """

    module: weakref.ref[nn.Module]
    facts: LoadFacts
    buffers: dict[str, Tensor]
    suspects: tuple[str, ...]
    parameters: list[tuple[weakref.ref[nn.Parameter], int]] = field(default_factory=list)
    units: frozenset[int] = frozenset()
    evaluated: bool = False

    def untrained(self) -> bool:
        """Whether no parameter that was not loaded has been written since."""
        return all((p := reference()) is None or p._version == version for reference, version in self.parameters)


class RestoredCollector(Collector):
    """Adds to `History.loads` what was evaluated without what its state lacked.

    Memory: 1 KiB for each of at most 32 buffers of a trained model, of 16 states and of 16 loads.
    """

    name: ClassVar[str] = "restored"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sources: list[_Source] = []
        self._loads: list[_Load] = []
        self._paces: weakref.WeakKeyDictionary[nn.Module, dict[str, _Pace]] = weakref.WeakKeyDictionary()

    def state_taken(self, module: nn.Module, state: Any) -> None:
        buffers = dict(self._learned(module))
        weight = _first_weight(module)
        if not buffers or weight is None or weight[0] not in state:
            return
        with Unseen():
            source = _Source(weakref.ref(module), weight[0], _window(weight[1]), _windows(buffers))
        self._sources.append(source)
        del self._sources[:-_TAKEN_MAX]

    def state_loaded(self, module: nn.Module, state: Any, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        self._loads = [load for load in self._loads if load.module() not in (None, module)]
        if not isinstance(state, Mapping) or len(self._loads) >= _LOADS_MAX:
            return
        own = dict(module.named_parameters())
        absent = [name for name in missing if name in own]
        with Unseen():
            suspects = self._suspects(module, state, set(missing))
            if not suspects and not (absent and unexpected):
                return
            buffers = _windows({name: b for name, b in module.named_buffers() if name in suspects})
        site = call_site()
        facts = LoadFacts(
            self.inventory.module_name(module) or type(module).__name__,
            loaded_at=sum(self.shared.step_of.values()),
            keys=len(state),
            matched=len(state) - len(unexpected),
            missing=len(missing),
            file=site.file if site else None,
            line=site.line if site else None,
        )
        parameters = [own[name] for name in absent] if unexpected else []
        self._loads.append(
            _Load(
                weakref.ref(module),
                facts,
                buffers,
                suspects,
                [(weakref.ref(p), p._version) for p in parameters],
                frozenset(p.shape[0] for p in parameters if p.dim()),
            )
        )

    def model_ran(self, run: ModelRun) -> None:
        if not self._loads or run.module.training:
            return
        model = unwrapped(run.module)
        for load in self._loads:
            if load.module() is not model:
                continue
            if load.suspects and not load.facts.lost:
                self._look_at_buffers(load, model)
            if load.parameters and load.untrained() and _puts_out(run.output, load.units):
                load.evaluated = True

    def step_begins(self, step: Step) -> None:
        for load in self._loads:
            if load.parameters and not load.untrained():
                load.parameters.clear()

    def step_ends(self, step: Step) -> None:
        if self.shared.is_thorough:
            with Unseen():
                for _, model in self.inventory.models():
                    self._follow(model)

    def _follow(self, model: nn.Module) -> None:
        for _, child, key, buffer in islice(_transient(model), _BUFFERS_MAX):
            now, paces = _window(buffer), self._paces.setdefault(child, {})
            before = paces.get(key)
            if before is None or before.window.shape != now.shape:
                paces[key] = _Pace(now)
                continue
            change = float(torch.linalg.vector_norm(now - before.window))
            if change > 0:
                before.slowest = min(before.slowest, change / max(float(torch.linalg.vector_norm(now)), change))
            before.window = now

    def _learned(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """The buffers of a model that no state holds, and that training was seen to change little by little."""
        for name, child, key, buffer in _transient(model):
            pace = self._paces.get(child, {}).get(key)
            if pace is not None and pace.slowest <= _SLOW:
                yield name, buffer

    def finish(self) -> None:
        for load in self._loads:
            if load.evaluated and load.parameters and load.untrained():
                load.facts.part_evaluated = True
                self._add(load.facts)
        self._sources.clear()
        self._loads.clear()
        self._paces.clear()

    def _look_at_buffers(self, load: _Load, model: nn.Module) -> None:
        """A buffer that evaluating overwrites (a hidden state, a cache) holds nothing that must be kept."""
        with Unseen():
            now = _windows({name: b for name, b in model.named_buffers() if name in load.suspects})
            lost = tuple(name for name in load.suspects if name in now and _equal(now[name], load.buffers[name]))
        if lost:
            load.facts.lost = lost
            self._add(load.facts)
        load.suspects = ()

    def _suspects(self, module: nn.Module, state: Mapping[str, Any], missing: set[str]) -> tuple[str, ...]:
        """Buffers of the module that the state lacks, and that are not those of the model it was taken from."""
        found: list[str] = []
        for name, child in module.named_modules():
            start = f"{name}." if name else ""
            if isinstance(child, _NormBase) and f"{start}running_mean" in missing and statistics_are_new(child):
                own = {start + key for key, _ in child.named_parameters(recurse=False)}
                if own and not own & missing:
                    found += [f"{start}running_mean", f"{start}running_var"]
        transient = {name: buffer for name, _, _, buffer in _transient(module)}
        source = self._source(module, state) if transient else None
        if source is not None:
            found += [
                name
                for name, window in _windows(transient).items()
                if name in source.buffers and not _equal(window, source.buffers[name])
            ]
        return tuple(found[:_BUFFERS_MAX])

    def _source(self, module: nn.Module, state: Mapping[str, Any]) -> _Source | None:
        """The module of the same type, and not this one, that gave this state away."""
        for source in reversed(self._sources):
            value = state.get(source.name)
            origin = source.module()
            if origin is module:
                continue
            if readable(value) and _equal(_window(value), source.weight):
                return source
        return None

    def _add(self, facts: LoadFacts) -> None:
        if not any(facts is other for other in self.history.loads):
            self.history.loads.append(facts)


def _transient(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Buffers of floating point numbers that no state holds: their names, and the modules that own them."""
    for name, child in module.named_modules():
        for key in child._non_persistent_buffers_set:
            buffer = child._buffers.get(key)
            if readable(buffer):
                yield (f"{name}.{key}" if name else key), child, key, buffer


def _first_weight(module: nn.Module) -> tuple[str, Tensor] | None:
    return next(((name, p) for name, p in module.named_parameters() if p.dim() > 1 and readable(p)), None)


def _windows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _window(t) for name, t in list(tensors.items())[:_BUFFERS_MAX] if readable(t)}


def _window(tensor: Tensor) -> Tensor:
    return flat_window(tensor, turn=0, elements=_ELEMENTS).detach().to("cpu", torch.float32, copy=True)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _puts_out(output: Any, units: frozenset[int]) -> bool:
    """Whether what was not loaded may have made this output, by its size."""
    return any(size in units for tensor in tensors_in(output) for size in tensor.shape[1:])
