"""Assertions about trainings: on healthy ones, on faulty ones, and on what is no training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from diagnose.errors import CheckError, CheckFailedError, ConfigError
from diagnose.testing import (
    assert_all_parameters_update,
    assert_frozen,
    assert_no_dead_units,
    assert_no_saturation,
    assert_trains,
    assert_update_ratio_between,
)
from tests.support import leaks

X = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
CROSS_ENTROPY = nn.functional.cross_entropy


def net(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), activation(), nn.Linear(32, 2))


def train(model: nn.Module | None = None, *, clear: bool = True, lr: float = 0.1, steps: int = 1000) -> None:
    model = net() if model is None else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        CROSS_ENTROPY(model(X), Y).backward()
        optimizer.step()


# ---------------------------------------------------------------------- assert_trains


def test_a_function_is_stopped_after_its_steps() -> None:
    watch = assert_trains(train, steps=30)
    assert watch.history.run.steps == 30 == watch.history.run.sampled


def test_a_function_that_makes_one_step_is_called_again() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        CROSS_ENTROPY(model(X), Y).backward()
        optimizer.step()

    assert assert_trains(step, steps=25).history.run.steps == 25


def test_a_loop_is_advanced_and_closed() -> None:
    closed = []

    def loop() -> Iterator[None]:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        try:
            while True:
                for _ in range(2):  # accumulates
                    (CROSS_ENTROPY(model(X), Y) / 2).backward()
                    yield
                optimizer.step()
                optimizer.zero_grad()
        finally:
            closed.append(True)

    for training in (loop, loop()):
        assert assert_trains(training, steps=12).history.run.steps == 12
    assert closed == [True, True]


def test_a_module_is_trained_on_a_copy() -> None:
    model = nn.Sequential(net(), nn.BatchNorm1d(2), nn.Dropout(0.1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    found = leaks.take()
    assert_trains(model, X, Y, loss_fn=CROSS_ENTROPY, steps=20)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert not leaks.left_behind(found)


def test_findings_fail_it_and_are_told_with_their_numbers() -> None:
    with pytest.raises(CheckFailedError) as failure:
        assert_trains(lambda: train(clear=False), steps=40)
    assert [finding.code for finding in failure.value.findings] == ["gradients-not-cleared"]
    text = str(failure.value)
    for part in (
        "in 40 steps of SGD",
        "evidence: stale steps 39",
        "try: Call optimizer.zero_grad()",
        "diagnose explain",
    ):
        assert part in text
    assert "run this test again: pytest " in text and "test_findings_fail_it" in text


def test_findings_can_be_ignored_selected_and_graded() -> None:
    assert_trains(lambda: train(clear=False), steps=40, ignore=["gradients-not-cleared"])
    assert_trains(lambda: train(clear=False), steps=40, select=["dead-units"])
    with pytest.raises(CheckFailedError):
        assert_trains(lambda: train(clear=False), steps=40, fail_on="error")
    with pytest.raises(ConfigError, match='there is no rule "dead-unit"'):
        assert_trains(train, steps=40, ignore=["dead-unit"])
    with pytest.raises(ValueError, match="fail_on='never'"):
        assert_trains(train, fail_on="never")  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [lambda: None, lambda: (i for i in range(10**9)), [1, 2]])
def test_no_step_is_a_failure(training: object) -> None:
    with pytest.raises(CheckFailedError, match="no-optimizer-step"):
        assert_trains(training, steps=3)  # type: ignore[arg-type]


def test_what_is_no_training_is_an_error() -> None:
    with pytest.raises(CheckError, match="An object of type int is no training"):
        assert_trains(3)  # type: ignore[arg-type]
    with pytest.raises(CheckError, match="give inputs"):
        assert_trains(net())
    with pytest.raises(CheckError, match="go with a module"):
        assert_trains(train, X)
    with pytest.raises(CheckError, match="steps=0"):
        assert_trains(train, steps=0)
    with pytest.raises(CheckError, match="nothing to train"):
        assert_trains(net().requires_grad_(False), X, Y, loss_fn=CROSS_ENTROPY)


def test_what_the_training_raises_comes_out_and_nothing_is_left_behind() -> None:
    found = leaks.take()

    def broken() -> None:
        train(steps=3)
        raise KeyError("batch")

    with pytest.raises(KeyError, match="batch"):
        assert_trains(broken)
    assert not leaks.left_behind(found)


# ---------------------------------------------------------------------- units


def test_units_that_live_pass_and_units_that_died_do_not() -> None:
    assert_no_dead_units(train)
    assert_no_dead_units(train, at_most=0.0)
    dead = net()
    with torch.no_grad():
        dead[0].bias.fill_(-100)
    with pytest.raises(CheckFailedError, match=r"100 % of the 32 units of 1 \(relu\)"):
        assert_no_dead_units(dead, X, Y, loss_fn=CROSS_ENTROPY)
    with torch.no_grad():
        dead[0].bias[16:] = 0
    assert_no_dead_units(dead, X, Y, loss_fn=CROSS_ENTROPY)  # half of them may be, by chance
    with pytest.raises(CheckFailedError, match="10 % may be"):
        assert_no_dead_units(dead, X, Y, loss_fn=CROSS_ENTROPY, at_most=0.1)


def test_units_that_are_not_saturated_pass_and_saturated_ones_do_not() -> None:
    assert_no_saturation(net(nn.Tanh), X, Y, loss_fn=CROSS_ENTROPY)
    with pytest.raises(CheckFailedError, match="saturated-units"):
        assert_no_saturation(net(nn.Tanh), 100 * X, Y, loss_fn=CROSS_ENTROPY)
    with pytest.raises(CheckFailedError, match=r"0\.001 % may be"):
        assert_no_saturation(net(nn.Tanh), 10 * X, Y, loss_fn=CROSS_ENTROPY, at_most=1e-5)


def test_an_assertion_that_saw_nothing_fails() -> None:
    with pytest.raises(CheckFailedError, match="nothing to assert: no tanh, sigmoid or their like"):
        assert_no_saturation(train)
    with pytest.raises(CheckFailedError, match="nothing to assert: no ReLU or its like"):
        assert_no_dead_units(net(nn.Tanh), X, Y, loss_fn=CROSS_ENTROPY)
    dead = net()
    with torch.no_grad():
        dead[0].bias.fill_(-100)
    with pytest.raises(CheckFailedError, match="for 64 examples"):
        assert_no_dead_units(dead, X[:2], Y[:2], loss_fn=CROSS_ENTROPY, steps=3)
    with pytest.raises(CheckFailedError, match="no-optimizer-step"):
        assert_no_dead_units(lambda: None)


# ---------------------------------------------------------------------- updates


class Forgetful(nn.Module):
    """Has a layer that is never called, one that is detached, and one that nobody optimises."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused, self.last = nn.Linear(10, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu().detach())


