"""Copies of a trained model that no optimizer holds: whether they follow it, and their statistics, too.

A copy that is updated by hand (an exponential moving average, stochastic weight averaging, a teacher, a target
network) lies on the way that the trained model has gone; a frozen one stays where that began; another model of the
same architecture lies elsewhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import AveragedModel

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.callsite import call_site
from diagnose.collect.inventory import unwrapped
from diagnose.collect.reading import Unseen, flat_window, readable
from diagnose.history import CopyFacts

_TENSORS: Final = 16
_ELEMENTS: Final = 256
_MODELS_MAX: Final = 8
_COPIES_MAX: Final = 16
_ON_THE_WAY: Final = 0.5
_SCALED_MAX: Final = 4096
_SOON: Final = 10
"""Steps from one update of an average to the next, at most. A point between two models, to be looked at and left, is
computed after whole epochs."""

_Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass
class _Source:
    """A trained model, and a sample of what its parameters were before its first step."""

    model: weakref.ref[nn.Module]
    shapes: _Shapes
    start: Tensor
    start_statistics: Tensor


@dataclass
class _Copy:
    source: _Source
    facts: CopyFacts
    parameters: Tensor
    statistics: Tensor
    source_statistics: Tensor
    looked: tuple[int, bool] = (-1, False)


class CopyCollector(Collector):
    """Keeps `History.copies`: looks at a copy whenever it is seen to be called in eval mode, once per step.

    A copy that is called in training mode, but without gradients, is looked at too; its statistics are left out then,
    for they are about to change by that very call.

    What has been scaled out of place is known by its address, as the copies are not known yet when they are averaged
    first. Memory: 16 KiB for each of at most 8 trained models, 48 KiB for each of at most 16 copies, 4,096 addresses.
    """

    name: ClassVar[str] = "copies"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sources: list[_Source] = []
        self._copies: weakref.WeakKeyDictionary[nn.Module, _Copy | None] = weakref.WeakKeyDictionary()
        self._scaled: dict[tuple[int, int], tuple[int, int]] = {}  # how often, at different steps, and when last

    def step_begins(self, step: Step) -> None:
        if not self.shared.is_thorough or len(self._sources) >= _MODELS_MAX:
            return
        known = [source.model() for source in self._sources]
        held = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
        with Unseen():
            for _, model in self.inventory.models():
                if any(model is other for other in known) or not any(id(p) in held for p in model.parameters()):
                    continue
                start = _sample(list(model.parameters()))
                if start is not None:
                    self._sources.append(_Source(weakref.ref(model), _shapes(model), start, _statistics(model)))

    def root_called(self, module: nn.Module) -> None:
        if not self._sources or (module.training and torch.is_grad_enabled()):
            return
        model = unwrapped(module)
        if model in self._copies and self._copies[model] is None:
            return
        with Unseen():
            copy = self._copies.get(model) or self._begin(model)
            self._copies[model] = copy
            if copy is not None:
                self._look(copy, model, module)

    def tensor_scaled(self, tensor: Tensor) -> None:
        if not readable(tensor):
            return
        place, step = _place(tensor), self._step()
        if place not in self._scaled:
            if len(self._scaled) < _SCALED_MAX:
                self._scaled[place] = 1, step
            return
        times, last = self._scaled[place]
        self._scaled[place] = times + (last < step <= last + _SOON), step

    def finish(self) -> None:
        self._scaled.clear()
        self._sources.clear()
        self._copies.clear()

    def _begin(self, model: nn.Module) -> _Copy | None:
        """What `model` is a copy of; None for one that is trained itself, or resembles none that is."""
        parameters = list(model.parameters())
        own = {id(p) for p in parameters}
        optimizers = [optimizer for _, optimizer in self.inventory.optimizers()]
        if any(source.model() is model for source in self._sources):
            return None
        if len(self.history.copies) >= _COPIES_MAX or any(
            id(p) in own for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
        ):
            return None
        shapes, sample = _shapes(model), _sample(parameters)
        for source in self._sources:
            trained = source.model()
            if trained is None or sample is None or source.shapes != shapes or sample.device != source.start.device:
                continue
            step = self._step()
            name = self.inventory.module_name(model) or type(model).__name__
            facts = CopyFacts(name, type(model).__name__, first_step=step, last_step=-1)
            self.history.copies.append(facts)
            return _Copy(source, facts, sample, _statistics(model), _statistics(trained))
        return None

    def _look(self, copy: _Copy, model: nn.Module, called: nn.Module) -> None:
        trained, facts, step = copy.source.model(), copy.facts, self._step()
        parameters = _sample(list(model.parameters()))
        looked = step, model.training
        if trained is None or parameters is None or looked == copy.looked:
            return
        now = _sample(list(trained.parameters()))
        if now is None or now.shape != parameters.shape:
            return
        site = call_site()
        if site is not None:
            facts.file, facts.line = site
        facts.last_step, copy.looked = step, looked
        if trained.training:
            facts.looks_in_training += 1
        else:
            facts.looks_in_evaluation += 1
        facts.moved += not torch.equal(parameters, copy.parameters)
        facts.is_start = torch.equal(parameters, copy.source.start)
        facts.source_moved = not torch.equal(now, copy.source.start)
        facts.follows |= _direction(parameters - copy.source.start, now - copy.source.start) > _ON_THE_WAY
        facts.averaged = int(called.n_averaged) if isinstance(called, AveragedModel) else None
        facts.scaled = self._times_scaled(model)
        copy.parameters = parameters
        if not model.training:
            self._look_at_statistics(copy, model, trained)

    def _look_at_statistics(self, copy: _Copy, model: nn.Module, trained: nn.Module) -> None:
        facts = copy.facts
        statistics, source_statistics = _statistics(model), _statistics(trained)
        facts.statistics = statistics.numel()
        facts.statistics_moved += not torch.equal(statistics, copy.statistics)
        facts.source_statistics_moved += not torch.equal(source_statistics, copy.source_statistics)
        facts.statistics_are_new = _are_new(model) and not _are_new(trained)
        facts.statistics_are_models = (
            torch.equal(statistics, source_statistics)
            and not torch.equal(statistics, copy.source.start_statistics)
            and not {id(m) for m in _tracking(model)} & {id(m) for m in _tracking(trained)}
        )
        copy.statistics, copy.source_statistics = statistics, source_statistics

    def _times_scaled(self, model: nn.Module) -> int:
        """At how many steps each of the model's parameters was scaled, as far as that was seen."""
        if not self._scaled:
            return 0
        counts = (self._scaled.get(_place(p), (0, -1))[0] for p in model.parameters() if readable(p))
        return min(counts, default=0)

    def _step(self) -> int:
        return sum(self.shared.step_of.values())


