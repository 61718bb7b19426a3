"""Compiled code: what of it is seen, and that the report names the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose

# Dynamo looks at the gradient of a block's input, and hides the warning about it only where warnings are no errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


class Block(nn.Module):
    """Six of its eight units are dead."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        with torch.no_grad():
            self.fc.bias[:6] = -100.0

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = Block(), Block(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)))


def train(model: Callable[[Tensor], Tensor], parameters: Any, steps: int = 4) -> diagnose.Watch:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(64, 8)), torch.zeros(64, dtype=torch.long)).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))
    return watch


def not_seen(watch: diagnose.Watch) -> dict[str, str]:
    return dict(watch.report().run.not_seen)


def whole(model: Net) -> Net:
    model.compile(backend="eager")
    return model


def each_block(model: Net) -> Net:
    model.first.compile(backend="eager")
    model.second.compile(backend="eager")
    return model


def its_forward(model: Net) -> Net:
    model.forward = torch.compile(model.forward, backend="eager")  # type: ignore[method-assign]
    return model


def wrapped(model: Net) -> nn.Module:
    fast: nn.Module = torch.compile(model, backend="eager")
    return fast


@pytest.mark.parametrize("compile", [whole, each_block, its_forward, wrapped])
def test_however_it_is_compiled_its_activations_are_seen(compile: Callable[[Net], nn.Module]) -> None:
    torch._dynamo.reset()
    model = Net()
    watch = train(compile(model), model.parameters())
    assert watch.history.scopes("active_share") == ("first.relu", "second.relu")
    assert watch.history.series("active_share", "first.relu").values[-1] <= 0.25
    assert not_seen(watch) == {}


@pytest.mark.parametrize("compile", [whole, its_forward, wrapped])
def test_the_loss_function_behind_it_is_seen(compile: Callable[[Net], nn.Module]) -> None:
    model = Net()
    watch = train(compile(model), model.parameters())
    ((_, facts),) = watch.history.objectives.items()
    assert (facts.name, facts.classes) == ("cross_entropy", 3)


def test_what_runs_behind_a_compiled_part_of_a_model_is_no_model() -> None:
    """Its outer modules are not seen any more, so those inside would pass for models of their own."""
    model = Net()
    watch = train(each_block(model), model.parameters())
    assert not watch.history.objectives


def test_compiled_before_the_watch_and_trained_without_it_meanwhile() -> None:
    """Neither the attributes of the module nor its compiled code change."""
    torch._dynamo.reset()
    model = whole(Net())
    compiled, names = model._compiled_call_impl, set(vars(model))
    train(model, model.parameters())
    assert model._compiled_call_impl is compiled
    assert set(vars(model)) == names


@pytest.mark.parametrize("compile", [whole, each_block, its_forward, wrapped])
def test_an_evaluation_is_seen_too(compile: Callable[[Net], nn.Module]) -> None:
    torch._dynamo.reset()
    model = Net()
    fast = compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(64, 8), torch.zeros(64, dtype=torch.long)
    losses = []
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(fast(x), y).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                losses.append(F.cross_entropy(fast(x), y).item())
            model.train()
    assert watch.history.series("eval_loss", "eval").values.tolist() == pytest.approx(losses)
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))


class Counting(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def test_one_that_cannot_be_run_a_second_time_is_named() -> None:
    torch._dynamo.reset()
    model = Counting()
    watch = train(whole(model), model.parameters())
    assert model.calls == 4
    assert not_seen(watch) == {"Counting": "its forward changes its attribute calls"}


def test_a_compiled_function_is_named() -> None:
    torch._dynamo.reset()
    model = Net()

    @torch.compile(backend="eager")
    def predict(x: Tensor) -> Tensor:
        return model(x)

    watch = train(predict, model.parameters())
    assert not_seen(watch) == {"predict": "a compiled function: what runs in it is not seen"}


def test_neither_a_compiled_step_nor_an_evaluation_hides_anything() -> None:
    torch._dynamo.reset()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def step() -> None:
        optimizer.step()

    @torch.compile(backend="eager")
    def accuracy(x: Tensor) -> Tensor:
        return model(x).argmax(1)

    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(64, 8)), torch.zeros(64, dtype=torch.long)).backward()
            step()
            with torch.no_grad():
                accuracy(torch.randn(2, 8))
    assert not_seen(watch) == {}


DISTRIBUTED = """
import sys, torch, torch.distributed as dist, torch.nn as nn
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
calls = []
model[1].register_forward_hook(lambda *_: calls.append(1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
COMPILE
for _ in range(4):
    optimizer.zero_grad()
    fast(torch.ones(8, 4)).pow(2).mean().backward()
    optimizer.step()
assert len(calls) == 4, calls
dist.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="built without torch.distributed")
@pytest.mark.parametrize(
    "compile",
    ["fast = torch.compile(model, backend='eager')", "fast = model; model.compile(backend='eager')"],
    ids=["wrapped", "in place"],
)
def test_nothing_runs_twice_where_processes_talk_to_each_other(compile: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(DISTRIBUTED.replace("COMPILE", compile))
    command = [sys.executable, "-m", "diagnose", "run", "--schedule", "every", "--no-tensorboard", "--json", "r.json"]
    subprocess.run([*command, "train.py", str(tmp_path / "store")], cwd=tmp_path, check=True)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["run"]["not_seen"] == {"Sequential": "its forward may communicate with other processes"}
