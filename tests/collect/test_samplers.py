"""Weighted samplers that are made, and whether anything is drawn from them."""

from __future__ import annotations

import gc
import pickle
import weakref

import torch
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import diagnose

WEIGHTS = [1.0, 2.0, 3.0, 4.0]


def test_passes_are_counted() -> None:
    data = TensorDataset(torch.arange(4))
    with diagnose.watch(schedule="every", summary=False) as watch:
        used, unused = WeightedRandomSampler(WEIGHTS, 4), WeightedRandomSampler(WEIGHTS, 8)
        loader = DataLoader(data, batch_size=2, sampler=used)
        for _ in range(3):
            for _ in loader:
                pass
    first, second = watch.history.samplers
    assert (first.examples, first.passes) == (4, 3)
    assert (second.examples, second.passes) == (4, 0)
    assert second.file == __file__
    assert len(unused) == 8


def test_it_draws_what_it_would_and_can_be_stored() -> None:
    def draw() -> list[int]:
        torch.manual_seed(3)
        sampler = pickle.loads(pickle.dumps(WeightedRandomSampler(WEIGHTS, 20)))
        return list(sampler)

    plain = draw()
    with diagnose.watch(schedule="every", summary=False):
        assert draw() == plain
    assert draw() == plain


def test_they_are_not_kept_alive_and_torch_is_as_before() -> None:
    before = WeightedRandomSampler.__init__, WeightedRandomSampler.__iter__
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(40):
            sampler = WeightedRandomSampler(WEIGHTS, 4)
        assert len(watch.history.samplers) == 16
        reference = weakref.ref(sampler)
        del sampler
        gc.collect()
        assert reference() is None
    assert before == (WeightedRandomSampler.__init__, WeightedRandomSampler.__iter__)
