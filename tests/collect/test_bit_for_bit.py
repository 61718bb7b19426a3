"""Watching changes nothing: every training here is run twice, with and without, and compared bit for bit."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo import convert_frame
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.collect.session import Session

STEPS = 12


def batches(shape: tuple[int, ...], classes: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        yield (
            torch.randn(8, *shape, generator=generator),
            torch.randint(classes, (8,), generator=generator),
        )


def classify(model: nn.Module, optimizer: torch.optim.Optimizer, shape: tuple[int, ...] = (10,)) -> list[Tensor]:
    losses = []
    for x, y in batches(shape, 3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


Outcome = tuple[list[Any], list[nn.Module], list[torch.optim.Optimizer]]


def run_mlp_sgd() -> Outcome:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return classify(model, optimizer), [model], [optimizer]


def run_conv_batchnorm_dropout() -> Outcome:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 3),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = classify(model, optimizer, (3, 8, 8))
    model.eval()
    with torch.no_grad():
        losses.append(F.cross_entropy(model(torch.ones(2, 3, 8, 8)), torch.tensor([0, 1])))
    model.train()
    return losses, [model], [optimizer]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 12, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def run_lstm() -> Outcome:
    model = Recurrent()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, foreach=False)
    losses = []
    for x, y in batches((6, 5), 3):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        model.zero_grad()
        losses.append(loss.detach())
    return losses, [model], [optimizer]


class Transformer(nn.Module):
    """An encoder that is also evaluated between steps: in eval mode torch takes another path, with other bits."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


def run_transformer() -> Outcome:
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for x, y in batches((5, 16), 3):
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            losses.append(F.cross_entropy(model(x), y))
        with torch.inference_mode():
            losses.append(model(x).clone())
        model.train()
        losses.append(loss.detach())
    return losses, [model], [optimizer]


def run_frozen_teacher_in_eval_mode() -> Outcome:
    """A frozen encoder takes the fast path even where gradients are on."""
    teacher, student = Transformer().eval().requires_grad_(False), Transformer()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    losses = []
    for x, _ in batches((5, 16), 3):
        optimizer.zero_grad()
        loss = F.mse_loss(student(x), teacher(x))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, [teacher, student], [optimizer]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.mix(self.embedding(x))))


def run_tied_accumulation() -> Outcome:
    model = Tied()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    losses = []
    generator = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        for _ in range(3):
            x = torch.randint(20, (4, 6), generator=generator)
            loss = F.cross_entropy(model(x).flatten(0, 1), x.roll(1, 1).flatten()) / 3
            loss.backward()
            losses.append(loss.detach())
        optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None
    return losses, [model], [optimizer]


def run_sparse_embedding() -> Outcome:
    embedding, head = nn.Embedding(30, 8, sparse=True), nn.Linear(8, 3)
    optimizers = [
        torch.optim.Adagrad(embedding.parameters(), lr=0.1),
        torch.optim.SGD(head.parameters(), lr=0.1),
    ]
    losses = []
    generator = torch.Generator().manual_seed(5)
    for _ in range(STEPS):
        x = torch.randint(30, (8, 4), generator=generator)
        loss = F.cross_entropy(head(embedding(x).mean(1).tanh()), x[:, 0] % 3)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.detach())
    return losses, [embedding, head], list(optimizers)


def run_lbfgs() -> Outcome:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    losses = []
    for x, y in batches((10,), 3):

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        losses.append(torch.as_tensor(optimizer.step(closure)).detach())
    return losses, [model], [optimizer]


def run_amp_with_scaler() -> Outcome:
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    losses = []
    for x, y in batches((10,), 3):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses += [loss.detach(), torch.tensor(scaler.get_scale())]
    return losses, [model], [optimizer]


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
        self.head = nn.Linear(10, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.inner, x.requires_grad_(), use_reentrant=self.reentrant))


