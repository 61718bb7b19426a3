"""What experiments on a loss that does not fall find, when they are not made, and that nothing shows of them."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.collect import counterfactuals
from diagnose.collect.counterfactuals import PERMUTATIONS, CounterfactualCollector, _shuffled, is_stuck
from diagnose.collect.fitting import NotFittedError, fit_unnoticed
from diagnose.collect.forward import LossCall
from diagnose.history import History, LossFacts
from tests.collect.test_bit_for_bit import Outcome, assert_same, fingerprint

N, D, K = 48, 8, 4
STEPS = 130


class Applied(nn.Module):
    """`function(layers, x, ...)` as a module."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self.layers, *args, **kwargs)


def mlp(outputs: int = K) -> nn.Module:
    return nn.Sequential(nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, outputs))


def rows() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


def labels() -> Tensor:
    """They belong to `rows()`: the largest of the first columns."""
    return rows()[:, :K].argmax(1)


def train(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], *, lr: float = 1e-6, steps: int = STEPS, **options: Any
) -> History:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with diagnose.watch(model, optimizer, schedule="seeded", summary=False, **options) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
    assert not watch.history.count("collector-failed"), list(watch.history.events("collector-failed"))
    return watch.history


def classify(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows()), labels())


# -- what is found ---------------------------------------------------------------------------------


def test_a_learning_rate_that_is_far_off_leaves_a_model_that_can_fit() -> None:
    torch.manual_seed(0)
    history = train(mlp(), classify)
    (fit,) = history.fits.values()
    assert fit.reason == ""
    assert fit.examples == counterfactuals.EXAMPLES
    assert fit.repeated == 0
    assert fit.after < 0.2 * fit.constant
    assert fit.step >= counterfactuals.FIT_FROM_STEP
    (pairing,) = history.pairings.values()
    assert pairing.batches >= 3
    assert abs(pairing.shuffled - pairing.loss) < 0.05 * pairing.loss


def test_outputs_that_know_their_targets_are_seen_to() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        classify(model).backward()
        optimizer.step()
    (pairing,) = train(model, classify).pairings.values()
    assert pairing.loss < 0.5 * pairing.shuffled
    assert pairing.sigmas > 6


def test_a_network_that_ignores_its_input_cannot_fit_and_does_not_move() -> None:
    torch.manual_seed(0)
    model = Applied(lambda m, x: m["head"](torch.zeros(len(x), D) + 0 * m["body"](x)), body=nn.Linear(D, D), head=mlp())
    history = train(model, classify)
    (fit,), (constant,) = history.fits.values(), history.constant_inputs.values()
    assert fit.after > 0.95 * fit.constant
    assert constant.examples == N
    assert constant.spread < 1e-6
    assert constant.change == 0.0


def test_a_network_that_has_collapsed_still_moves() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, 16), nn.Tanh(), nn.Linear(16, K))
    with torch.no_grad():
        model[2].weight *= 1e-5
    (constant,) = train(model, classify).constant_inputs.values()
    assert 0 < constant.spread < 1e-3
    assert constant.change > 1e-6


STACKS = {
    "one layer": (lambda: nn.Linear(D, K), True),
    "layers without activation": (lambda: nn.Sequential(nn.Linear(D, 16), nn.Dropout(0.5), nn.Linear(16, K)), True),
    "relu": (mlp, False),
    "leaky relu": (lambda: nn.Sequential(nn.Linear(D, 16), nn.LeakyReLU(0.5), nn.Linear(16, K)), False),
    "layer norm": (lambda: nn.Sequential(nn.Linear(D, 16), nn.LayerNorm(16), nn.Linear(16, K)), False),
    "ignores its input": (lambda: Applied(lambda m, x: m["a"](0 * x), a=nn.Linear(D, K)), False),
}


@pytest.mark.parametrize("name", STACKS)
def test_whether_a_network_is_affine(name: str) -> None:
    torch.manual_seed(0)
    make, affine = STACKS[name]
    (constant,) = train(make(), classify).constant_inputs.values()
    assert constant.reason == ""
    assert constant.affine is affine


