"""What probes find, what they must not take for a fault, and when they are not made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import ProbeFacts

N, T, D, K = 12, 9, 6, 4
Loop = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Applied(nn.Module):
    """`function(layers, x, ...)` as a module."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self.layers, *args, **kwargs)


def probes_of(model: nn.Module, loss: Callable[[nn.Module], Tensor], **options: Any) -> dict[str, ProbeFacts]:
    """By kind of probe, what came of it in a short training."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False, **options) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
    assert not watch.history.count("collector-failed"), list(watch.history.events("collector-failed"))
    return {facts.probe: facts for facts in watch.history.probes.values()}


def classify(*inputs: Tensor, **named: Tensor) -> Callable[[nn.Module], Tensor]:
    torch.manual_seed(0)
    target = torch.randint(K, (N,))
    return lambda model: F.cross_entropy(model(*inputs, **named), target)


def rows() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(N, D)


def sequences() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(N, T, D)


def places_first(layers: nn.ModuleDict, x: Tensor) -> Tensor:
    return layers["head"](layers["lstm"](x)[0][-1])


def examples_first(layers: nn.ModuleDict, x: Tensor) -> Tensor:
    return layers["head"](layers["lstm"](x)[0][:, -1])


def lstm(**options: Any) -> dict[str, nn.Module]:
    return {"lstm": nn.LSTM(D, 8, **options), "head": nn.Linear(8, K)}


def centred(layers: nn.ModuleDict, x: Tensor) -> Tensor:
    return layers["head"](x - x.mean(0))


def reshaped(layers: nn.ModuleDict, x: Tensor) -> Tensor:
    return layers["head"](x.transpose(0, 1).reshape(N, T * D))


MIXING = {
    "batch_first missing": (Applied(examples_first, **lstm()), classify(sequences())),
    "mean over the examples": (Applied(centred, head=nn.Linear(D, K)), classify(rows())),
    "reshape for a transpose": (Applied(reshaped, head=nn.Linear(T * D, K)), classify(sequences())),
    "attention between examples": (
        Applied(lambda m, x: m["head"](m["mix"](x)[:, 0]), mix=nn.TransformerEncoderLayer(D, 2), head=nn.Linear(D, K)),
        classify(sequences()),
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_mixing_is_found(name: str) -> None:
    facts = probes_of(*MIXING[name])["one-sample"]
    assert facts.reason == ""
    assert facts.affected > 0.3


def graph_layer(layers: nn.ModuleDict, x: Tensor, adjacency: Tensor) -> Tensor:
    return layers["head"](adjacency @ x)


def edges_layer(layers: nn.ModuleDict, x: Tensor, edges: Tensor) -> Tensor:
    return layers["head"](x.index_add(0, edges[0], x[edges[1]]))


def prototypes(layers: nn.ModuleDict, query: Tensor, support: Tensor) -> Tensor:
    return layers["embed"](query) @ layers["embed"](support)[:K].T


class Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


APART = {
    "plain": (nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, K)), classify(rows())),
    "batch norm and dropout": (
        nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, K)),
        classify(rows()),
    ),
    "batch_first": (Applied(examples_first, **lstm(batch_first=True)), classify(sequences())),
    "places first": (Applied(places_first, **lstm()), classify(sequences().transpose(0, 1))),
    "images": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.LazyLinear(K)),
        classify(torch.randn(N, 1, N, N)),
    ),
    "dict of outputs": (
        Applied(lambda m, x: {"logits": m["head"](x), "size": len(x)}, head=nn.Linear(D, K)),
        lambda model: F.cross_entropy(model(x=rows())["logits"], torch.arange(N) % K),
    ),
    "double precision": (nn.Linear(D, K).double(), classify(rows().double())),
}


@pytest.mark.parametrize("name", APART)
def test_examples_that_are_apart_are_seen_to_be(name: str) -> None:
    model, loss = APART[name]
    loss(model)  # lazy layers
    facts = probes_of(model, loss)["one-sample"]
    assert facts.reason == ""
    assert facts.affected == 0
    assert facts.examples == N
    assert not facts.softmax_across


ON_PURPOSE = {
    "graph by a matrix": (
        Applied(graph_layer, head=nn.Linear(D, K)),
        classify(rows(), torch.rand(N, N)),
        "matrix between examples",
    ),
    "graph by edges": (
        Applied(edges_layer, head=nn.Linear(D, K)),
        classify(rows(), torch.randint(N, (2, 30))),
        "edges of a graph",
    ),
    "contrastive": (
        Applied(lambda m, a: m["a"](a) @ m["b"](a).T, a=nn.Linear(D, 8), b=nn.Linear(D, 8)),
        lambda model: F.cross_entropy(model(rows()), torch.arange(N)),
        "matrix between examples",
    ),
    "prototypes": (
        Applied(prototypes, embed=nn.Linear(D, 8)),
        classify(rows(), rows() + 1),
        "several inputs of one shape",
    ),
    "batch statistics": (
        nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, K)),
        classify(rows()),
        "statistics of the batch",
    ),
    "noise": (
        Applied(lambda m, x: m["head"](x + torch.randn_like(x) * next(seeds)), head=nn.Linear(D, K)),
        classify(rows()),
        "differ from one run to the next",
    ),
    "no example targets": (
        nn.Linear(D, K),
        lambda model: model(rows()).square().mean(),
        "no loss function",
    ),
}
seeds = iter(range(1, 10_000))


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_where_it_may_be_meant_the_reason_is_given(name: str) -> None:
    model, loss, reason = ON_PURPOSE[name]
    assert reason in probes_of(model, loss)["one-sample"].reason


def test_softmax_along_the_examples_is_placed() -> None:
    def wrong(layers: nn.ModuleDict, x: Tensor) -> Tensor:
        return F.log_softmax(layers["head"](x), dim=0)

    model = Applied(wrong, head=nn.Linear(D, K))
    target = torch.arange(N) % K
    facts = probes_of(model, lambda model: F.nll_loss(model(rows()), target))["one-sample"]
    assert facts.softmax_across
    assert facts.softmax_shape == [N, K]
    assert facts.line == wrong.__code__.co_firstlineno + 1


def test_weights_over_a_bag_are_no_softmax_along_examples() -> None:
    def bag(layers: nn.ModuleDict, x: Tensor) -> Tensor:
        return (layers["head"](x) * F.softmax(layers["gate"](x), dim=0)).sum(0, keepdim=True).expand(N, K)

    model = Applied(bag, head=nn.Linear(D, K), gate=nn.Linear(D, 1))
    assert not probes_of(model, classify(rows()))["one-sample"].softmax_across


# -- the next token --------------------------------------------------------------------------------


def transformer(*, causal: bool, batch_first: bool = True) -> nn.Module:
    def forward(layers: nn.ModuleDict, tokens: Tensor) -> Tensor:
        length = tokens.shape[1 if batch_first else 0]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if causal else None
        return layers["head"](layers["block"](layers["embed"](tokens), src_mask=mask))

    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    return Applied(forward, embed=nn.Embedding(20, 8), block=block, head=nn.Linear(8, 20))


def tokens() -> Tensor:
    torch.manual_seed(2)
    return torch.randint(20, (5, T + 1))


def flat(model: nn.Module) -> Tensor:
    x = tokens()
    return F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())


def shifted_in_the_loss(model: nn.Module) -> Tensor:
    x = tokens()
    return F.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].reshape(-1))


def classes_second(model: nn.Module) -> Tensor:
    x = tokens()
    return F.cross_entropy(model(x[:, :-1]).transpose(1, 2), x[:, 1:])


def time_first(model: nn.Module) -> Tensor:
    x = tokens().T
    return F.cross_entropy(model(x[:-1]).flatten(0, 1), x[1:].flatten())


@pytest.mark.parametrize("loss", [flat, shifted_in_the_loss, classes_second, time_first])
@pytest.mark.parametrize("causal", [True, False])
def test_a_look_into_the_future(loss: Callable[[nn.Module], Tensor], causal: bool) -> None:
    facts = probes_of(transformer(causal=causal, batch_first=loss is not time_first), loss)["next-token"]
    assert facts.reason == ""
    assert (facts.affected > 0) is not causal
    assert facts.sees_target is not causal


@pytest.mark.parametrize("causal", [True, False])
def test_a_model_that_computes_its_own_loss(causal: bool) -> None:
    """It calls the loss function, and only then returns."""
    inner = transformer(causal=causal)

    def forward(layers: nn.ModuleDict, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = layers["inner"](x)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model, x = Applied(forward, inner=inner), tokens()
    facts = probes_of(model, lambda model: model(x[:, :-1], x[:, 1:])[1])["next-token"]
    assert facts.reason == ""
    assert facts.sees_target is not causal


def test_filled_in_places_are_no_next_tokens() -> None:
    def masked(model: nn.Module) -> Tensor:
        x = tokens()
        hidden = x.clone()
        hidden[:, ::3] = 0
        return F.cross_entropy(model(hidden).flatten(0, 1), torch.where(hidden == 0, x, -100).flatten())

    assert "not its inputs moved" in probes_of(transformer(causal=False), masked)["next-token"].reason


def test_a_series_of_numbers_and_a_gru() -> None:
    def loss(model: nn.Module) -> Tensor:
        x = sequences()
        return F.mse_loss(model(x[:, :-1]), x[:, 1:])

    for both, leaks in ((False, False), (True, True)):
        model = Applied(
            lambda m, x: m["head"](m["gru"](x)[0]),
            gru=nn.GRU(D, 8, batch_first=True, bidirectional=both),
            head=nn.Linear(8 * (1 + both), D),
        )
        assert (probes_of(model, loss)["next-token"].affected > 0) is leaks


# -- limits ----------------------------------------------------------------------------------------


def test_they_can_be_switched_off() -> None:
    model, loss = APART["plain"]
    assert probes_of(model, loss, probe_seconds=0) == {}


def test_a_slow_model_is_run_once() -> None:
    model, loss = APART["plain"]
    assert "too long" in probes_of(model, loss, probe_seconds=1e-9)["one-sample"].reason
