"""Where the first NaN came from: operation, layer, step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x)))


def first_event(loss_of: Callable[[Net, Tensor, int], Tensor], steps: int = 6, **watch_options: Any) -> Any:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with diagnose.watch(model, optimizer, summary=False, **watch_options) as watch:
        for step in range(steps):
            optimizer.zero_grad()
            loss_of(model, torch.randn(8, 4), step).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))
    events = list(watch.history.events("non-finite"))
    assert len(events) <= 1, "the first one is enough"
    return events[0] if events else None


def test_a_finite_run_has_no_event() -> None:
    assert first_event(lambda model, x, step: model(x).square().mean()) is None


@pytest.mark.parametrize("schedule", ["every", "seeded"])
def test_logarithm_of_zero(schedule: str) -> None:
    def loss_of(model: Net, x: Tensor, step: int) -> Tensor:
        p = torch.softmax(model(x), dim=1)[:, 0]
        return -torch.log(p * (0.0 if step == 3 else 1.0)).mean()

    event = first_event(loss_of, schedule=schedule)
    assert (event.step, event.detail["what"], event.detail["operation"]) == (4, "loss", "log")
    assert event.detail["module"] == "fc2"
    assert event.detail["input_min"] == 0.0
    assert "logarithm" in event.detail["explanation"]


def test_infinite_derivative_of_a_square_root() -> None:
    """The loss is finite, its gradient is not: seen one step later, in the parameters."""

    def loss_of(model: Net, x: Tensor, step: int) -> Tensor:
        distance = (model(x) * (0.0 if step == 3 else 1.0)).square().sum(1)
        return torch.sqrt(distance).mean()

    event = first_event(loss_of, schedule="every")
    assert (event.step, event.detail["what"]) == (4, "gradient")
    assert event.detail["operation"] == "sqrt"


def test_a_gradient_that_only_the_next_loss_betrays() -> None:
    def loss_of(model: Net, x: Tensor, step: int) -> Tensor:
        return torch.sqrt((model(x) * (0.0 if step == 15 else 1.0)).square().sum(1)).mean()

    class Never:
        def next_after(self, step: int) -> int:
            return 10**9

        def spent(self, **_: Any) -> None:
            pass

        def alarm(self, step: int) -> bool:
            return False

        def restart(self, step: int) -> bool:
            return False

    event = first_event(loss_of, steps=20, schedule=Never())
    assert (event.step, event.detail["what"]) == (17, "parameter")
    assert event.detail["operation"] == "sqrt"


def test_bad_input_is_told_apart_from_a_bad_model() -> None:
    def loss_of(model: Net, x: Tensor, step: int) -> Tensor:
        if step == 2:
            x[3, 1] = float("nan")
        return model(x).square().mean()

    event = first_event(loss_of)
    assert (event.step, event.detail["what"]) == (3, "input")


def test_overflow_of_an_exponential() -> None:
    event = first_event(lambda model, x, step: torch.exp(model(x) * (1e4 if step == 4 else 1.0)).mean())
    assert (event.step, event.detail["operation"], event.detail["value"]) == (5, "exp", "inf")


def test_a_norm_that_clipping_saw() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with diagnose.watch(model, optimizer, summary=False) as watch:
        for step in range(30):
            optimizer.zero_grad()
            torch.sqrt((model(torch.randn(8, 4)) * (0.0 if step == 20 else 1.0)).square().sum(1)).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    (event,) = watch.history.events("non-finite")
    assert (event.step, event.detail["what"]) == (21, "gradient")


def test_evaluation_losses() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    batches = [(torch.randn(n, 4), torch.randint(2, (n,))) for n in (8, 8, 4)]
    expected = []
    with diagnose.watch(model, optimizer, summary=False, schedule="seeded") as watch:
        for epoch in range(30):
            model.train()
            for x, y in batches:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                reduction = "sum" if epoch % 2 else "mean"
                losses = [float(F.cross_entropy(model(x), y, reduction=reduction)) for x, y in batches]
            weights = [1, 1, 1] if epoch % 2 else [len(y) for _, y in batches]
            expected.append(sum(w * v for w, v in zip(weights, losses, strict=True)) / 20)
    series = watch.history.series("eval_loss", "eval")
    assert series.steps.tolist() == list(range(3, 93, 3))
    assert series.values.tolist() == pytest.approx(expected, rel=1e-5)