def test_all_parameters_update_or_the_reason_is_told() -> None:
    assert_all_parameters_update(train)
    with pytest.raises(CheckFailedError) as failure:
        assert_all_parameters_update(Forgetful(), X, Y, loss_fn=CROSS_ENTROPY)
    assert "4 of 6 parameters did not change in 20 steps of Adam" in str(failure.value)
    causes = {finding.where.parameter: finding.cause for finding in failure.value.findings}
    assert causes["unused.weight"].startswith("Its module never ran")
    assert causes["first.weight"].startswith("No gradient reaches it")
    assert_all_parameters_update(Forgetful(), X, Y, loss_fn=CROSS_ENTROPY, ignore=["unused.*", "first.*"])

    def train_head() -> None:
        model = net()
        optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            CROSS_ENTROPY(model(X), Y).backward()
            optimizer.step()

    with pytest.raises(CheckFailedError, match="No optimizer holds it"):
        assert_all_parameters_update(train_head)


def frozen_net() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model[:2].requires_grad_(False)
    return model


def test_frozen_parameters_stay_and_what_moves_is_named() -> None:
    model = frozen_net()
    with pytest.raises(CheckFailedError, match=r"1.running_mean and 2 more are to be frozen"):
        assert_frozen(model, X, Y, loss_fn=CROSS_ENTROPY)
    assert_frozen(model, X, Y, loss_fn=CROSS_ENTROPY, buffers=False)
    assert_frozen(model, X, Y, loss_fn=CROSS_ENTROPY, frozen="0.*")
    with pytest.raises(CheckFailedError, match=r"2 of 2 frozen tensors changed"):
        assert_frozen(model, X, Y, loss_fn=CROSS_ENTROPY, frozen=model[3])
    with pytest.raises(CheckError, match=r"frozen='encoder.\*' matches no parameter"):
        assert_frozen(model, X, Y, loss_fn=CROSS_ENTROPY, frozen=["0.*", "encoder.*"])
    with pytest.raises(CheckError, match="Nothing is frozen"):
        assert_frozen(net(), X, Y, loss_fn=CROSS_ENTROPY)


def test_frozen_in_a_function() -> None:
    model = frozen_net()
    model[1].eval()
    assert_frozen(lambda: train(model), model=model)
    model[1].train()
    with pytest.raises(CheckFailedError, match="running_mean"):
        assert_frozen(lambda: train(model), frozen=model[1])
    with pytest.raises(CheckError, match="give model="):
        assert_frozen(lambda: train(model))

    def decays() -> None:  # no gradient, and yet it moves
        for parameter in model[0].parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
        for _ in range(3):
            optimizer.step()

    with pytest.raises(CheckFailedError, match=r"0.weight and 1 more"):
        assert_frozen(decays, model=model, frozen="0.*")


def test_update_ratios() -> None:
    assert_update_ratio_between(train)
    with pytest.raises(CheckFailedError, match=r"update-too-small in 2.weight"):
        assert_update_ratio_between(lambda: train(lr=1e-9))
    with pytest.raises(CheckFailedError, match=r"update-too-large in"):
        assert_update_ratio_between(train, 1e-9, 1e-8)
    assert_update_ratio_between(lambda: train(lr=1e-4), 0, 1e-2)
    with pytest.raises(ValueError, match=r"low=1, high=0\.5"):
        assert_update_ratio_between(train, 1, 0.5)
    with pytest.raises(CheckFailedError, match="nothing to assert"):
        assert_update_ratio_between(train, ignore=["*"])