def run_checkpoint() -> Outcome:
    model = Checkpointed(reentrant=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return classify(model, optimizer), [model], [optimizer]


def run_checkpoint_reentrant() -> Outcome:
    model = Checkpointed(reentrant=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return classify(model, optimizer), [model], [optimizer]


def run_gan() -> Outcome:
    generator, critic = (
        nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 10), nn.Tanh()),
        mlp(),
    )
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=1e-3)
    losses = []
    for index, (x, _) in enumerate(batches((10,), 3)):
        fake = generator(torch.randn(8, 4))
        optimizer_d.zero_grad()
        mixed = (0.5 * x + 0.5 * fake.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        loss_d = critic(fake.detach()).mean() - critic(x).mean() + (slope.norm(dim=1) - 1).pow(2).mean()
        loss_d.backward()
        optimizer_d.step()
        losses.append(loss_d.detach())
        if index % 2:
            optimizer_g.zero_grad()
            loss_g = -critic(fake).mean()
            loss_g.backward()
            optimizer_g.step()
            losses.append(loss_g.detach())
    return losses, [generator, critic], [optimizer_g, optimizer_d]


class Meddlesome(nn.Module):
    """Counts its calls, changes its input in place, keeps a list, draws from its own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.calls = 0
        self.seen: list[int] = []
        self.noise = torch.Generator().manual_seed(11)
        self.register_buffer("average", torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(len(x))
        x.mul_(0.9)
        self.average.lerp_(x.mean(0), 0.1)
        return self.inner(x + 0.1 * torch.randn(x.shape, generator=self.noise) + random.random() + np.random.rand())


def run_meddlesome() -> Outcome:
    model = Meddlesome()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[Any] = list(classify(model, optimizer))
    return [*losses, model.calls, model.seen, model.noise.get_state()], [model], [optimizer]


class Counting(nn.Module):
    """Compiled, and counts its calls all the same; has hooks of its user's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.calls = 0
        self.seen: list[int] = []
        self.register_buffer("average", torch.zeros(10))
        self.inner[1].register_forward_hook(lambda *_: self.seen.append(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x.mul_(0.9)
        self.average.lerp_(x.mean(0), 0.1)
        return self.inner(x + self.average)


def compiled(backend: str, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> Outcome:
    torch._dynamo.reset()
    frames = convert_frame.FRAME_COUNTER
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fast = torch.compile(model, backend=backend)
    losses: list[Any] = list(classify(fast, optimizer, shape))
    extra = [model.calls, model.seen] if isinstance(model, Counting) else []
    return [*losses, *extra, convert_frame.FRAME_COUNTER - frames], [model], [optimizer]


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(4 * 36, 3),
    )


def run_compiled_eager() -> Outcome:
    return compiled("eager", conv, (3, 8, 8))


def run_compiled_aot_eager() -> Outcome:
    return compiled("aot_eager", conv, (3, 8, 8))


def run_compiled_counting() -> Outcome:
    return compiled("eager", Counting, (10,))


def compiled_in_place(compile: Callable[[nn.Module], object]) -> Outcome:
    torch._dynamo.reset()
    frames = convert_frame.FRAME_COUNTER
    model = conv()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compile(model)
    losses: list[Any] = list(classify(model, optimizer, (3, 8, 8)))
    return [*losses, convert_frame.FRAME_COUNTER - frames], [model], [optimizer]


def run_compiled_in_place() -> Outcome:
    return compiled_in_place(lambda model: model.compile(backend="aot_eager"))


def run_compiled_layer_by_layer() -> Outcome:
    return compiled_in_place(lambda model: [layer.compile(backend="eager") for layer in model.children()])


def compile_forward(model: nn.Module) -> None:
    model.forward = torch.compile(model.forward, backend="aot_eager")  # type: ignore[method-assign]


def run_compiled_forward() -> Outcome:
    return compiled_in_place(compile_forward)


def run_compiled_function() -> Outcome:
    """Only the loss is compiled: the model's forward is eager, under our hooks until dynamo shows up."""
    torch._dynamo.reset()
    frames = convert_frame.FRAME_COUNTER
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    losses: list[Any] = []
    for x, y in batches((10,), 3):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, convert_frame.FRAME_COUNTER - frames], [model], [optimizer]


def run_functional() -> Outcome:
    w1, w2 = torch.randn(10, 16, requires_grad=True), torch.randn(16, 3, requires_grad=True)
    optimizer = torch.optim.SGD([w1, w2], lr=0.1)
    losses = []
    for x, y in batches((10,), 3):
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.relu(x @ w1) @ w2, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, w1.detach(), w2.detach()], [], [optimizer]


def run_loader_with_workers() -> Outcome:
    data = TensorDataset(torch.randn(64, 10), torch.randint(3, (64,)))
    loader = DataLoader(data, batch_size=8, shuffle=True, num_workers=2)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return losses, [model], [optimizer]


def run_with_function_modes() -> Outcome:
    """The user's own function mode and default device, entered and left at odd moments."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for index, (x, y) in enumerate(batches((10,), 3)):
        optimizer.zero_grad()
        with torch.device("cpu"):
            loss = F.cross_entropy(model(x), y) + torch.zeros(())
            if index % 2:
                loss.backward()
        if not index % 2:
            with torch.autograd.set_detect_anomaly(index == 4):
                loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, [model], [optimizer]


RUNS = [value for name, value in sorted(globals().items()) if name.startswith("run_")]


def fingerprint(run: Callable[[], Outcome]) -> dict[str, Any]:
    """Everything that a run leaves: losses, parameters, buffers, optimizer states, gradients, modes, RNG."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    losses, models, optimizers = run()
    return {
        "losses": losses,
        "parameters": [p.detach().clone() for m in models for p in m.parameters()],
        "buffers": [b.clone() for m in models for b in m.buffers()],
        "gradients": [p.grad.to_dense().clone() for m in models for p in m.parameters() if p.grad is not None],
        "optimizers": [copy.deepcopy(o.state_dict()) for o in optimizers],
        "modes": [module.training for m in models for module in m.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1],
    }


def assert_same(a: Any, b: Any, path: str = "") -> None:
    assert type(a) is type(b), path
    if isinstance(a, Tensor):
        assert torch.equal(a, b), f"{path}: {a} != {b}"
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}[{index}]")
    else:
        assert a == b, path


