"""Discarded passes, doubled steps, clipping in the wrong place: loops that have them, and loops that only look so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import EventKind, History

STEPS = 12
KINDS: tuple[EventKind, ...] = (
    "gradients-discarded", "stepped-twice", "stepped-by-both", "clipped-too-late", "clipped-while-scaled",
)  # fmt: skip
Loop = Callable[[nn.Module, torch.optim.Optimizer, list[Tensor]], None]


def observe(loop: Loop) -> History:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = [torch.randn(8, 4) for _ in range(STEPS)]
    with diagnose.watch(schedule="every", summary=False) as watch:
        loop(model, optimizer, batches)
    assert watch.history.count("collector-failed") == 0
    return watch.history


def counts(history: History) -> dict[str, int]:
    return {kind: count for kind in KINDS if (count := history.count(kind))}


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    return F.mse_loss(model(x), x.sum(1, keepdim=True))


def backward_of(model: nn.Module, x: Tensor) -> None:
    loss_of(model, x).backward()


# -- faults ----------------------------------------------------------------------------------------


def clear_by_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()


def clear_by_model(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.zero_grad(set_to_none=False)


def clear_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = None


@pytest.mark.parametrize("clear", [clear_by_optimizer, clear_by_model, clear_by_hand])
@pytest.mark.parametrize("clipped", [False, True])
def test_cleared_inside_of_accumulation(clear: Callable[..., None], clipped: bool) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            for part in x.split(2):
                clear(model, optimizer)
                loss_of(model, part).backward()
            if clipped:
                nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
                nn.utils.clip_grad_value_(model.parameters(), 1e-4)
            optimizer.step()

    history = observe(loop)
    # The first step makes the optimizer known, the second the line under suspicion.
    assert counts(history) == {"gradients-discarded": STEPS - 2}
    (first, *_) = history.events("gradients-discarded")
    assert (first.detail["discarded"], first.detail["used"], first.detail["same_line"]) == (3, 1, True)
    assert str(first.detail["file"]).endswith("test_steps.py")


def test_cleared_before_each_step() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            backward_of(model, x)
            optimizer.zero_grad()
            optimizer.step()

    history = observe(loop)
    assert history.count("gradients-discarded") >= STEPS - 3
    assert all(event.detail["used"] == 0 for event in history.events("gradients-discarded"))


def test_two_losses_with_clearing_in_between() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.zero_grad()
            loss_of(model, -x).backward()
            optimizer.step()

    history = observe(loop)
    assert counts(history) == {"gradients-discarded": STEPS - 3}
    assert not any(event.detail["same_line"] for event in history.events("gradients-discarded"))


@pytest.mark.parametrize("to_none", [False, True])
def test_what_a_cleared_pass_alone_leads_to(to_none: bool) -> None:
    torch.manual_seed(0)
    body, kept, lost = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)
    model = nn.ModuleDict({"body": body, "kept": kept, "lost": lost})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(STEPS):
            hidden = body(torch.randn(8, 4))
            optimizer.zero_grad(to_none)
            lost(hidden).square().mean().backward(retain_graph=True)
            optimizer.zero_grad(to_none)
            kept(hidden).square().mean().backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    *_, latest = watch.history.events("gradients-discarded")
    assert latest.detail["deprived"] == ["lost.bias", "lost.weight"]


def test_a_look_at_the_gradients_of_parts_of_a_loss_deprives_nothing() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.zero_grad()
            (loss_of(model, x) + loss_of(model, -x)).backward()
            optimizer.step()

    events = list(observe(loop).events("gradients-discarded"))
    assert events
    assert not any(event.detail["deprived"] for event in events)


def test_two_optimizers_step_with_one_gradient() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        other = torch.optim.Adam(model.parameters())
        for x in batches:
            optimizer.zero_grad()
            backward_of(model, x)
            optimizer.step()
            other.step()

    history = observe(loop)
    assert history.count("stepped-twice", "other") >= STEPS - 2
    assert history.count("stepped-twice", "optimizer") == 0
    (first, *_) = history.events("stepped-twice")
    assert (first.detail["other"], first.detail["parameters"]) == ("optimizer", 4)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_critic_that_the_optimizer_of_its_opponent_moves_too(stacked: bool) -> None:
    def loop(critic: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        generator = nn.Linear(4, 4)
        stack = nn.Sequential(generator, critic)
        opponent = torch.optim.SGD((stack if stacked else generator).parameters(), lr=1e-3)
        for x in batches:
            optimizer.zero_grad()
            loss_of(critic, generator(x).detach()).backward()
            optimizer.step()
            opponent.zero_grad()
            (-loss_of(stack, x)).backward()
            opponent.step()

    history = observe(loop)
    assert history.count("stepped-twice") == 0
    assert history.count("stepped-by-both") == (STEPS - 1 if stacked else 0)


def test_the_encoder_of_an_adversarial_autoencoder() -> None:
    """Two optimizers hold it, each with a loss of its own, and something else comes behind it in both."""

    def loop(encoder: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        decoder, critic = nn.Linear(1, 4), nn.Linear(1, 1)
        both = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
        for x in batches:
            both.zero_grad()
            (decoder(encoder(x)) - x).square().mean().backward()
            both.step()
            optimizer.zero_grad()
            critic(encoder(x)).mean().backward()
            optimizer.step()

    assert not counts(observe(loop))


def by_norm(parameters: Any) -> None:
    nn.utils.clip_grad_norm_(parameters, 1e-3)


def by_value(parameters: Any) -> None:
    nn.utils.clip_grad_value_(parameters, 1e-3)


@pytest.mark.parametrize("clip", [by_norm, by_value])
@pytest.mark.parametrize("to_none", [False, True])
def test_clipped_after_the_step(clip: Callable[[Any], None], to_none: bool) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            backward_of(model, x)
            optimizer.step()
            clip(model.parameters())
            optimizer.zero_grad(set_to_none=to_none)

    history = observe(loop)
    assert counts(history) == {"clipped-too-late": STEPS - 1}
    assert all(event.detail["after_step"] for event in history.events("clipped-too-late"))


def test_clipped_before_backward() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            by_norm(model.parameters())
            backward_of(model, x)
            optimizer.step()

    history = observe(loop)
    assert counts(history) == {"clipped-too-late": STEPS - 1}
    assert not any(event.detail["after_step"] for event in history.events("clipped-too-late"))


@pytest.mark.parametrize("clip", [by_norm, by_value])
def test_clipped_while_scaled(clip: Callable[[Any], None]) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for x in batches:
            optimizer.zero_grad()
            scaler.scale(loss_of(model, x)).backward()
            clip(model.parameters())
            scaler.step(optimizer)
            scaler.update()

    history = observe(loop)
    assert counts(history) == {"clipped-while-scaled": STEPS - 1}
    assert {event.detail["scale"] for event in history.events("clipped-while-scaled")} == {1024.0}


# -- look-alikes ------------------------------------------------------------------------------------


def left_over(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        for index, part in enumerate([*x.split(2), x[:2], x[2:4], x[4:6]]):  # 7 of them, 4 to a step
            (loss_of(model, part) / 4).backward()
            if index == 3:
                optimizer.step()
                optimizer.zero_grad()


def first_half_of_sam(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        optimizer.zero_grad()
        backward_of(model, x)
        moves = [0.05 * p.grad for p in model.parameters() if p.grad is not None]
        for parameter, move in zip(model.parameters(), moves, strict=True):
            parameter.data.add_(move)  # does not even bump the version counter
        optimizer.zero_grad()
        backward_of(model, x)
        for parameter, move in zip(model.parameters(), moves, strict=True):
            parameter.data.sub_(move)
        optimizer.step()


def gradient_surgery(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        parts = []
        for task in (x, -x.square()):
            optimizer.zero_grad()
            backward_of(model, task)
            parts.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for parameter, one, two in zip(model.parameters(), *parts, strict=True):
            assert parameter.grad is not None
            parameter.grad.data.copy_(one + two)
        optimizer.step()


def attack_on_the_inputs(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        x = x.clone().requires_grad_()
        backward_of(model, x)
        assert x.grad is not None
        x = (x + 0.1 * x.grad.sign()).detach()
        optimizer.zero_grad()
        backward_of(model, x)
        optimizer.step()
        optimizer.zero_grad()


def steps_skipped_by_a_scaler(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    for x in batches * 3:
        optimizer.zero_grad()
        scaler.scale(1e3 * loss_of(model, x)).backward()
        scaler.unscale_(optimizer)
        by_norm(model.parameters())
        scaler.step(optimizer)
        scaler.update()


def norm_after_the_step(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        backward_of(model, x)
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
        optimizer.zero_grad()


def closure_that_clips(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:

        def closure(x: Tensor = x) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, x)
            loss.backward()
            by_norm(model.parameters())
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]


def gradients_written_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for x in batches:
        gradients = torch.autograd.grad(loss_of(model, x), list(model.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        by_norm(model.parameters())
        optimizer.step()


def shared_but_with_gradients_of_its_own(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]
) -> None:
    other = torch.optim.Adam(model.parameters())
    for x in batches:
        for one in (optimizer, other):
            one.zero_grad()
            backward_of(model, x)
            one.step()


def one_after_the_other(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for one in (optimizer, torch.optim.Adam(model.parameters())):
        for x in batches:
            backward_of(model, x)
            one.step()
            one.zero_grad()


LOOK_ALIKES = [
    left_over, first_half_of_sam, gradient_surgery, attack_on_the_inputs, steps_skipped_by_a_scaler,
    norm_after_the_step, closure_that_clips, gradients_written_by_hand, shared_but_with_gradients_of_its_own,
    one_after_the_other,
]  # fmt: skip


@pytest.mark.parametrize("loop", LOOK_ALIKES, ids=lambda f: f.__name__)
def test_look_alikes(loop: Loop) -> None:
    assert counts(observe(loop)) == {}


def test_a_critic_clears_what_the_generator_left_in_it() -> None:
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    optimizer_g, optimizer_d = (torch.optim.Adam(m.parameters()) for m in (generator, critic))

    def train(side: torch.optim.Optimizer, loss: Tensor) -> None:
        side.zero_grad()
        loss.backward()
        side.step()

    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(STEPS):
            real, fake = torch.randn(8, 4), generator(torch.randn(8, 2))
            train(optimizer_d, critic(fake.detach()).mean() - critic(real).mean())
            train(optimizer_g, -critic(fake).mean())
    assert watch.history.count("collector-failed") == 0
    assert counts(watch.history) == {}
