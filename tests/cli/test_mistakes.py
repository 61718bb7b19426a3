"""`diagnose mistakes FACTORY`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnose.cli import main

SOURCE = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
Y[17] = 1 - Y[17]

class Net(nn.Module):
    def forward(self, x):
        return torch.stack([-8 * x[:, 0], 8 * x[:, 0]], 1)

def loader(): return Net(), DataLoader(TensorDataset(X, Y), 8, shuffle=True)
def dataset(): return Net(), TensorDataset(X, Y), nn.CrossEntropyLoss()
def tensors(): return Net(), X, nn.CrossEntropyLoss(), Y
def pair(): return Net(), (X, Y)
def inputs(): return Net(), X
def bare(): return Net()
def broken(): return nn.Linear(3, 2), TensorDataset(X, Y)
def both(): return Net(), TensorDataset(X, Y), nn.CrossEntropyLoss(), Y
def function(): return (lambda x: torch.stack([-x[:, 0], x[:, 0]], 1)), TensorDataset(X, Y)
"""


@pytest.fixture(autouse=True)
def _file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path("some_net.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("some_net", None)


def mistakes(*arguments: str) -> int:
    return main(["mistakes", *arguments])


@pytest.mark.parametrize("factory", ["loader", "dataset", "tensors", "pair", "function"])
def test_the_worst_mistake_is_named(factory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistakes(f"some_net.py:{factory}", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["rankings"]["confident"][0]["id"] == 17 and data["examples"] == 60


def test_tables_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        mistakes("some_net.py:loader", "--out", "found", "--classes", "no,yes", "--k", "5", "--json", "all.json") == 0
    )
    shown = capsys.readouterr().out
    assert "Suspect labels: 1 very likely" in shown and "yes" in shown and "written: found" in shown
    assert {"mistakes.json", "scores.csv"} <= {path.name for path in Path("found").iterdir()}
    assert json.loads(Path("all.json").read_text())["classes"] == ["no", "yes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["some_net.py:inputs"], "returned no data with targets"),
        (["some_net.py:bare"], "returned no data with targets"),
        (["some_net.py:broken"], "Linear raised RuntimeError"),
        (["some_net.py:both"], "returned targets beside a TensorDataset"),
        (["some_net.py:loader", "--k", "0"], "--k and --batch-size have to be at least 1"),
        (["some_net.py:loader", "--task", "multilabel"], "do not fit"),
        (["some_net.py:loader", "--out", "some_net.py"], "cannot be written"),
        (["some_net.py:loader", "--json", "no/such/folder.json"], "--json no/such/folder.json: cannot be written"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistakes(*arguments) == 2
    assert message in capsys.readouterr().err


def test_other_commands_say_that_they_need_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "some_net.py:loader"]) == 2
    assert "DataLoader" in capsys.readouterr().err
