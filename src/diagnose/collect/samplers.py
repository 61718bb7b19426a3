"""Weighted samplers: whether examples are ever drawn from them."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar, Final

from torch.utils.data import WeightedRandomSampler

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import call_site
from diagnose.history import SamplerFacts

_SAMPLERS_MAX: Final = 16


class SamplerCollector(Collector):
    """Fills `history.samplers`. Works when one is made and when a pass over it begins. Memory: 16 weak references."""

    name: ClassVar[str] = "samplers"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._known: list[tuple[weakref.ref[Any], SamplerFacts]] = []

    def sampler_made(self, sampler: Any) -> None:
        # One of the user's own may draw in another way.
        if type(sampler) is WeightedRandomSampler and len(self._known) < _SAMPLERS_MAX:
            file, line = call_site() or (None, None)
            facts = SamplerFacts(file, line, len(sampler.weights))
            self._known.append((weakref.ref(sampler), facts))
            self.history.samplers.append(facts)

    def sampler_used(self, sampler: Any) -> None:
        for reference, facts in self._known:
            if reference() is sampler:
                facts.passes += 1
