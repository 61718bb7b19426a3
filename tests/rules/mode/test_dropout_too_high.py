"""dropout-too-high: hidden layers of which hardly anything is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, ModeFacts
from diagnose.testing import history_of
from tests.rules.looking import falling, flat, loud, said, the_only

CODE = "dropout-too-high"


def trained(p: float, *, before: float = 0.0, steps: int = 150) -> History:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(before), nn.Linear(16, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    with diagnose.watch(summary=False) as watch:
        for _ in range(steps):
            x = torch.randn(64, 16)
            optimizer.zero_grad()
            F.cross_entropy(model(x), (x[:, :2].sum(1) > 0).long()).backward()
            optimizer.step()
    return watch.history


def written(loss: Any = None, **facts: Any) -> History:
    history = history_of(steps=300, loss=falling(300) if loss is None else loss)
    usual = {
        "kind": "dropout",
        "type": "Dropout",
        "module": "drop",
        "model": "model",
        "optimizer": "SGD",
        "p": 0.8,
        "layer": "fc1",
        "units": 64,
        "trained": True,
        "on": 20,
        "first_on": 1,
        "last_on": 300,
    }
    history.modes["drop (SGD)"] = ModeFacts(**{**usual, **facts})
    return history


def evaluated(history: History, *levels: float) -> History:
    for index, level in enumerate(levels):
        history.record("eval_loss", 100 * (index + 1), {"eval": level})
    return history


# -- real runs ----------------------------------------------------------------------------------------


def test_the_probability_to_keep() -> None:
    finding = the_only(trained(0.9), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.module, finding.evidence["units"], finding.evidence["p"]) == ("3", 64, 0.9)


def test_the_probability_to_drop() -> None:
    assert not said(trained(0.1), CODE)
    assert not said(trained(0.5), CODE)


def test_on_the_inputs() -> None:
    assert not said(trained(0.1, before=0.8), CODE)


# -- hand-made histories ------------------------------------------------------------------------------


def test_a_loss_that_stays_high() -> None:
    finding = the_only(written(flat(300)), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["share_of_loss_left"] == pytest.approx(1, abs=0.05)
    assert "13 of 64" in finding.message


def test_a_loss_that_falls() -> None:
    assert not said(written(), CODE)
    assert the_only(written(p=0.9), CODE).severity is Severity.INFO


@pytest.mark.parametrize(("level", "fires"), [(0.079, True), (0.081, False)])
def test_the_evaluation_is_better_than_training(level: float, fires: bool) -> None:
    loss = falling(300, noise=0.0)
    loss[-60:] = 0.1
    assert bool(said(evaluated(written(loss), 2.0, level, level, level), CODE)) is fires


def test_an_evaluation_loss_of_another_measure() -> None:
    assert not said(evaluated(written(), 2e-3, 1e-3, 1e-3), CODE)


@pytest.mark.parametrize(("p", "fires"), [(0.74, False), (0.75, True)])
def test_the_limit(p: float, fires: bool) -> None:
    assert bool(said(written(flat(300), p=p), CODE)) is fires


@pytest.mark.parametrize(("units", "fires"), [(1024, False), (1020, True)])
def test_wide_layers(units: int, fires: bool) -> None:
    assert bool(said(written(flat(300), p=0.75, units=units), CODE)) is fires


@pytest.mark.parametrize("facts", [{"layer": ""}, {"trained": False}, {"on": 0}, {"kind": "normalization"}])
def test_what_is_not_meant(facts: dict[str, Any]) -> None:
    assert not said(written(flat(300), **facts), CODE)


def test_a_short_run() -> None:
    history = history_of(steps=49, loss=flat(49))
    history.modes = written().modes
    assert not said(history, CODE)


@given(st.floats(0, 0.7), st.integers(0, 10_000), st.booleans())
def test_usual_probabilities_are_silent(p: float, units: int, learns: bool) -> None:
    assert not loud(said(written(None if learns else flat(300), p=p, units=units), CODE))