@pytest.mark.parametrize("schedule", ["every", "budget", "seeded"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__.removeprefix("run_"))
def test_same_bits_with_and_without(run: Callable[[], Outcome], schedule: str) -> None:
    plain = fingerprint(run)
    with diagnose.watch(schedule=schedule, summary=False) as watch:
        watched = fingerprint(run)
    assert_same(watched, plain)
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))
    assert watch.history.run.steps > 0
    if schedule == "every":
        assert watch.history.run.sampled == watch.history.run.steps


@pytest.mark.parametrize(
    "run",
    [
        functools.partial(compiled, "inductor", conv, (3, 8, 8)),
        functools.partial(compiled_in_place, lambda model: model.compile()),
    ],
    ids=["wrapped", "in place"],
)
def test_same_bits_when_compiled_by_inductor(run: Callable[[], Outcome]) -> None:
    plain = fingerprint(run)
    with diagnose.watch(schedule="every", summary=False) as watch:
        watched = fingerprint(run)
    assert_same(watched, plain)
    assert watch.history.scopes("active_share"), "a shadow forward should have shown the activations"


def test_the_comparison_can_fail() -> None:
    """A watcher that draws one random number is noticed."""

    def run_and_draw() -> Outcome:
        outcome = run_mlp_sgd()
        torch.rand(1)
        return outcome

    with pytest.raises(AssertionError):
        assert_same(fingerprint(run_and_draw), fingerprint(run_mlp_sgd))


def test_a_session_is_closed_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), diagnose.watch(schedule="every", summary=False) as watch:
        model = mlp()
        model(torch.randn(2, 10))
        raise ZeroDivisionError
    assert isinstance(watch._session, Session)
    assert watch._session.closed
