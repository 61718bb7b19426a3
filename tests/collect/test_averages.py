"""Copies of a trained model that no optimizer holds."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import diagnose
from diagnose.history import CopyFacts


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


@torch.no_grad()
def follow(kept: nn.Module, model: nn.Module, *, buffers: bool = False) -> None:
    for old, new in zip(kept.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 0.5)
    if buffers:
        for old, new in zip(kept.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def copies(
    make: Callable[[nn.Module], nn.Module],
    update: Callable[[Any, nn.Module], None] = lambda kept, model: None,
    *,
    epochs: int = 4,
    in_training: bool = False,
) -> list[CopyFacts]:
    torch.manual_seed(0)
    model = net()
    kept = make(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(epochs):
            for _ in range(3):
                x = torch.randn(16, 4)
                if in_training:
                    kept.eval()
                    with torch.no_grad():
                        kept(x)
                (model(x) - x[:, :2]).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                update(kept, model)
            evaluate(model)
            evaluate(kept)
            model.train()
    assert watch.history.count("collector-failed") == 0
    return watch.history.copies


def evaluate(model: nn.Module) -> Tensor:
    model.eval()
    with torch.no_grad():
        return nn.functional.mse_loss(model(torch.randn(16, 4)), torch.zeros(16, 2))


def test_a_copy_whose_parameters_alone_follow() -> None:
    (facts,) = copies(copy.deepcopy, follow)
    assert facts.follows
    assert (facts.looks_in_evaluation, facts.looks_in_training, facts.moved) == (4, 0, 3)
    assert (facts.statistics, facts.statistics_moved, facts.source_statistics_moved) == (16, 0, 3)
    assert facts.statistics_are_new
    assert facts.source_moved
    assert not facts.is_start
    assert (facts.first_step, facts.last_step, facts.file) == (3, 12, __file__)


def test_a_copy_that_follows_in_all() -> None:
    (facts,) = copies(copy.deepcopy, lambda kept, model: follow(kept, model, buffers=True))
    assert (facts.follows, facts.statistics_are_new, facts.statistics_moved) == (True, False, 3)


def test_a_copy_that_never_moves() -> None:
    (facts,) = copies(copy.deepcopy)
    assert (facts.is_start, facts.moved, facts.follows, facts.looks_in_evaluation) == (True, 0, False, 4)


def test_a_frozen_teacher_is_used_in_training() -> None:
    (facts,) = copies(copy.deepcopy, in_training=True)
    assert facts.looks_in_training > 0


def test_an_average_of_no_model() -> None:
    (facts,) = copies(AveragedModel)
    assert facts.averaged == 0
    (facts,) = copies(AveragedModel, lambda kept, model: kept.update_parameters(model))
    assert facts.averaged == 12


def test_another_model_of_the_same_shapes_follows_nothing() -> None:
    (facts,) = copies(lambda model: net())
    assert (facts.follows, facts.is_start) == (False, False)


def test_models_of_other_shapes_and_trained_ones_are_no_copies() -> None:
    assert not copies(lambda model: nn.Linear(4, 2))
    assert not copies(lambda model: model)


@torch.no_grad()
def in_vain(kept: nn.Module, model: nn.Module) -> None:
    for old, new in zip(kept.parameters(), model.parameters(), strict=True):
        old.mul(0.9).add(new, alpha=0.1)
    for old, new in zip(kept.buffers(), model.buffers(), strict=True):
        old.copy_(new)


@torch.no_grad()
def blended(kept: nn.Module, model: nn.Module) -> None:
    values = model.state_dict()
    for name, old in kept.named_parameters():
        old = torch.lerp(old.data, values[name], 0.1)


@torch.no_grad()
def number_first(kept: nn.Module, model: nn.Module) -> None:
    for old, new in zip(kept.parameters(), model.parameters(), strict=True):
        old = 0.9 * old + 0.1 * new


@pytest.mark.parametrize("update", [in_vain, blended, number_first])
def test_updates_in_vain_are_seen(update: Callable[[Any, nn.Module], None]) -> None:
    (facts,) = copies(copy.deepcopy, update)
    assert facts.is_start
    assert facts.scaled == 12
    assert facts.statistics_are_models is (update is in_vain)


def test_what_is_computed_once_per_epoch_is_no_update() -> None:
    done = []

    def now_and_then(kept: nn.Module, model: nn.Module) -> None:
        done.append(kept)
        if len(done) % 12 == 0:
            in_vain(kept, model)

    (facts,) = copies(copy.deepcopy, now_and_then, epochs=20)
    assert facts.scaled == 1


def test_updates_in_place_are_none_in_vain() -> None:
    (facts,) = copies(copy.deepcopy, lambda kept, model: follow(kept, model, buffers=True))
    assert facts.scaled == 0


def test_a_copy_in_training_mode_is_looked_at_without_gradients() -> None:
    torch.manual_seed(0)
    model = net()
    kept = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(4):
            x = torch.randn(16, 4)
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            in_vain(kept, model)
            with torch.no_grad():
                kept(x)
        kept.train()(x)  # with gradients: not looked at
    (facts,) = watch.history.copies
    assert (facts.is_start, facts.looks_in_training, facts.statistics, facts.scaled) == (True, 4, 0, 4)


def test_nothing_is_kept_alive() -> None:
    kept: list[weakref.ref[nn.Module]] = []

    def make(model: nn.Module) -> nn.Module:
        made = copy.deepcopy(model)
        kept.append(weakref.ref(made))
        return made

    copies(make, follow)
    gc.collect()
    assert kept[0]() is None
