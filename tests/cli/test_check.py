"""`diagnose check FACTORY`."""

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

class Net(nn.Module):
    def __init__(self, cut=False, broken=False):
        super().__init__()
        self.first, self.head = nn.Linear(6, 16), nn.Linear(16, 3)
        self.cut, self.broken = cut, broken

    def forward(self, x):
        h = torch.relu(self.first(x))
        if self.broken:
            h = h.view(3, 7)
        return self.head(h.detach() if self.cut else h)

def batch(): return torch.randn(8, 6), nn.CrossEntropyLoss(), torch.randint(3, (8,))
def right(): return Net(), *batch()
def cut(): return Net(cut=True), *batch()
def broken(): return Net(broken=True), *batch()
def bare(): return Net()
def no_loss(): return Net(), torch.randn(8, 6)
def function(): return torch.sin, torch.randn(3)
def no_number(): return Net(), torch.randn(8, 6), lambda output: output
def targets_only(): return Net(), torch.randn(8, 6), None, torch.zeros(8)
"""


@pytest.fixture(autouse=True)
def _file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path("some_net.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("some_net", None)


def check(*arguments: str) -> int:
    return main(["check", *arguments])


def test_all_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_net.py:right", "--ignore", "gradients,fit-tiny,lr-range-test") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("diagnose: Net: 10 checks passed, 1 does not apply (")
    assert lines[2].split()[:2] == ["ok", "loss-at-init"]
    assert captured.err == ""


def test_something_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_net.py:cut", "--select", "gradient-flow,descent", "--seed", "3") == 1
    out = capsys.readouterr().out
    assert out.startswith("diagnose: Net: 1 check of 2 failed (")
    assert "\nFAILED    gradient-flow  2 of 4 parameters get a gradient\n" in out
    assert "parameter-not-updated in first.weight" in out
    assert out.endswith("\nagain: diagnose check some_net.py:cut --select gradient-flow,descent --seed 3\n")


def test_the_level_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("some_net.py:cut", "--select", "gradient-flow", "--fail-on")
    assert check(*arguments, "error") == 0
    assert check(*arguments, "never") == 0
    assert "FAILED" in capsys.readouterr().out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_net.py:cut", "--select", "gradient-flow", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["version"], report["ok"], report["subject"]) == (1, False, "Net")
    assert [(one["name"], one["status"]) for one in report["checks"]] == [("gradient-flow", "failed")]
    assert report["checks"][0]["findings"][0]["code"] == "parameter-not-updated"
    assert check("some_net.py:right", "--select", "descent", "--json", "checks.json") == 0
    assert "descent" in capsys.readouterr().out
    assert json.loads(Path("checks.json").read_text())["ok"] is True
    assert check("some_net.py:right", "--select", "descent", "--json", "missing/checks.json") == 2
    assert "--json missing/checks.json: cannot be written" in capsys.readouterr().err


def test_inputs_are_made_up_and_a_loss_may_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("some_net.py:bare", "--input-shape", "8,6", "--select", "input-sensitivity,fit-tiny") == 0
    out = capsys.readouterr().out
    assert "1 check passed, 1 does not apply" in out
    assert "there is no loss" in out


def test_the_curve_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    assert check("some_net.py:right", "--select", "lr-range-test", "--plot", "rates.png") == 0
    assert Path("rates.png").read_bytes().startswith(b"\x89PNG")


def test_the_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--list") == 0
    assert "gradient-flow              does each parameter get a gradient?\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["some_net.py:broken"],
            "Net raised RuntimeError: shape '[3, 7]' is invalid for input of size 128 (some_net.py:13)",
        ),
        (["some_net.py:no_number"], "The loss has to be one number, and is a shape (8, 3)."),
        (["some_net.py:targets_only"], "returned targets without a loss_fn"),
        (["some_net.py:bare"], "returned a module without inputs: add --input-shape"),
        (["some_net.py:right", "--input-shape", "3"], "returned inputs: --input-shape is for factories that do not."),
        (["some_net.py:function"], "returned a function, and checks need a torch.nn.Module"),
        (["some_net.py:rihgt"], "Did you mean 'right'?"),
        (["some_net.py:right", "--select", "fit-tinny"], "there is no check 'fit-tinny'"),
        (["some_net.py:right", "--select", "descent", "--ignore", "descent"], "leave no check to run"),
        (["some_net.py:right", "--select", "descent", "--plot", "x.png"], "--plot draws lr-range-test"),
        (["some_net.py:right", "--selct", "x"], "Did you mean '--select'?"),
        (["--json", "some_net.py:right"], "name the FACTORY before --json"),
        ([], "name a FACTORY, as train.py:make_all"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