def squeezed(model: nn.Module) -> Tensor:
    return F.mse_loss(model(rows()).squeeze(-1), rows()[:, 0])


def by_hand(model: nn.Module) -> Tensor:
    return ((model(rows())[:, 0] - rows()[:, 0]) ** 2).mean()


def a_sum(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows()), labels(), reduction="sum") / 10_000


def two_losses(model: nn.Module) -> Tensor:
    output = model(rows())
    return F.cross_entropy(output, labels()) + F.cross_entropy(output, labels())


def of_a_part(model: nn.Module) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(rows())[:, 1], (rows()[:, 0] > 0).float())


def in_places(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows().view(6, 8, D)).view(-1, K), labels())


def turned(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows().view(6, 8, D)).transpose(1, 2), labels().view(6, 8))


@pytest.mark.parametrize("loss", [squeezed, by_hand, turned, a_sum, two_losses, of_a_part, in_places])
def test_ways_to_call_a_loss(loss: Callable[[nn.Module], Tensor]) -> None:
    torch.manual_seed(0)
    history = train(mlp(1 if loss in (squeezed, by_hand) else K), loss)
    (fit,) = history.fits.values()
    assert fit.reason == ""
    assert fit.after < 0.5 * fit.before
    assert history.pairings


def loss_inside(layers: nn.ModuleDict, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    logits = layers["net"](x)
    return {"loss": F.cross_entropy(logits, y), "logits": logits}


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "loss inside of the model": (lambda: Applied(loss_inside, net=mlp()), lambda m: m(rows(), y=labels())["loss"]),
    "recurrent": (
        lambda: Applied(lambda m, x: m["o"](m["r"](x)[0][-1]), r=nn.LSTM(D, 16, dropout=0.5, num_layers=2), o=mlp2()),
        lambda m: F.cross_entropy(m(rows().expand(3, N, D)), labels()),
    ),
    "norm and dropout": (
        lambda: nn.Sequential(nn.Linear(D, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.9), nn.Linear(32, K)),
        classify,
    ),
    "weights shared": (lambda: Applied(twice, a=nn.Linear(D, D), b=nn.Linear(D, K)), classify),
    "sparse embedding": (
        lambda: Applied(lambda m, x: m["o"](m["e"](x)), e=nn.Embedding(N, D, sparse=True), o=nn.Linear(D, K)),
        lambda m: F.cross_entropy(m(torch.arange(N)), labels()),
    ),
}


def mlp2() -> nn.Module:
    return nn.Linear(16, K)


def twice(layers: nn.ModuleDict, x: Tensor) -> Tensor:
    return layers["b"](torch.relu(layers["a"](torch.relu(layers["a"](x)))))


@pytest.mark.parametrize("name", MODELS)
def test_ways_to_make_a_model(name: str) -> None:
    torch.manual_seed(0)
    make, loss = MODELS[name]
    (fit,) = train(make(), loss).fits.values()
    assert fit.reason == ""
    assert fit.after < 0.6 * fit.before


# -- what is not tried -----------------------------------------------------------------------------------


def hooked() -> nn.Module:
    model = mlp()
    model[0].register_forward_hook(lambda *_: None)
    return model


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = mlp(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


def far_from_the_output(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows()) * 2 + 1, labels())


def no_floor(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(rows()), labels(), label_smoothing=0.1)


