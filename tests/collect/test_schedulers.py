"""How often schedulers are stepped, against their optimizers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

import diagnose
from diagnose.history import History

STEPS = 24


def observe(
    make: Callable[[torch.optim.Optimizer], Any], *, every: int = 1, before: bool = False, init_scale: float = 1.0
) -> History:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        scheduler = make(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=1000)
        for index in range(STEPS):
            optimizer.zero_grad()
            scaler.scale(F.mse_loss(model(torch.randn(8, 4)), torch.ones(8, 1))).backward()
            if before:
                scheduler.step()
            scaler.step(optimizer)
            scaler.update()
            if not before and index % every == every - 1:
                scheduler.step(1.0) if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else scheduler.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 5),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10, eta_min=0.001),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda n: 1.0),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("every", [1, 6])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_calls_are_counted(kind: str, every: int) -> None:
    (facts,) = observe(SCHEDULERS[kind], every=every).schedulers.values()
    assert (facts.type, facts.optimizer, facts.early) == (kind, "optimizer", 0)
    assert (facts.calls, facts.steps) == (STEPS // every, STEPS)
    assert facts.calls_per_step == pytest.approx(1 / every)
    assert facts.base == 0.01
    assert str(facts.file).endswith("test_schedulers.py")


def test_settings_say_how_long_it_is_meant_to_run() -> None:
    (facts,) = observe(SCHEDULERS["CosineAnnealingLR"]).schedulers.values()
    assert facts.settings["T_max"] == 10
    assert facts.settings["eta_min"] == 0.001


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_stepped_before_the_optimizer() -> None:
    (facts,) = observe(SCHEDULERS["StepLR"], before=True).schedulers.values()
    assert facts.early == 1


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_first_steps_that_a_scaler_skipped() -> None:
    (facts,) = observe(SCHEDULERS["StepLR"], init_scale=2.0**127).schedulers.values()
    assert facts.early == 0


def test_one_after_another_in_a_sequence() -> None:
    history = observe(
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, total_iters=10), lr_scheduler.CosineAnnealingLR(o, 14)], [10]
        )
    )
    assert {facts.type: facts.early for facts in history.schedulers.values()} == {
        "LinearLR": 0,
        "CosineAnnealingLR": 0,
    }
    assert history.schedulers["CosineAnnealingLR"].calls <= 14


def test_facts_survive_storage() -> None:
    history = observe(SCHEDULERS["StepLR"])
    assert History.from_arrays(*history.to_arrays()).schedulers == history.schedulers


def test_a_scheduler_is_not_kept_alive() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False):
        reference = weakref.ref(lr_scheduler.StepLR(optimizer, 1))
        gc.collect()
        assert reference() is None
