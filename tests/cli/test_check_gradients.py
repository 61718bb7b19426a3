"""`diagnose check-gradients FACTORY`."""

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

class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, upstream):
        return ctx.saved_tensors[0] * upstream

def right(): return torch.sin, torch.randn(3, 4)
def wrong(): return Half.apply, torch.randn(3, 4)
def net(): return nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
def loss(): return nn.Linear(4, 3), torch.randn(5, 4), lambda output: output.square().mean()
def nothing(): return 3
def raises(): return (lambda x: x.nope()), torch.ones(2)
"""


@pytest.fixture(autouse=True)
def _file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path("some_ops.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("some_ops", None)


def check(*arguments: str) -> int:
    return main(["check-gradients", *arguments])


def test_all_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:right") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("gradients of sin: 1 right (float32, differences in float64, ")
    assert captured.err == ""


def test_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:wrong", "--seed", "3") == 1
    out = capsys.readouterr().out
    assert "x: fault: it is 0.5 times the numeric gradient throughout" in out
    assert "suspect: autograd.Function Half (some_ops.py:11)" in out
    assert out.endswith("again: diagnose check-gradients some_ops.py:wrong --seed 3\n")


def test_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:wrong", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["version"] == 1
    assert report["ok"] is False
    assert [entry["verdict"] for entry in report["entries"]] == ["fault"]
    assert report["findings"][0]["code"] == "wrong-gradient"
    assert report["findings"][0]["where"]["file"] == "some_ops.py"


def test_json_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:loss", "--json", "report.json") == 0
    assert "weight" in capsys.readouterr().out
    assert json.loads(Path("report.json").read_text())["ok"] is True
    assert check("some_ops.py:loss", "--json", "missing/report.json") == 2
    assert "--json missing/report.json: cannot be written" in capsys.readouterr().err


def test_inputs_are_made_up_for_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:net", "--input-shape", "5,4", "--dtype", "float64", "--second-order") == 0
    out = capsys.readouterr().out
    assert "(float64, " in out
    assert "0.weight (2nd order)" in out
    assert "note: the forward draws random numbers" in out


def test_inputs_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_ops.py:net", "--input-shape", "5,4", "--no-parameters", "--mode", "exhaustive") == 0
    out = capsys.readouterr().out
    assert "20 of 20" in out
    assert "weight" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["some_ops.py:net"], "returned a module without inputs: add --input-shape, as 8,3,32,32."),
        (["some_ops.py:right", "--input-shape", "3"], "returned inputs: --input-shape is for factories that do not."),
        (["some_ops.py:nothing"], "some_ops.py:nothing returned an object of type int."),
        (["some_ops.py:wright"], "some_ops.py has no 'wright'. Did you mean 'right'?"),
        (["some_ops.py:raises"], "<lambda> raised AttributeError: 'Tensor' object has no attribute 'nope'"),
        (["missing.py:right"], "There is no file missing.py."),
        (["some_ops.py:net", "--input-shape", "a,b"], "'a,b' is no shape: write it as 8,3,32,32"),
        (["some_ops.py:right", "--mode", "fast"], "invalid choice: 'fast'"),
        (["some_ops.py:right", "--dtyp", "x"], "Did you mean '--dtype'?"),
        (["some_ops.py:right", "--rtol", "0"], "--seconds and --rtol have to be positive"),
        ([], "the following arguments are required: FACTORY"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
