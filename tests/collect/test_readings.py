"""Each fast statistic against its slow, obvious twin, on real runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.collect.reading import flat_window, readable, sample_rows, to_floats, to_host
from diagnose.history import History
from diagnose.stats.activation import ACTIVATIONS, ACTIVE_SLOPE

STEPS = 10


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.fc1(x))
        return self.fc3(F.relu(self.fc2(h)))


def watched(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> tuple[History, list[Any]]:
    """Trains, and keeps what a slow observer would have written down at each step."""
    notes = []
    torch.manual_seed(1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(steps):
            x, y = torch.randn(8, 6), torch.randint(3, (8,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            before = {n: p.detach().clone() for n, p in model.named_parameters()}
            gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            optimizer.step()
            after = {n: p.detach().clone() for n, p in model.named_parameters()}
            notes.append({"x": x, "loss": loss.item(), "before": before, "grad": gradients, "after": after})
    return watch.history, notes


SLOW: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "grad_rms": lambda gradient, before, after: gradient.double().square().mean().sqrt(),
    "grad_max": lambda gradient, before, after: gradient.abs().max(),
    "grad_zero_share": lambda gradient, before, after: (gradient == 0).double().mean(),
    "param_rms": lambda gradient, before, after: before.double().square().mean().sqrt(),
    "update_rms": lambda gradient, before, after: (after - before).double().square().mean().sqrt(),
    "update_ratio": lambda gradient, before, after: (after - before).double().norm() / before.double().norm(),
}


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
        lambda p: torch.optim.AdamW(p, lr=1e-2),
        lambda p: torch.optim.RMSprop(p, lr=1e-2),
        lambda p: torch.optim.Adagrad(p, lr=1e-1),
    ],
)
def test_gradients_updates_and_losses(make: Any) -> None:
    model = Net()
    history, notes = watched(model, make(model.parameters()))
    (clock,) = history.optimizers
    assert history.series("loss", clock).values.tolist() == pytest.approx([n["loss"] for n in notes])
    norms = [math.sqrt(sum(float(g.double().square().sum()) for g in n["grad"].values())) for n in notes]
    assert history.series("grad_norm", clock).values.tolist() == pytest.approx(norms, rel=1e-5)
    for name in ("fc1.weight", "fc2.bias"):
        for quantity, slow in SLOW.items():
            got = history.series(quantity, name)  # type: ignore[arg-type]
            expected = [float(slow(n["grad"][name], n["before"][name], n["after"][name])) for n in notes]
            assert got.steps.tolist() == list(range(1, STEPS + 1))
            # Norms are summed in float32; 192 elements keep six digits.
            assert got.values.tolist() == pytest.approx(expected, rel=1e-4), quantity


def test_activations_of_functional_calls() -> None:
    model = Net()
    history, notes = watched(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert {"tanh", "relu"} <= set(history.layers)
    assert (history.layers["tanh"].units, history.layers["relu"].units) == (16, 12)
    assert history.layers["relu"].line is not None
    for index, note in enumerate(notes):
        state = note["before"]
        pre1 = note["x"] @ state["fc1.weight"].T + state["fc1.bias"]
        pre2 = torch.tanh(pre1) @ state["fc2.weight"].T + state["fc2.bias"]
        for quantity, scope, slow in (
            ("pre_mean", "tanh", pre1.mean()),
            ("pre_rms", "relu", pre2.square().mean().sqrt()),
            ("pre_max", "relu", pre2.max()),
            ("slope_mean", "tanh", (1 - torch.tanh(pre1) ** 2).mean()),
            ("active_share", "relu", (pre2 > 0).float().mean()),
            ("out_rms", "relu", pre2.relu().square().mean().sqrt()),
        ):
            got = history.series(quantity, scope).values[index]  # type: ignore[arg-type]
            assert got == pytest.approx(float(slow), rel=1e-4, abs=1e-6), (quantity, scope)


def test_gradients_of_layer_outputs() -> None:
    model = Net()
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        output.register_hook(lambda gradient: kept.append(gradient.clone()))

    handle = model.fc2.register_forward_hook(keep)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        model(x).square().mean().backward()
        optimizer.step()
    handle.remove()
    got = watch.history.series("output_grad_rms", "fc2").values[0]
    assert got == pytest.approx(float(kept[0].square().mean().sqrt()), rel=1e-5)


def test_dead_units_are_confirmed_on_whole_batches() -> None:
    """Units 0-7 are dead for good; unit 8 is alive for one example in a batch that the samples may miss."""
    torch.manual_seed(0)
    layer, head = nn.Linear(4, 16), nn.Linear(16, 2)
    with torch.no_grad():
        layer.bias[:8] = -1e3
        layer.weight[8] = 0.0
        layer.bias[8] = -0.5
        layer.weight[8, 0] = 1.0
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    with diagnose.watch([layer, head], optimizer, schedule="every", summary=False) as watch:
        for _ in range(30):
            x = torch.randn(4096, 4)
            x[:, 0] = 0.0
            x[1234, 0] = 1.0
            optimizer.zero_grad()
            head(F.relu(layer(x))).square().mean().backward()
            optimizer.step()
    history = watch.history
    assert history.series("dead_share", "relu").values[-1] == 8 / 16
    assert history.series("silent_share", "relu").values[-1] >= 8 / 16
    assert history.layers["relu"].examples == 8 * 4096


def test_units_of_convolutions_are_channels() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(5 * 36, 2),
    )
    with torch.no_grad():
        model[1].bias[2] = -100.0
    optimizer = torch.optim.SGD([model[4].weight], lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(20):
            model(torch.randn(16, 1, 8, 8)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert watch.history.layers["2"].units == 5
    assert watch.history.series("dead_share", "2").values[-1] == pytest.approx(1 / 5)


def test_one_activation_module_used_twice_is_two_layers() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 1)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.act(self.b(self.act(self.a(x)))))

    model = Shared()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(2):
            model(torch.randn(3, 4)).mean().backward()
            optimizer.step()
    assert sum(facts.kind == "relu" for facts in watch.history.layers.values()) == 2


def test_roles() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.value, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.sigmoid(self.gate(x)) * torch.relu(self.value(x))
            return torch.tanh(self.out(h))

    model = Gated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        model(torch.randn(3, 4)).mean().backward()
        optimizer.step()
    roles = {name: facts.role for name, facts in watch.history.layers.items() if facts.kind in ACTIVATIONS}
    assert roles == {"sigmoid": "gate", "relu": "hidden", "tanh": "output"}


def test_nets_without_modules_are_seen() -> None:
    weights_in, weights_out = (
        torch.randn(4, 8, requires_grad=True),
        torch.randn(8, 2, requires_grad=True),
    )
    optimizer = torch.optim.SGD([weights_in, weights_out], lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            hidden = (torch.randn(5, 4) @ weights_in).clamp(min=0)
            (hidden @ weights_out).square().mean().backward()
            optimizer.step()
    history = watch.history
    assert set(history.parameters) == {"weights_in", "weights_out"}
    assert len(history.series("update_ratio", "weights_in")) == 3
    assert len(history.series("active_share", "relu")) == 3
    assert history.layers["relu"].role == "hidden"


# -- activation shapes ---------------------------------------------------------------------------------

FUNCTIONS: dict[str, Any] = {
    "relu": F.relu, "relu6": F.relu6, "elu": F.elu, "celu": F.celu, "selu": F.selu, "gelu": F.gelu, "silu": F.silu,
    "mish": F.mish, "hardswish": F.hardswish, "softplus": F.softplus, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "softsign": F.softsign, "hardtanh": F.hardtanh, "hardsigmoid": F.hardsigmoid,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(FUNCTIONS))
def test_slopes_are_those_that_autograd_finds(kind: str) -> None:
    z = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    z = (z + 1e-6).requires_grad_()  # beside the kinks
    (slope,) = torch.autograd.grad(FUNCTIONS[kind](z).sum(), z)
    relative = slope.abs() / slope.abs().max()
    assert torch.allclose(ACTIVATIONS[kind].slope(z.detach()), relative, atol=2e-3)
    floor = ACTIVATIONS[kind].floor
    if floor is not None:
        assert (relative[z < floor] < 1.001 * ACTIVE_SLOPE).all()
        assert (relative[(z > floor) & (z < floor + 0.05)] >= 0.9 * ACTIVE_SLOPE).any()


# -- bounded samples -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    turn=st.integers(0, 50),
    elements=st.integers(1, 400),
)
def test_samples_hold_whole_rows_of_the_tensor(shape: list[int], data: st.DataObject, turn: int, elements: int) -> None:
    tensor = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1)) if len(shape) > 1 else 0
    rows = sample_rows(tensor, dim, turn=turn, elements=elements)
    full = tensor.movedim(dim, -1).reshape(-1, rows.shape[1]) if len(shape) > 1 else tensor[None]
    assert rows.shape[1] == (shape[dim] if len(shape) > 1 else shape[0])
    assert len(rows) >= 1 and rows.numel() <= max(elements, rows.shape[1])
    known = {tuple(row) for row in full.tolist()}
    assert {tuple(row) for row in rows.tolist()} <= known
    if tensor.numel() <= elements:
        assert torch.equal(rows, full)
    rows += 1  # a copy, not a view
    assert tensor.reshape(-1)[0] == 0


def test_a_single_number_is_one_row_of_one_unit() -> None:
    assert sample_rows(torch.tensor(3.0), -1, turn=5).tolist() == [[3.0]]


@settings(max_examples=40)
@given(size=st.integers(1, 300), elements=st.integers(1, 64))
def test_windows_walk_through_the_whole_tensor(size: int, elements: int) -> None:
    tensor = torch.arange(float(size))
    windows = -(-size // elements)
    seen = torch.cat([flat_window(tensor, turn=turn, elements=elements) for turn in range(windows)])
    assert set(seen.tolist()) == set(tensor.tolist())


def test_windows_of_tensors_that_are_not_contiguous() -> None:
    channels_last = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    assert torch.equal(flat_window(channels_last, turn=0).sort().values, channels_last.flatten().sort().values)
    assert flat_window(channels_last, turn=0).data_ptr() == channels_last.data_ptr()
    strided = torch.randn(8, 8)[::2, ::3]
    assert torch.equal(flat_window(strided, turn=0), strided.flatten())


def test_what_is_not_readable() -> None:
    from torch._subclasses import FakeTensorMode

    assert readable(torch.randn(2)) and readable(nn.Parameter(torch.randn(2, dtype=torch.bfloat16)))
    assert not readable(torch.zeros(2, dtype=torch.int64))
    assert not readable(torch.randn(0))
    assert not readable(torch.randn(2, device="meta"))
    assert not readable(torch.randn(3, 3).to_sparse())
    assert not readable("text")
    with FakeTensorMode():
        assert not readable(torch.randn(2))
    seen: list[bool] = []
    torch.func.vmap(lambda t: (seen.append(readable(t)), t)[1])(torch.randn(2, 3))
    assert seen == [False]


def test_host_reads_keep_order_and_values() -> None:
    tensors = [torch.randn(3, 4), torch.randn(2)]
    assert all(torch.equal(a, b) for a, b in zip(to_host(tensors), tensors, strict=True))
    scalars = [
        torch.tensor(1.5),
        torch.tensor(2.5, dtype=torch.float64),
        torch.tensor(3, dtype=torch.int64),
    ]
    assert to_floats(scalars) == [1.5, 2.5, 3.0]
    assert to_floats([]) == []
