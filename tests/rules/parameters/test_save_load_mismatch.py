"""save-load-mismatch: a load that changes nothing."""

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
from diagnose.history import History, LoadFacts
from diagnose.testing import history_of
from tests.rules.looking import falling, said, the_only

CODE = "save-load-mismatch"
ALIASED = LoadFacts("model", aliased=True, taken_at=40, loaded_at=100, file="train.py", line=9)
WRAPPED = LoadFacts("model", loaded_at=0, keys=9, matched=0, missing=8, prefix="module.", file="train.py", line=3)


def run(*loads: LoadFacts) -> History:
    history = history_of(steps=100, loss=falling(100))
    history.loads = list(loads)
    return history


@pytest.mark.parametrize("copied", [False, True])
def test_a_real_run(copied: bool) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(10):
            optimizer.zero_grad()
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
            if step == 5:
                best = copy.deepcopy(model.state_dict()) if copied else model.state_dict()
        model.load_state_dict(best)
    assert bool(said(watch.history, CODE)) is not copied


def test_the_best_state_was_the_model_itself() -> None:
    finding = the_only(run(ALIASED), CODE)
    assert finding.severity is Severity.ERROR
    assert (finding.where.file, finding.where.line) == ("train.py", 9)
    assert "step 40" in finding.message
    assert "deepcopy" in finding.remedy


def test_a_prefix_to_take_off_or_to_put_before() -> None:
    assert "begin with 'module.'" in the_only(run(WRAPPED), CODE).message
    assert "Put 'encoder.' before" in the_only(run(replace(WRAPPED, prefix="+encoder.")), CODE).remedy


def test_nothing_fits_for_no_known_reason() -> None:
    assert the_only(run(replace(WRAPPED, prefix="")), CODE).severity is Severity.WARNING


@pytest.mark.parametrize(
    "load",
    [
        replace(WRAPPED, keys=10, matched=5),
        replace(WRAPPED, prefix="", matched=1),
        replace(WRAPPED, keys=0, matched=0),
    ],
    ids=["half of it fits", "a part fits", "an empty state"],
)
def test_healthy(load: LoadFacts) -> None:
    assert not said(run(load), CODE)


def test_the_limit() -> None:
    assert said(run(replace(WRAPPED, keys=10, matched=4)), CODE)
    assert not said(History(), CODE)


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from(["", "module.", "+encoder."]), st.booleans())
def test_a_round_trip_says_the_same(keys: int, matched: int, prefix: str, aliased: bool) -> None:
    load = replace(WRAPPED, keys=keys, matched=min(keys, matched), prefix=prefix, aliased=aliased)
    history = run(load, ALIASED)
    before = said(history, CODE)
    assert said(History.from_arrays(*history.to_arrays()), CODE) == before == said(history, CODE)
