"""symmetric-init: all units of a layer are the same and stay so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, SymmetryFacts
from diagnose.testing import Parameter, history_of
from tests.rules.looking import falling, said, the_only

CODE = "symmetric-init"
ALIKE = SymmetryFacts(units=64, looks=8, first_step=1, last_step=80)


def run(**symmetric: SymmetryFacts) -> History:
    names = [f"{name}.weight" for name in sorted(symmetric)] + ["head.bias"]
    history = history_of(steps=100, loss=falling(100), parameters={name: Parameter() for name in names})
    history.symmetric = {f"{name}.weight": facts for name, facts in symmetric.items()}
    return history


@pytest.mark.parametrize("constant", [True, False])
def test_a_real_run(constant: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    if constant:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(30):
            x = torch.randn(16, 4)
            loss = (model(x) - x[:, :1].abs()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert bool(said(watch.history, CODE)) is constant


def test_layers_whose_units_are_alike() -> None:
    finding = the_only(run(a=ALIKE, b=ALIKE), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.where.parameter == "a.weight"
    assert finding.evidence["also_at"] == ["b.weight"]
    assert "64 units" in finding.message
    assert "equal gradients" in finding.message


def test_all_zero() -> None:
    assert "with a gradient of 0" in the_only(run(a=replace(ALIKE, zero=True, without_gradient=True)), CODE).message


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        (replace(ALIKE, looks=4, last_step=11), True),
        (replace(ALIKE, looks=3), False),
        (replace(ALIKE, last_step=10), False),
    ],
)
def test_the_limits(facts: SymmetryFacts, fires: bool) -> None:
    assert bool(said(run(a=facts), CODE)) is fires


def test_a_run_in_which_nothing_moves() -> None:
    history = run(a=ALIKE)
    for facts in history.parameters.values():
        facts.changed = False
    assert not said(history, CODE)
    assert not said(History(), CODE)


@given(st.permutations(["a", "b", "c"]))
def test_the_order_does_not_matter(names: list[str]) -> None:
    layers = {name: replace(ALIKE, units=ord(name)) for name in "abc"}
    history = run(**{name: layers[name] for name in names})
    again = History.from_arrays(*history.to_arrays())
    assert said(history, CODE) == said(run(**layers), CODE) == said(again, CODE)
