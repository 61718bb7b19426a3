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


IDLE = LoadFacts("model", idle=True, taken_at=0, loaded_at=0, file="train.py", line=3)
RENAMED = replace(WRAPPED, prefix="", keys=10, matched=6, renamed=("a.0.weight", "b.0.weight"))


def test_nothing_passed_the_filter() -> None:
    assert "the module's own" in the_only(run(IDLE), CODE).message


@pytest.mark.parametrize(
    ("weights", "share", "inner", "speaks"),
    [
        (2, 0.3, True, True),
        (1, 0.3, True, False),
        (2, 0.9, False, False),
        (3, 0.6, False, True),
        (3, 0.5, False, False),
    ],
    ids=["inside", "one layer", "a head of two layers", "most of it", "half of it"],
)
def test_renamed_layers_and_new_heads(weights: int, share: float, inner: bool, speaks: bool) -> None:
    load = replace(RENAMED, renamed_weights=weights, renamed_share=share, inner=inner)
    assert bool(said(run(load), CODE)) is speaks


def test_evaluated_without_buffers_or_with_a_part() -> None:
    lost = LoadFacts("model", keys=4, matched=4, missing=2, lost=("bn.running_mean", "bn.running_var"))
    assert "bn.running_mean and 1 more" in the_only(run(lost), CODE).message
    part = replace(WRAPPED, prefix="", keys=6, matched=4, part_evaluated=True)
    assert "4 of 6" in the_only(run(part), CODE).message


def test_a_renamed_part_is_told_once() -> None:
    renamed = replace(RENAMED, renamed_weights=2, inner=True)
    the_only(run(renamed, replace(WRAPPED, prefix="", keys=10, matched=6, part_evaluated=True)), CODE)


class Scaled(nn.Module):
    """Keeps the mean of what it is given."""

    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3), persistent=persistent)
        self.fc = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean(0), 0.1)
        return self.fc(x - self.mean)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_real_run_that_loses_a_buffer(persistent: bool) -> None:
    model = Scaled(persistent=persistent)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(10):
            optimizer.zero_grad()
            model(5 + torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
        restored = Scaled(persistent=persistent)
        restored.load_state_dict(model.state_dict())
        restored.eval()
        with torch.no_grad():
            restored(5 + torch.randn(8, 3))
    assert bool(said(watch.history, CODE)) is not persistent
