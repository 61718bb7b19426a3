"""FACTORY: `MODULE:NAME` or `FILE.py:NAME`, and what is said about those that are none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from diagnose.errors import FactoryError
from diagnose.program.factory import load, make, taken_apart

SOURCE = """\
import json
from helper_of_it import WIDTH
from torch import nn, ones

def module(): return nn.Linear(WIDTH, 2)
def pair(): return nn.Linear(3, 2), ones(4, 3)
def fails(): raise KeyError("width")
def wants(argument): return argument
class Space:
    @staticmethod
    def module(): return nn.Linear(5, 2)
number = 3
main = __name__ == "__main__"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "made_here.py").write_text(SOURCE)
    (tmp_path / "helper_of_it.py").write_text("WIDTH = 3\n")
    (tmp_path / "broken_here.py").write_text("import no_such_thing\n")
    (tmp_path / "exits_here.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.endswith(("_here", "_of_it")):
            del sys.modules[name]


@pytest.mark.parametrize("place", ["made_here.py", "./made_here.py", "made_here"])
def test_a_file_and_a_module(place: str) -> None:
    made = make(f"{place}:module")
    assert isinstance(made.target, nn.Linear)
    assert made.target.in_features == 3
    assert (made.inputs, made.loss_fn) == (None, None)


def test_a_name_inside_a_class_and_a_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert load(f"{tmp_path / 'made_here.py'}:Space.module")().in_features == 5


def test_it_is_not_main_and_is_imported_once() -> None:
    assert load("made_here.py:module") is load("made_here.py:module")
    assert sys.modules["made_here"].main is False


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("made_here.py", "'made_here.py' is no FACTORY: write MODULE:NAME or FILE.py:NAME"),
        (":module", "is no FACTORY"),
        ("nowhere.py:module", "There is no file nowhere.py."),
        ("nowhere_here:module", "There is no module 'nowhere_here'."),
        ("made_here.py:modul", "made_here.py has no 'modul'. Did you mean 'module'?"),
        ("made_here.py:zzz", "made_here.py has no 'zzz'.$"),
        ("made_here.py:number", "made_here.py:number is an object of type int, not a function without arguments"),
        ("made_here.py:fails", "made_here.py:fails raised KeyError: 'width'"),
        ("made_here.py:wants", "made_here.py:wants raised TypeError"),
        (
            "broken_here.py:module",
            "importing broken_here.py raised ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        ("broken_here:module", "importing broken_here raised ModuleNotFoundError: No module named 'no_such_thing'"),
        ("exits_here.py:module", "importing exits_here.py raised SystemExit: 0"),
    ],
)
def test_what_is_wrong_is_told(factory: str, message: str) -> None:
    with pytest.raises(FactoryError, match=message):
        make(factory)


def test_a_file_does_not_replace_a_loaded_module(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def module(): ...\n")
    import json

    with pytest.raises(FactoryError, match="returned nothing"):
        make("json.py:module")
    assert sys.modules["json"] is json
    del sys.modules["_factory_json"]


X = torch.ones(2, 3)
NET = nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("result", "inputs"),
    [
        (NET, None),
        ((NET, X), (X,)),
        ((NET, [X, X]), (X, X)),
        ((NET, {"input": X}), {"input": X}),
        ((torch.sin, X), (X,)),
        ((NET, X, torch.sum), (X,)),
        ((NET, X, None), (X,)),
    ],
)
def test_what_it_may_return(result: Any, inputs: Any) -> None:
    made = taken_apart(result, "f.py:f")
    assert type(made.inputs) is type(inputs)
    assert made.inputs is None or len(made.inputs) == len(inputs)


@pytest.mark.parametrize(
    ("result", "what"),
    [
        (None, "returned nothing"),
        (3, "returned an object of type int"),
        (torch.sin, "returned an object of type builtin_function_or_method"),
        ((X, NET), "returned a tuple that begins with an object of type Tensor"),
        ((NET, X, torch.sum, 4, 5), "returned a tuple of 5"),
        ((NET, X, None, X), "returned targets without a loss_fn"),
        ((NET, X, "mse"), "returned an object of type str as its loss_fn"),
    ],
)
def test_what_it_may_not_return(result: Any, what: str) -> None:
    with pytest.raises(FactoryError, match=f"f.py:f {what}"):
        taken_apart(result, "f.py:f")


def test_targets_are_given_to_the_loss_after_the_output() -> None:
    made = taken_apart((NET, X, lambda output, targets: output - targets, 3), "f.py:f")
    assert made.targets == 3
    assert made.loss_of_output is not None
    assert made.loss_of_output(5) == 2
    alone = taken_apart((NET, X, torch.sum), "f.py:f")
    assert alone.targets is None
    assert alone.loss_of_output is torch.sum
