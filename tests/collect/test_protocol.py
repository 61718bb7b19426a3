"""The per-optimizer state machine: which loops use old gradients, and which only look as if they did."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import History

STEPS = 12
Loop = Callable[[nn.Module, torch.optim.Optimizer, list[Tensor]], None]


def observe(loop: Loop, make: Callable[..., torch.optim.Optimizer] = torch.optim.SGD) -> History:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = make(model.parameters(), lr=0.01)
    batches = [torch.randn(8, 4) for _ in range(STEPS)]
    with diagnose.watch(schedule="every", summary=False) as watch:
        loop(model, optimizer, batches)
    assert watch.history.count("collector-failed") == 0
    return watch.history


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    return F.mse_loss(model(x), x.sum(1, keepdim=True))


def usual(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()


def zero_after(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def model_zero_grad(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        model.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.data.zero_()  # does not even bump the version counter
        loss_of(model, x).backward()
        optimizer.step()


def by_none(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        for parameter in model.parameters():
            parameter.grad = None
        loss_of(model, x).backward()
        optimizer.step()


def accumulating(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for index, x in enumerate(batches):
        (loss_of(model, x) / 3).backward()
        if index % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()


def two_losses(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        (1e-4 * sum(p.square().sum() for p in model.parameters())).backward()  # type: ignore[union-attr]
        optimizer.step()


def gradients_written_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        gradients = torch.autograd.grad(loss_of(model, x), list(model.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def logging_backward(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad()
        loss_of(model, x).backward()  # only to look at


def with_closure(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:

        def closure(x: Tensor = x) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, x)
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]


def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()


HEALTHY = [
    usual, zero_after, model_zero_grad, by_hand, by_none, accumulating, two_losses, gradients_written_by_hand,
    logging_backward, with_closure, clipped,
]  # fmt: skip


@pytest.mark.parametrize("loop", HEALTHY, ids=lambda f: f.__name__)
def test_healthy_loops(loop: Loop) -> None:
    history = observe(loop)
    assert history.count("stale-gradients") == 0
    assert history.count("no-new-gradient") == 0


def test_lbfgs_is_healthy() -> None:
    history = observe(with_closure, torch.optim.LBFGS)
    assert history.count("stale-gradients") == history.count("no-new-gradient") == 0
    (facts,) = history.optimizers.values()
    assert facts.closures == STEPS


def test_never_cleared() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            loss_of(model, x).backward()
            optimizer.step()

    history = observe(loop)
    assert history.count("stale-gradients") == STEPS - 1
    assert history.count("no-new-gradient") == 0


def test_another_model_is_cleared() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        other = nn.Linear(2, 2)
        for x in batches:
            other.zero_grad()
            loss_of(model, x).backward()
            optimizer.step()

    assert observe(loop).count("stale-gradients") == STEPS - 1


def test_a_closure_that_does_not_clear() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:

            def closure(x: Tensor = x) -> Tensor:
                loss = loss_of(model, x)
                loss.backward()
                return loss

            optimizer.step(closure)  # type: ignore[arg-type]

    assert observe(loop).count("stale-gradients") == STEPS - 1


def test_cleared_between_backward_and_step() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            loss_of(model, x).backward()
            optimizer.zero_grad()
            optimizer.step()

    assert observe(loop).count("no-new-gradient") == STEPS


def test_no_backward_at_all() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            loss_of(model, x)
            optimizer.step()

    assert observe(loop).count("no-new-gradient") == STEPS


def test_two_steps_per_backward() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.step()
            optimizer.step()

    assert observe(loop).count("no-new-gradient") == STEPS


def test_alternating_optimizers_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    optimizer_g, optimizer_d = (torch.optim.Adam(m.parameters()) for m in (generator, critic))
    with diagnose.watch(schedule="every", summary=False) as watch:
        for index in range(STEPS):
            optimizer_d.zero_grad()
            (critic(generator(torch.randn(8, 2)).detach()).mean() - critic(torch.randn(8, 4)).mean()).backward()
            optimizer_d.step()
            if index % 3 == 2:
                optimizer_g.zero_grad()
                (-critic(generator(torch.randn(8, 2))).mean()).backward()  # adds to the critic's gradients
                optimizer_g.step()
    assert watch.history.count("stale-gradients") == watch.history.count("no-new-gradient") == 0
    assert {name: f.steps for name, f in watch.history.optimizers.items()} == {
        "optimizer_d": 12,
        "optimizer_g": 4,
    }
    # Each has its own clock, though they share quantities.
    assert watch.history.series("loss", "optimizer_g").steps.tolist() == [1, 2, 3, 4]


def test_norm_before_and_after_clipping() -> None:
    history = observe(clipped)
    before = history.series("grad_norm_before_clip", "optimizer").values
    after = history.series("grad_norm", "optimizer").values
    assert (before[1:] > 0.01).all()
    assert after.tolist() == pytest.approx([0.01] * len(after), rel=1e-3)
    assert history.count("clipped") == STEPS - 1  # the optimizer is only discovered at its first step


def test_skipped_steps_of_a_scaler() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=100)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = 1e3 * loss_of(model, torch.randn(8, 4))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    history = watch.history
    assert history.count("step-skipped") > 0
    assert history.run.steps + history.count("step-skipped") == STEPS
    assert history.count("non-finite") == 0
    assert (history.series("loss", "optimizer").values < 1e6).all(), "the loss is recorded unscaled"


def test_learning_rates_are_recorded_when_they_change() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with diagnose.watch(model, optimizer, summary=False, schedule="every") as watch:
        for _ in range(20):
            optimizer.zero_grad()
            loss_of(model, torch.randn(8, 4)).backward()
            optimizer.step()
            scheduler.step()
    assert watch.history.series("lr", "optimizer/0").values.tolist() == [0.5**k for k in range(20)]


def test_optimizers_that_take_turns_are_both_sampled_and_those_of_the_past_are_forgotten() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    with diagnose.watch(summary=False) as watch:
        for _ in range(6):  # one optimizer after the other, as in a program that makes a new one each epoch
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(50):
                optimizer.zero_grad()
                loss_of(model, torch.randn(8, 4)).backward()
                optimizer.step()
        in_sequence = watch.history.run.sampled
        critic = nn.Linear(4, 1)
        pair = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (model, critic)]
        for _ in range(400):
            for side, its_model in zip(pair, (model, critic), strict=True):
                side.zero_grad()
                loss_of(its_model, torch.randn(8, 4)).backward()
                side.step()
    assert in_sequence < 150
    counts = [len(watch.history.series("grad_norm", name)) for name in list(watch.history.optimizers)[-2:]]
    assert min(counts) >= 5
    assert max(counts) <= 2 * min(counts)
