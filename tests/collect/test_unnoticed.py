"""A second forward pass that nothing in the run can notice, or that is refused."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose.collect.unnoticed import lasting_effect, run_unnoticed

calls = 0


class Noted:
    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        print("forward")
        noise = random.random() + float(np.random.rand())
        x.add_(noise)
        return self.drop(self.norm(self.linear(x)))


class Counting(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class CountingElsewhere(Net):
    def __init__(self) -> None:
        super().__init__()
        self.notes = Noted()

    def forward(self, x: Tensor) -> Tensor:
        self.notes.count += 1
        self.notes.rows.append(len(x))
        return super().forward(x)


class Writing(Net):
    def log(self, x: Tensor) -> None:
        with open("log.txt", "a") as file:
            file.write(str(x))

    def forward(self, x: Tensor) -> Tensor:
        self.log(x)
        return x


class CountingGlobally(Net):
    def forward(self, x: Tensor) -> Tensor:
        global calls
        calls += 1
        return x


class SavesElsewhere(Net):
    def save(self) -> None:
        torch.save(self.state_dict(), "model.pt")


def state(model: nn.Module, x: Tensor) -> list[Any]:
    return [
        *(t.clone() for t in model.state_dict().values()),
        x.clone(),
        torch.get_rng_state(),
        torch.tensor(random.getstate()[1]),
        torch.tensor(np.random.get_state()[1].astype(np.int64)),  # type: ignore[union-attr]
        torch.tensor([module.training for module in model.modules()]),
    ]


@pytest.mark.parametrize("evaluating", [True, False])
def test_nothing_changes(evaluating: bool, capsys: pytest.CaptureFixture[str]) -> None:
    model, x = Net(), torch.randn(6, 4)
    model.register_forward_hook(lambda *_: pytest.fail("the user's hook ran"))
    model.norm.eval()  # modes are mixed, and stay so
    before = state(model, x)
    output, reason = run_unnoticed(model, (x,), {}, evaluating=evaluating)
    assert reason is None
    assert output.shape == (6, 4)
    assert bool((output == 0).any()) is not evaluating, "dropout is off in evaluation mode only"
    assert all(torch.equal(a, b) for a, b in zip(before, state(model, x), strict=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("kind", "changed"), [(Counting, "calls"), (CountingElsewhere, "count")])
def test_attributes_are_put_right_and_named(kind: type[Net], changed: str) -> None:
    model = kind()
    output, reason = run_unnoticed(model, (torch.randn(6, 4),), {})
    assert output is None
    assert reason == f"its forward changes its attribute {changed}"
    notes = getattr(model, "notes", None) or Noted()
    assert (getattr(model, "calls", 0), notes.count, notes.rows) == (0, 0, [])


@pytest.mark.parametrize(("kind", "found"), [(Writing, "open"), (CountingGlobally, "the outer variable calls")])
def test_what_cannot_be_put_right_is_not_run(kind: type[Net], found: str) -> None:
    output, reason = run_unnoticed(kind(), (torch.randn(6, 4),), {})
    assert output is None
    assert found in str(reason)
    assert calls == 0


def test_only_what_forward_reaches_counts() -> None:
    assert lasting_effect(SavesElsewhere()) is None
    assert lasting_effect(nn.TransformerEncoderLayer(8, 2)) is None


def test_an_exception_is_a_reason() -> None:
    output, reason = run_unnoticed(nn.Linear(3, 3), (torch.randn(6, 4),), {})
    assert output is None
    assert "RuntimeError" in str(reason)
