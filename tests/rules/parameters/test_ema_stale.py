"""ema-stale: an averaged copy that does not follow."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import CopyFacts, History
from diagnose.testing import history_of
from tests.rules.looking import falling, said, the_only

CODE = "ema-stale"
FOLLOWS = CopyFacts(
    "ema",
    "Net",
    looks_in_evaluation=5,
    moved=4,
    follows=True,
    source_moved=True,
    statistics=64,
    source_statistics_moved=4,
    first_step=20,
    last_step=100,
    file="train.py",
    line=30,
)
STILL = replace(FOLLOWS, moved=0, follows=False, is_start=True, statistics=0, source_statistics_moved=0)
AVERAGED = replace(STILL, averaged=0, looks_in_evaluation=1)


def run(*copies: CopyFacts) -> History:
    history = history_of(steps=100, loss=falling(100))
    history.copies = list(copies)
    return history


@pytest.mark.parametrize("buffers", [False, True])
def test_a_real_run(buffers: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))
    ema = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(3):
            for _ in range(5):
                x = torch.randn(16, 3) + 1
                optimizer.zero_grad()
                (model(x) - x[:, :1]).square().mean().backward()
                optimizer.step()
                with torch.no_grad():
                    for old, new in zip(ema.parameters(), model.parameters(), strict=True):
                        old.lerp_(new, 0.5)
                    if buffers:
                        for old, new in zip(ema.buffers(), model.buffers(), strict=True):
                            old.copy_(new)
            ema.eval()
            with torch.no_grad():
                nn.functional.mse_loss(ema(torch.randn(16, 3)), torch.zeros(16, 1))
    assert bool(said(watch.history, CODE)) is not buffers


def test_statistics_that_stay_what_they_are() -> None:
    finding = the_only(run(FOLLOWS), CODE)
    assert finding.severity is Severity.WARNING
    assert "stay what they are" in finding.message
    assert (finding.where.file, finding.where.line) == ("train.py", 30)


def test_statistics_that_have_seen_no_batch_show_at_once() -> None:
    once = replace(FOLLOWS, moved=0, looks_in_evaluation=1, source_statistics_moved=0, statistics_are_new=True)
    assert "have seen no batch" in the_only(run(once), CODE).message


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        (AVERAGED, True),
        (replace(AVERAGED, last_step=50), True),
        (replace(AVERAGED, last_step=49), False),
        (replace(AVERAGED, averaged=1, is_start=False), False),
        (STILL, True),
        (replace(STILL, looks_in_evaluation=3), True),
        (replace(STILL, looks_in_evaluation=2), False),
        (replace(STILL, looks_in_training=1), False),
        (replace(STILL, source_moved=False), False),
        (replace(STILL, is_start=False), False),
    ],
)
def test_copies_that_never_move(facts: CopyFacts, fires: bool) -> None:
    assert bool(said(run(facts), CODE)) is fires


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        (replace(STILL, looks_in_evaluation=1, scaled=3), True),
        (replace(STILL, looks_in_evaluation=1, scaled=2), False),
        (replace(STILL, looks_in_evaluation=0, looks_in_training=9, scaled=3), True),
        (replace(STILL, looks_in_evaluation=1, statistics=64, statistics_are_models=True), True),
        (replace(STILL, looks_in_evaluation=1, moved=1, scaled=3), False),
        (replace(STILL, looks_in_evaluation=1, is_start=False, scaled=3), False),
        (replace(STILL, looks_in_evaluation=1, source_moved=False, scaled=3), False),
    ],
)
def test_updates_in_vain(facts: CopyFacts, fires: bool) -> None:
    found = said(run(facts), CODE)
    assert bool(found) is fires
    assert all("in vain" in finding.message for finding in found)


def test_what_another_copy_is_made_of_is_not_updated_in_vain() -> None:
    start = replace(STILL, looks_in_evaluation=1, scaled=9)
    assert not said(run(start, replace(FOLLOWS, statistics=0)), CODE)
    assert said(run(start, replace(FOLLOWS, type="Other", statistics=0)), CODE)


@pytest.mark.parametrize(
    "facts",
    [
        replace(FOLLOWS, statistics_moved=4),
        replace(FOLLOWS, statistics_moved=1),
        replace(FOLLOWS, source_statistics_moved=0),
        replace(FOLLOWS, statistics=0, source_statistics_moved=0),
        replace(FOLLOWS, follows=False, statistics_are_new=True),
    ],
    ids=["buffers too", "update_bn", "frozen statistics", "no statistics", "a model of its own"],
)
def test_healthy(facts: CopyFacts) -> None:
    assert not said(run(facts), CODE)


def test_nothing_known() -> None:
    assert not said(History(), CODE)


@given(st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(0, 3))
def test_a_round_trip_says_the_same(follows: bool, new: bool, moved: int, evaluated: int, averaged: int | None) -> None:
    facts = replace(
        FOLLOWS,
        follows=follows,
        statistics_are_new=new,
        moved=moved,
        looks_in_evaluation=evaluated,
        averaged=averaged,
    )
    history = run(facts, STILL)
    before = said(history, CODE)
    assert said(History.from_arrays(*history.to_arrays()), CODE) == before == said(history, CODE)