def _shapes(model: nn.Module) -> _Shapes:
    return tuple((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())


def _sample(tensors: Sequence[Tensor]) -> Tensor | None:
    """Windows of up to 16 of the tensors, evenly over all, in one; None if they cannot be read together."""
    some = [t for t in tensors if readable(t)]
    some = some[:: -(-len(some) // _TENSORS)] if some else []
    if not some or len({t.device for t in some}) > 1:
        return None
    return torch.cat([flat_window(t, turn=0, elements=_ELEMENTS).to(torch.float32) for t in some])


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel()


def _tracking(model: nn.Module) -> list[_NormBase]:
    return [m for m in model.modules() if isinstance(m, _NormBase) and m.running_mean is not None]


def _statistics(model: nn.Module) -> Tensor:
    """A sample of the running statistics of all normalisations; empty if there are none."""
    tensors = [t for m in _tracking(model) for t in (m.running_mean, m.running_var) if t is not None]
    sample = _sample(tensors)
    return torch.empty(0) if sample is None else sample


def _are_new(model: nn.Module) -> bool:
    """Whether no normalisation has seen a batch: all means 0, all variances 1."""
    layers = _tracking(model)
    return bool(layers) and all(map(statistics_are_new, layers))


def statistics_are_new(layer: _NormBase) -> bool:
    """Whether a normalisation has seen no batch: its running mean is 0, its running variance 1."""
    mean, variance = layer.running_mean, layer.running_var
    return readable(mean) and readable(variance) and not bool(mean.any()) and bool((variance == 1).all())


def _direction(way: Tensor, whole: Tensor) -> float:
    """The cosine between two differences; 0 if one of them is nothing."""
    lengths = float(torch.linalg.vector_norm(way) * torch.linalg.vector_norm(whole))
    return float(torch.dot(way, whole)) / lengths if lengths > 0 else 0.0
