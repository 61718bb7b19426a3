"""labels-misaligned: the same inputs come with other labels each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, PairFacts
from tests.rules.looking import said, the_only

CODE = "labels-misaligned"
APART = PairFacts("net", "SGD", "train.py", 12, again=400, agreed=104, by_chance=0.25, drawn=900)


def run(facts: PairFacts) -> History:
    history = History()
    history.pairs["net/1"] = facts
    return history


def test_shuffled_apart() -> None:
    finding = the_only(run(APART), CODE)
    assert finding.severity is Severity.ERROR
    assert (finding.where.file, finding.where.line) == ("train.py", 12)
    assert "26%" in finding.message


@pytest.mark.parametrize(("agreed", "fires"), [(159, True), (160, False), (400, False)])
def test_the_limit_is_a_fifth_of_the_way(agreed: int, fires: bool) -> None:
    assert bool(said(run(replace(APART, agreed=agreed)), CODE)) is fires


def test_too_few_rows() -> None:
    assert not said(run(replace(APART, again=99, agreed=25)), CODE)


def test_inputs_that_recur_by_nature() -> None:
    assert not said(run(replace(APART, twins=20)), CODE)


def test_one_class() -> None:
    assert not said(run(replace(APART, by_chance=1.0, agreed=400)), CODE)
    assert not said(run(PairFacts()), CODE)


@given(st.integers(0, 500), st.floats(0, 1), st.floats(0, 1))
def test_a_round_trip_changes_nothing(again: int, share: float, by_chance: float) -> None:
    history = run(replace(APART, again=again, agreed=int(share * again), by_chance=by_chance))
    data, arrays = history.to_arrays()
    assert said(History.from_arrays(json.loads(json.dumps(data)), arrays), CODE) == said(history, CODE)


# -- real runs ------------------------------------------------------------------------------------------


def trained(*, apart: bool, noise: float = 0.0) -> History:
    torch.manual_seed(0)
    inputs = torch.randn(300, 6)
    labels = inputs[:, :3].argmax(1)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(3):
            order = torch.randperm(300)
            other = torch.randperm(300) if apart else order
            for rows, twins in zip(order.split(30), other.split(30), strict=True):
                drawn = torch.where(torch.rand(30) < noise, torch.randint(3, (30,)), labels[twins])
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), drawn).backward()
                optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def test_a_real_run_and_its_twins() -> None:
    finding = the_only(trained(apart=True), CODE)
    assert finding.evidence["rows_met_again"] == 600
    assert not said(trained(apart=False), CODE)
    assert not said(trained(apart=False, noise=0.3), CODE)
