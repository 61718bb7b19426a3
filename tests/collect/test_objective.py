"""What loss functions are given: shapes, values, the operations behind them, and what is left behind."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.collect.graph import loss_part, operation_name, operations_behind
from diagnose.collect.objective import _rows_of_examples
from diagnose.history import History, ObjectiveFacts
from tests.rules.objective.runs import only, trained

Build = Callable[[Tensor], Tensor]


def test_facts_of_a_cross_entropy() -> None:
    history = trained(lambda x, y: 0.5 * F.cross_entropy(x, y, label_smoothing=0.1), steps=12)
    facts = only(history)
    assert (facts.name, facts.classes, facts.reduction, facts.options) == (
        "cross_entropy",
        5,
        "mean",
        ("label_smoothing",),
    )
    assert (facts.calls, facts.used, facts.alone) == (12, 12, 12)
    assert (facts.input_shape, facts.target_shape, facts.operations) == ((32, 5), (32,), ("addmm",))
    assert (facts.first_step, facts.last_step, facts.optimizer) == (1, 12, "optimizer")
    assert sum(facts.labels.values()) == 12 * 32
    assert facts.uninformed == pytest.approx(math.log(5))
    assert facts.loss_line == next(iter(history.losses.values())).line
    assert facts.first_value == pytest.approx(2 * history.series("loss", next(iter(history.losses))).values[0])


def test_facts_of_a_regression() -> None:
    facts = only(trained(F.mse_loss, nn.Tanh(), outputs=3, targets=lambda x: 2 + 3 * x[:, :3], steps=30))
    assert (facts.low, facts.high) == (-1.0, 1.0)
    assert facts.target_mean == pytest.approx(2, abs=0.3)
    assert facts.target_variance == pytest.approx(9, rel=0.2)
    assert facts.target_high > 8
    # E[(t - 1)^2; t > 1] + E[(-1 - t)^2; t < -1] of a normal distribution N(2, 9).
    t = 2 + 3 * np.random.default_rng(0).normal(size=10**6)
    assert facts.unreachable == pytest.approx(np.mean((t - t.clip(-1, 1)) ** 2), rel=0.2)


def test_sums_are_per_example() -> None:
    mean, total = only(trained(F.cross_entropy)), only(trained(lambda x, y: F.cross_entropy(x, y, reduction="sum")))
    assert total.first_value == pytest.approx(mean.first_value)
    rows = only(trained(lambda x, y: F.cross_entropy(x, y, reduction="none").mean()))
    assert rows.first_value == pytest.approx(mean.first_value)


def test_operands_the_wrong_way_round() -> None:
    facts = only(trained(lambda x, y: F.mse_loss(y, x), nn.ReLU(), outputs=1, targets=lambda x: x[:, :1]))
    assert facts.operations[0] == "relu"


def test_a_metric_is_not_a_part_of_the_loss() -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        F.mse_loss(x, F.one_hot(y, 5).float())
        return F.cross_entropy(x, y)

    used = {facts.name: facts.used > 0 for facts in trained(loss).objectives.values()}
    assert used == {"mse_loss": False, "cross_entropy": True}


def test_evaluation_is_not_looked_at() -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            F.mse_loss(x, F.one_hot(y, 5).float())
        return F.cross_entropy(x, y)

    assert only(trained(loss)).name == "cross_entropy"


def test_it_is_bounded() -> None:
    losses = [eval(f"lambda x, y: F.cross_entropy(x[:, :{k}], y % {k})") for k in range(2, 60)]
    history = trained(lambda x, y: torch.stack([loss(x, y) for loss in losses]).sum(), outputs=64, steps=3)
    assert len(history.objectives) == 32


@pytest.mark.parametrize(
    ("build", "operations"),
    [
        (lambda x: x.softmax(1).reshape(2, -1).T.squeeze().to(torch.float64), ["softmax", "mul"]),
        (lambda x: x.relu()[:, 1:3].clamp(0, 1), ["relu", "mul"]),
        (lambda x: torch.cat([x.sigmoid(), x.sigmoid()]), ["sigmoid", "mul"]),
        (lambda x: 2 * x.tanh(), ["mul", "tanh", "mul"]),
        (lambda x: x @ x.T, ["mm"]),
    ],
)
def test_operations_behind(build: Build, operations: list[str]) -> None:
    x = torch.randn(4, 3, requires_grad=True) * torch.ones(3, requires_grad=True)
    assert [operation_name(node) for node in operations_behind(build(x).grad_fn)] == operations


def test_the_loss_part_ends_at_layers() -> None:
    weight = torch.randn(3, 2, requires_grad=True)
    loss = F.mse_loss((torch.randn(4, 3) @ weight.tanh()).relu(), torch.zeros(4, 2))
    assert [operation_name(node) for node in loss_part(loss.grad_fn)] == ["mseloss", "relu", "mm"]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans())
def test_samples_of_examples_are_small_and_aligned(shape: list[int], turned: bool) -> None:
    tensor = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    tensor = tensor.transpose(0, -1).contiguous().transpose(0, -1) if turned else tensor
    rows = _rows_of_examples(tensor)
    assert rows.shape[0] == shape[0] and rows.shape[1] <= 64
    if math.prod(shape[1:]) <= 64:
        torch.testing.assert_close(rows, tensor.reshape(shape[0], -1))
    assert rows.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_nothing_is_kept_alive_and_facts_survive_storing() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(4):
            output = model(torch.randn(8, 4))
            loss = F.cross_entropy(output, torch.randint(3, (8,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept = weakref.ref(output), weakref.ref(loss)
            del output, loss
            gc.collect()
            assert [reference() for reference in kept] == [None, None]
    restored = History.from_arrays(*watch.history.to_arrays())
    assert restored.objectives == watch.history.objectives
    assert isinstance(only(restored), ObjectiveFacts)
