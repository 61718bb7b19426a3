"""`diagnose gap`."""

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
torch.manual_seed(0)
inputs = torch.randn(600, 8)
targets = (inputs[:, 0] > 0).long()
train, test = (inputs[:300], targets[:300]), (inputs[300:], targets[300:])
right = nn.Linear(8, 2)
with torch.no_grad():
    right.weight.zero_(); right.bias.zero_(); right.weight[1, 0] = 9.0

def three(): return right, train, test
def four(): return right, train, test, nn.functional.cross_entropy
def as_for_check(): return right, test[0], nn.functional.cross_entropy, test[1]
def arguments(): return {"train_error": 0.2, "test_error": 0.2, "n_train": 900, "target_error": 0.1}
def unknown(): return {"train_eror": 0.2}
def number(): return 3
def raises(): raise ValueError("no data here")
"""


@pytest.fixture(autouse=True)
def _file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path("some_gap.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("some_gap", None)


def gap(*arguments: str) -> int:
    return main(["gap", *arguments])


NUMBERS = ("--train-error", "0.2", "--n-train", "900", "--test-error", "0.21", "--n-test", "900", "--target", "0.1")


def test_numbers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert gap(*NUMBERS, "--set", "hidden=4", "--set", "optimizer=adam") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("underfitting: ")
    assert "1. more-capacity: hidden 4 -> 8 to 32" in captured.out
    assert captured.err == ""


def test_json_on_stdout_and_in_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert gap(*NUMBERS, "--json") == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "underfitting"
    assert gap(*NUMBERS, "--json", str(tmp_path / "gap.json")) == 1
    assert json.loads((tmp_path / "gap.json").read_text())["verdict"] == "underfitting"
    assert "underfitting" in capsys.readouterr().out


def test_a_target_that_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert gap("--test-error", "0.01", "--n-test", "5000", "--target", "0.05") == 0
    assert capsys.readouterr().out.startswith("target-met: ")


@pytest.mark.parametrize("name", ["three", "four", "as_for_check"])
def test_a_factory(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap(f"some_gap.py:{name}", "--target", "0.05") == 0
    assert capsys.readouterr().out.startswith("target-met: ")


def test_a_factory_of_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert gap("some_gap.py:arguments") == 1
    assert capsys.readouterr().out.startswith("underfitting: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "RUN_DIR"),
        (("nothing",), "no run is stored"),
        (("some_gap.py:number",), "returned an object of type int"),
        (("some_gap.py:unknown",), "train_eror"),
        (("some_gap.py:raises",), "no data here"),
        (("some_gap.py:arguments", "--train-error", "0.1"), "both"),
        (("--test-error", "-1"), "is no share"),
        (("--set", "lr"), "NAME=VALUE"),
        (("--test-eror", "1"), "--test-error"),
        ((*NUMBERS, "--json", "no/such/folder/x.json"), "cannot be written"),
        ((*NUMBERS, "--probe"), "train_data"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap(*arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("value", ["14", "-0.1", "14%", "nan"])
def test_a_percentage_is_no_share(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap(f"--train-error={value}", "--test-error", "0.2") == 2
    assert "14 % is 0.14" in capsys.readouterr().err