REFUSED: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor], str]] = {
    "hooks": (hooked, classify, "forward hooks"),
    "half": (lambda: mlp().to(torch.bfloat16), lambda m: F.cross_entropy(m(rows().bfloat16()), labels()), "precision"),
    "an attribute that changes": (Counting, classify, "changes its attribute calls"),
    "a loss of something else": (mlp, far_from_the_output, "no loss function is given"),
    "a loss that cannot be zero": (mlp, no_floor, "lowest loss"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_no_fit_is_tried_the_reason_is_given(name: str) -> None:
    torch.manual_seed(0)
    make, loss, reason = REFUSED[name]
    (fit,) = train(make(), loss).fits.values()
    assert reason in fit.reason


def test_too_slow_to_be_tried() -> None:
    with pytest.raises(NotFittedError, match="too long"):
        fit_unnoticed(mlp(), (rows(),), {}, lambda out: F.cross_entropy(out, labels()), seconds=1e-9, constant=1.0)


def test_a_forward_that_raises_is_a_reason() -> None:
    with pytest.raises(NotFittedError, match="RuntimeError"):
        fit_unnoticed(mlp(), (rows()[:, 1:],), {}, lambda out: out.sum(), seconds=1.0, constant=1.0)


def test_they_can_be_switched_off() -> None:
    history = train(mlp(), classify, probe_seconds=0)
    assert not history.fits
    assert not history.pairings
    assert not history.constant_inputs


def test_a_loss_that_falls_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        pytest.fail("an experiment was made")

    for name in ("fit_unnoticed", "run_unnoticed", "_shuffled"):
        monkeypatch.setattr(counterfactuals, name, never)
    torch.manual_seed(0)
    history = train(mlp(), classify, lr=0.5)
    assert not history.fits
    assert not history.pairings


# -- nothing shows ---------------------------------------------------------------------------------------


class Meddlesome(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.noise = torch.Generator().manual_seed(11)
        self.register_buffer("average", torch.zeros(D))

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.9)
        self.average.lerp_(x.mean(0), 0.1)
        return self.inner(F.dropout(x + 0.1 * torch.randn(x.shape, generator=self.noise), training=self.training))


def stuck(make: Callable[[], nn.Module], loss: Callable[[nn.Module], Tensor]) -> Outcome:
    model = make()
    optimizer = torch.optim.Adam(model.parameters() if make is not sparse else [*model.parameters()][1:], lr=1e-6)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return losses, [model], [optimizer]


sparse = MODELS["sparse embedding"][0]
ALL = {
    **{name: case[:2] for name, case in REFUSED.items()},
    **MODELS,
    "meddlesome": (Meddlesome, classify),
    "plain": (mlp, classify),
    "attention": (
        lambda: Applied(
            lambda m, x: m["o"](m["t"](x)[:, 0]),
            t=nn.TransformerEncoderLayer(D, 2, 16, batch_first=True, dropout=0.2),
            o=nn.Linear(D, K),
        ),
        lambda m: F.cross_entropy(m(rows()[:, None].expand(N, 3, D)), labels()),
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_same_bits_with_and_without(name: str) -> None:
    make, loss = ALL[name]
    plain = fingerprint(lambda: stuck(make, loss))
    with diagnose.watch(schedule="seeded", summary=False) as watch:
        watched = fingerprint(lambda: stuck(make, loss))
    assert_same(watched, plain)
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))
    assert watch.history.fits, "it should have been tried"


def test_nothing_keeps_a_batch_or_the_model_alive() -> None:
    torch.manual_seed(0)
    model = mlp()
    batches: list[weakref.ref[Tensor]] = []

    def loss(model: nn.Module) -> Tensor:
        x = rows()
        batches.append(weakref.ref(x))
        return F.cross_entropy(model(x), labels())

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with diagnose.watch(schedule="seeded", summary=False) as watch:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
        assert watch.history.fits
        (collector,) = (c for c in watch._session.collectors if isinstance(c, CounterfactualCollector))  # type: ignore[union-attr]
        assert collector._captured is None
        reference = weakref.ref(model)
        del model, optimizer
        gc.collect()
        assert reference() is None
        assert all(batch() is None for batch in batches)


def test_gradients_stay_as_they_are() -> None:
    model = mlp()
    classify(model).backward()
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    weights = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    fit_unnoticed(model, (rows(),), {}, lambda out: F.cross_entropy(out, labels()), seconds=5.0, constant=1.0)
    assert all(torch.equal(a, b.grad) for a, b in zip(before, model.parameters(), strict=True) if b.grad is not None)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_function_that_refuses_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("not like this")

    monkeypatch.setattr(counterfactuals, "_call", refuse)
    history = train(mlp(), classify)
    assert "not like this" in next(iter(history.pairings.values())).reason
    assert "not like this" in next(iter(history.fits.values())).reason


# -- statistics ------------------------------------------------------------------------------------------------


def call_of(output: Tensor, target: Tensor, name: str = "cross_entropy", **options: Any) -> LossCall:
    return LossCall(name, output, target, options, torch.zeros(()), True, None, None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["cross_entropy", "mse_loss"]))
def test_targets_that_are_drawn_stay_within_the_noise(seed: int, name: str) -> None:
    numbers = torch.Generator().manual_seed(seed)
    found = []
    for turn in range(8):
        output = torch.randn(32, K, generator=numbers)
        target = torch.randint(K, (32,), generator=numbers) if name == "cross_entropy" else torch.randn(
            32, K, generator=numbers
        )  # fmt: skip
        pairing = _shuffled(call_of(output, target, name), turn=turn)
        assert pairing is not None
        found.append(pairing.sigmas)
    assert abs(sum(found)) / math.sqrt(len(found)) < 6


def test_against_a_slow_twin() -> None:
    output, target = torch.randn(20, K), torch.arange(20) % K
    pairing = _shuffled(call_of(output, target), turn=5)
    assert pairing is not None
    numbers = np.random.Generator(np.random.PCG64(5))
    others = [
        float(np.mean([-output.log_softmax(1)[i, target[j]].item() for i, j in enumerate(numbers.permutation(20))]))
        for _ in range(PERMUTATIONS)
    ]
    assert pairing.loss == pytest.approx(F.cross_entropy(output, target).item(), abs=1e-5)
    assert pairing.shuffled == pytest.approx(np.mean(others), abs=1e-5)
    expected = (np.mean(others) - pairing.loss) / (np.std(others, ddof=1) * math.sqrt(1 + 1 / PERMUTATIONS))
    assert pairing.sigmas == pytest.approx(expected, rel=1e-2)


def test_outputs_that_are_all_the_same_know_nothing() -> None:
    pairing = _shuffled(call_of(torch.zeros(20, K) + torch.rand(K), torch.arange(20) % K), turn=1)
    assert pairing is not None
    assert pairing.sigmas == 0.0


@pytest.mark.parametrize(
    "call",
    [
        call_of(torch.randn(20, K), torch.zeros(20, dtype=torch.int64)),
        call_of(torch.randn(3, K), torch.arange(3)),
        call_of(torch.randn(()), torch.randn(()), "mse_loss"),
        call_of(torch.randn(20), torch.randn(10), "mse_loss"),
        call_of(torch.randn(20), torch.rand(20), "binary_cross_entropy_with_logits", weight=torch.rand(20)),
        call_of(torch.randn(20, K, requires_grad=True), torch.randn(20, K, requires_grad=True), "mse_loss"),
        call_of(torch.full((20, K), math.nan), torch.arange(20) % K),
    ],
    ids=["one class", "few examples", "no examples", "other numbers", "weights", "both learn", "not finite"],
)
def test_where_shuffling_tells_nothing(call: LossCall) -> None:
    assert _shuffled(call, turn=1) is None


def history_of(values: list[float]) -> History:
    history = History()
    history.losses["SGD"] = LossFacts("SGD")
    for step, value in enumerate(values, start=1):
        history.record("loss", step, {"SGD": value}, clock="SGD")
    return history


@pytest.mark.parametrize(
    ("values", "stuck_there"),
    [
        ([], False),
        ([2.0] * 5, False),
        ([2.0] * 100, True),
        ([-1.0] * 100, False),
        (list(np.linspace(2, 1, 100)), False),
        (list(np.linspace(2, 1.5, 100)) + [1.5] * 300, True),
        (list(np.linspace(2, 0.5, 100)) + [0.5] * 300, False),
        ([math.inf] * 100, False),
    ],
)
def test_when_a_loss_is_stuck(values: list[float], stuck_there: bool) -> None:
    assert is_stuck(history_of(values), "SGD") is stuck_there
