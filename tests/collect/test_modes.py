"""Modes: what ran in training and in evaluation mode while the optimizer stepped, and what ran without gradients."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import diagnose
from diagnose.collect.modes import ModesCollector
from diagnose.collect.session import COLLECTORS
from diagnose.history import History

STEPS = 12


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.drop, self.fc2 = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.norm(self.fc1(x)))))


def observe(
    before: Callable[[nn.Module, int], Any] = lambda model, step: None, model: nn.Module | None = None
) -> History:
    """Trains for some steps; `before` each step, the model may be used otherwise."""
    torch.manual_seed(0)
    model = Net() if model is None else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(STEPS):
            before(model, step)
            x, y = torch.randn(16, 4), torch.randint(2, (16,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def phases(history: History) -> list[dict[str, Any]]:
    return [dict(event.detail) for event in history.events("ran-without-gradients")]


# -- training steps -----------------------------------------------------------------------------------


def test_training_mode() -> None:
    modes = observe().modes
    assert set(modes) == {"norm (optimizer)", "drop (optimizer)"}
    drop, norm = modes["drop (optimizer)"], modes["norm (optimizer)"]
    assert (drop.kind, drop.p, drop.layer, drop.units, drop.model) == ("dropout", 0.3, "norm", 8, "model")
    assert (drop.on, drop.off, drop.first_on, drop.last_on) == (STEPS, 0, 1, STEPS)
    assert (norm.kind, norm.on, norm.trained, norm.share, norm.fresh) == ("normalization", STEPS, True, 1.0, None)


def test_evaluation_mode_from_some_step_on() -> None:
    modes = observe(lambda model, step: model.eval() if step == 4 else None).modes
    for facts in modes.values():
        assert (facts.on, facts.off, facts.last_on, facts.first_off, facts.model_on) == (4, STEPS - 4, 4, 5, 0)
    assert modes["norm (optimizer)"].fresh is False


def test_statistics_of_a_new_module() -> None:
    assert observe(lambda model, step: model.eval()).modes["norm (optimizer)"].fresh is True


def test_some_modules_in_evaluation_mode() -> None:
    modes = observe(lambda model, step: model.norm.eval()).modes
    assert modes["norm (optimizer)"].model_on == modes["norm (optimizer)"].off == STEPS
    assert modes["drop (optimizer)"].on == STEPS


def test_adversarial_examples_made_in_evaluation_mode() -> None:
    def attack(model: nn.Module, step: int) -> None:
        model.eval()
        x = torch.randn(16, 4, requires_grad=True)
        F.cross_entropy(model(x), torch.randint(2, (16,))).backward()
        model.train()

    assert all(facts.off == 0 for facts in observe(attack).modes.values())


def test_a_normalisation_that_is_not_trained() -> None:
    model = Net()
    model.norm.requires_grad_(False)
    modes = observe(lambda model, step: model.norm.eval(), model).modes
    assert not modes["norm (optimizer)"].trained
    assert modes["drop (optimizer)"].trained


def test_a_function_called_by_name() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.dropout(x, 0.2, self.training))

    (facts,) = observe(lambda model, step: model.eval() if step == 4 else None, Functional()).modes.values()
    assert facts.file == __file__
    assert (facts.module, facts.layer, facts.on, facts.off) == ("", "", 4, STEPS - 4)


def test_what_a_model_does_not_hold_is_out_of_reach() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.drops = [nn.Dropout(0.1)]

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.drops[0](x))

    def evaluate(model: nn.Module, step: int) -> None:
        model.eval()
        with torch.no_grad():
            model(torch.randn(3, 4))
        model.train()

    history = observe(evaluate, Lists())
    assert [facts.reached for facts in history.modes.values()] == [False]
    assert [len(phase["unreached"]) for phase in phases(history)] == [1] * (STEPS - 1)


# -- biases that a normalisation takes out ------------------------------------------------------------


class Chain(nn.Module):
    def __init__(self, *, norm: nn.Module, between: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.norm, self.conv, self.head = norm, nn.Conv1d(4, 8, 1), nn.Linear(8, 2)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.between(self.conv(torch.stack([x, x + 1], dim=2))))
        return self.head(h.mean(2))


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(8), nn.BatchNorm1d(8, affine=False), nn.InstanceNorm1d(8)])
def test_a_bias_before_a_normalisation(norm: nn.Module) -> None:
    parameters = observe(model=Chain(norm=norm)).parameters
    assert {name: facts.removed_by for name, facts in parameters.items() if facts.removed_by} == {"conv.bias": "norm"}


@pytest.mark.parametrize(
    ("norm", "between"),
    [
        (nn.GroupNorm(2, 8), lambda x: x),
        (nn.BatchNorm1d(8), torch.relu),
        (nn.BatchNorm1d(8), lambda x: x + 1),
    ],
)
def test_a_bias_that_is_of_use(norm: nn.Module, between: Callable[[Tensor], Tensor]) -> None:
    parameters = observe(model=Chain(norm=norm, between=between)).parameters
    assert not any(facts.removed_by for facts in parameters.values())


def test_a_normalisation_in_evaluation_mode_takes_nothing_out() -> None:
    parameters = observe(lambda model, step: model.eval(), Chain(norm=nn.BatchNorm1d(8))).parameters
    assert not any(facts.removed_by for facts in parameters.values())


# -- without gradients --------------------------------------------------------------------------------


def test_an_evaluation_in_training_mode() -> None:
    def evaluate(model: nn.Module, step: int) -> None:
        if step % 4 == 3:
            with torch.no_grad():
                for _ in range(3):
                    F.cross_entropy(model(torch.randn(5, 4)), torch.randint(2, (5,)))

    history = observe(evaluate)
    assert len(phases(history)) == 3
    for phase in phases(history):
        assert (phase["runs"], phase["losses"], phase["repeated"], phase["trained_on"]) == (3, 3, 0, 0)
        assert (phase["in_training_mode"], phase["on"], phase["off"]) == (3, ["norm", "drop"], 0)
        assert (phase["feeds_loss"], phase["comes_last"], phase["share"]) == (True, True, 1.0)
        assert not phase["shape_of_training"]
        assert phase["file"] == __file__
    assert [event.step for event in history.events("ran-without-gradients")] == [3, 7, 11]


def test_training_mode_set_inside_of_an_evaluation() -> None:
    @torch.inference_mode()
    def evaluate(model: nn.Module, step: int) -> None:
        model.train()
        model(torch.randn(5, 4))

    assert {tuple(phase["on"]) for phase in phases(observe(evaluate))} == {("norm", "drop")}


def test_the_same_input_again() -> None:
    held_out = torch.randn(7, 4)

    @torch.no_grad()
    def sample(model: nn.Module, step: int) -> None:
        results = [model(held_out) for _ in range(4)]
        assert results

    for number, phase in enumerate(phases(observe(sample))):
        assert (phase["runs"], phase["repeated"], phase["known_input"]) == (4, 3, number > 0)


def test_the_batch_just_trained_on() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(STEPS):
            x, y = torch.randn(16, 4), torch.randint(2, (16,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                accuracy = (model(x.clone()).argmax(1) == y).float().mean()
                assert accuracy >= 0
    assert {phase["trained_on"] for phase in phases(watch.history)} == {1}


def test_results_that_nobody_uses() -> None:
    @torch.no_grad()
    def estimate(model: nn.Module, step: int) -> None:
        for _ in range(3):
            model(torch.randn(5, 4))

    assert {phase["dropped"] for phase in phases(observe(estimate))} == {3}


def test_statistics_averaged_over_the_data() -> None:
    @torch.no_grad()
    def estimate(model: nn.Module, step: int) -> None:
        model.norm.momentum = None
        assert model(torch.randn(5, 4)) is not None

    assert {tuple(phase["on"]) for phase in phases(observe(estimate))} == {("drop",)}


def test_a_teacher_is_not_trained() -> None:
    teacher = copy.deepcopy(Net())

    @torch.no_grad()
    def target(model: nn.Module, step: int) -> None:
        assert teacher(torch.randn(5, 4)) is not None

    assert phases(observe(target)) == []


def test_reentrant_checkpointing_runs_without_gradients_and_is_training() -> None:
    class Checkpointed(Net):
        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            return self.fc2(checkpoint(nn.Sequential(self.norm, self.drop), h, use_reentrant=True))

    history = observe(model=Checkpointed())
    assert phases(history) == []
    assert history.modes["drop (optimizer)"].on == STEPS


def test_a_generator_does_not_feed_a_loss() -> None:
    generator, critic = Net(), nn.Linear(2, 1)
    optimizer = torch.optim.SGD([*generator.parameters(), *critic.parameters()], lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(critic(generator(torch.randn(16, 4))), torch.ones(16, 1)).backward()
            optimizer.step()
            with torch.no_grad():
                assert generator(torch.randn(9, 4)) is not None
    assert {(phase["feeds_loss"], phase["comes_last"]) for phase in phases(watch.history)} == {(False, False)}


# -- a guest ------------------------------------------------------------------------------------------


def test_it_keeps_nothing_alive() -> None:
    def run() -> tuple[History, list[weakref.ref[Any]]]:
        model, held_out = Net(), torch.randn(7, 4)

        def evaluate(model: nn.Module, step: int) -> None:
            with torch.no_grad():
                assert model(held_out) is not None

        return observe(evaluate, model), [weakref.ref(thing) for thing in (model, model.drop, held_out)]

    history, references = run()
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]
    assert history.modes


def test_it_is_one_of_the_collectors() -> None:
    assert ModesCollector in COLLECTORS


def test_modes_survive_storage() -> None:
    history = observe()
    again = History.from_arrays(*history.to_arrays())
    assert again.modes == history.modes
