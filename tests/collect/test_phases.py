"""What is told of models, losses and modules with two modes, in training and in evaluation, and how often."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.phases import MODEL_EVAL, Phases
from diagnose.collect.session import Session
from diagnose.schedule import EveryStep, SeededSteps

Told = list[tuple[Any, ...]]
Loop = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def observe(loop: Loop, *, every: bool = True, eager: bool = True) -> Told:
    told: Told = []

    class Listening(Collector):
        name = "listening"

        def __init__(self, shared: Shared) -> None:
            super().__init__(shared)

        def evaluation_begins(self) -> None:
            told.append(("evaluation begins",))

        def evaluation_ends(self) -> None:
            told.append(("evaluation ends",))

        def model_ran(self, run: ModelRun) -> None:
            told.append(("model", run.training, tuple(run.args[0].shape), tuple(run.output.shape)))

        def loss_called(self, call: LossCall) -> None:
            told.append(("loss", call.name, call.training, dict(call.options), call.line))

        def two_mode_ran(self, module: nn.Module, *, training: bool) -> None:
            told.append((type(module).__name__, module.training, training))

        def dropout_called(self, p: float, *, active: bool, training: bool, **where: Any) -> None:
            told.append(("dropout", p, active, training))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    session = Session(
        models={"model": model},
        optimizers=[optimizer],
        schedule=EveryStep() if every else SeededSteps(),
        collectors=[Listening],
    )
    try:
        loop(
            model if eager else torch.compile(model, backend="eager"), optimizer, torch.randn(6, 4), torch.arange(6) % 3
        )
    finally:
        session.close()
    assert not session.history.count("collector-failed"), list(session.history.events("collector-failed"))
    return told


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y, label_smoothing=0.1).backward()
    optimizer.step()


def test_a_training_step() -> None:
    told = observe(step)
    assert ("model", True, (6, 4), (6, 3)) in told
    assert ("BatchNorm1d", True, True) in told
    assert ("Dropout", True, True) in told
    losses = [entry for entry in told if entry[0] == "loss"]
    assert [entry[1:4] for entry in losses] == [("cross_entropy", True, {"label_smoothing": 0.1})]
    assert losses[0][4] == step.__code__.co_firstlineno + 2
    assert ("evaluation begins",) not in told


def evaluate_with_eval(model: nn.Module, x: Tensor, y: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        nn.CrossEntropyLoss(reduction="sum")(model(x), y)
    model.train()


def evaluate_without_gradients(model: nn.Module, x: Tensor, y: Tensor) -> None:
    with torch.no_grad():
        F.cross_entropy(model(x), y)


@torch.inference_mode()
def evaluate_decorated(model: nn.Module, x: Tensor, y: Tensor) -> None:
    F.cross_entropy(model(x), y)


@pytest.mark.parametrize("evaluate", [evaluate_with_eval, evaluate_without_gradients, evaluate_decorated])
@pytest.mark.parametrize("every", [True, False], ids=["sampled", "between samples"])
@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_an_evaluation_however_it_is_written(evaluate: Callable[..., None], every: bool, eager: bool) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        for _ in range(11):  # seeded: the interval after step 10 is not sampled
            step(model, optimizer, x, y)
        evaluate(model, x[:5], y[:5])
        step(model, optimizer, x, y)

    told = observe(loop, every=every, eager=eager)
    assert told.count(("evaluation begins",)) == 1
    assert told.count(("evaluation ends",)) == 1
    phase = told[told.index(("evaluation begins",)) : told.index(("evaluation ends",))]
    assert ("model", False, (5, 4), (5, 3)) in phase
    assert any(entry[:3] == ("loss", "cross_entropy", False) for entry in phase)
    if eager:
        assert ("Dropout", evaluate is not evaluate_with_eval, False) in phase


def test_blocks_without_a_model_are_left_in_peace() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        average = copy.deepcopy(model)
        for _ in range(200):
            step(model, optimizer, x, y)
            with torch.no_grad():
                for old, new in zip(average.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 0.1)

    told = observe(loop, every=False)
    assert ("evaluation ends",) not in told
    assert 3 <= told.count(("evaluation begins",)) <= 20


def test_what_is_patched_still_scripts_and_pickles() -> None:
    class Frozen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return x * 2

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        step(model, optimizer, x, y)
        assert torch.equal(torch.jit.script(Frozen())(x), 2 * x)
        assert pickle.loads(pickle.dumps(torch.no_grad)) is torch.no_grad
        step(model, optimizer, x, y)

    observe(loop)


def test_nothing_is_left_behind() -> None:
    before = torch.no_grad.__enter__, torch.inference_mode.__enter__
    observe(step)
    assert (torch.no_grad.__enter__, torch.inference_mode.__enter__) == before
    assert not torch.nn.modules.module._has_any_global_hook()


@given(st.lists(st.integers(1, 50), max_size=300), st.booleans())
def test_the_number_of_looks_grows_slowly(gaps: list[int], fruitful: bool) -> None:
    phases, looks, now = Phases(), 0, 0
    for gap in gaps:
        now += gap
        if phases.worth_a_look(MODEL_EVAL, now):
            looks += 1
            phases.looked(MODEL_EVAL, now, fruitful=fruitful)
    grown = max(now, 2).bit_length()  # doublings of the run
    assert looks <= (16 + 12 * grown if fruitful else 4 + 2 * grown)
    assert looks >= min(len(gaps), 3)


def test_a_place_that_becomes_fruitful_is_looked_at_again() -> None:
    phases = Phases()
    for now in (1, 2, 3):
        phases.looked(MODEL_EVAL, now, fruitful=False)
    assert not phases.worth_a_look(MODEL_EVAL, 4)
    assert phases.worth_a_look(MODEL_EVAL, 5)
    phases.looked(MODEL_EVAL, 5, fruitful=True)
    assert phases.worth_a_look(MODEL_EVAL, 6)
    assert phases.worth_a_look((1, 2), 4)
