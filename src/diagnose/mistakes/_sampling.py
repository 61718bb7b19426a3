"""Which examples of its data set a loader reads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

from diagnose.errors import MistakesError


def drawn(loader: DataLoader[Any], whole: int) -> Sequence[int]:
    """The positions that a loader's sampler draws from, sorted, each once. The sampler is as before afterwards.

    Args:
        whole: how many examples its data set has.

    Raises:
        MistakesError: it draws others than these.
    """
    sampler: Any = loader.sampler
    own_batches = type(loader.batch_sampler) is not torch.utils.data.BatchSampler
    if not own_batches and type(sampler) in (SequentialSampler, RandomSampler) and len(sampler.data_source) == whole:
        return range(whole)
    if not own_batches and type(sampler) is WeightedRandomSampler:
        # What one pass happens to draw is a part of what it is drawn from.
        return torch.nonzero(sampler.weights[:whole] > 0).flatten().tolist()
    order = chain.from_iterable(loader.batch_sampler) if own_batches and loader.batch_sampler is not None else sampler
    epoch = getattr(sampler, "epoch", None) if isinstance(sampler, DistributedSampler) else None
    generators = [
        g for owner in (sampler, loader.batch_sampler) if (g := getattr(owner, "generator", None)) is not None
    ]
    states = [(generator, generator.get_state()) for generator in generators]
    # Twice the data set is more than any pass draws; a sampler may have no end.
    found = sorted({int(position) for position in islice(iter(order), 2 * whole)})
    for generator, state in states:
        generator.set_state(state)
    if epoch is not None:
        sampler.epoch = epoch
    if found and not 0 <= found[0] <= found[-1] < whole:
        raise MistakesError(f"The loader's sampler draws position {found[-1]} of a data set with {whole} examples.")
    return found
