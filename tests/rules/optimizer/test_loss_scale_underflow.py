"""loss-scale-underflow: a scale that no overflow stops from falling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import history_of
from tests.rules.looking import flat, said, the_only

CODE = "loss-scale-underflow"


def run(skipped: int, made: int = 100, scale: float = 2.0**-8) -> History:
    """The scale halves with every skipped step, down to `scale`."""
    events = [
        ("step-skipped", made, {"scale": scale * 2.0 ** (skipped - 1 - index), "file": "train.py", "line": 31})
        for index in range(skipped)
    ]
    return history_of(steps=made, loss=flat(made), events=events)  # type: ignore[arg-type]


def test_the_scale_collapses() -> None:
    finding = the_only(run(60), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.file, finding.where.line) == ("train.py", 31)
    assert finding.evidence["steps_skipped"] == 60
    assert "60 of 160 steps" in finding.message


def test_nearly_all_steps_are_skipped() -> None:
    assert the_only(run(900), CODE).severity is Severity.ERROR


def test_no_step_was_ever_made() -> None:
    history = run(200, made=1)
    history.optimizers.clear()
    assert the_only(history, CODE).evidence["steps_made"] == 0


@pytest.mark.parametrize(("skipped", "fires"), [(42, False), (43, True)])
def test_the_share(skipped: int, fires: bool) -> None:
    assert bool(said(run(skipped), CODE)) is fires


@pytest.mark.parametrize(("scale", "fires"), [(0.5, True), (1.0, False), (65536.0, False)])
def test_a_scale_that_is_still_searched_for(scale: float, fires: bool) -> None:
    assert bool(said(run(60, scale=scale), CODE)) is fires


def test_few_skipped_steps() -> None:
    assert not said(run(9, made=9), CODE)


def test_something_else_was_not_finite() -> None:
    history = run(60)
    history.note("non-finite", 20, "SGD", what="loss")
    assert not said(history, CODE)


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_share_decides(skipped: int, made: int) -> None:
    fires = skipped >= 10 and skipped / (skipped + made) >= 0.3
    assert bool(said(run(skipped, made), CODE)) is fires


def half_precision(dtype: torch.dtype, *, divided_by: float, scaled: bool = False) -> History:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(40):
            x = torch.randn(64, 16, generator=torch.Generator().manual_seed(step))
            with torch.autocast("cpu", dtype=dtype):
                loss = nn.functional.cross_entropy(model(x), x[:, :4].argmax(1)) / divided_by
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert watch.history.count("collector-failed") == 0
    return watch.history


def test_half_precision_without_a_scale() -> None:
    (finding,) = said(half_precision(torch.float16, divided_by=3000.0), CODE)
    assert "half precision" in finding.message
    assert finding.where.file == __file__


@pytest.mark.parametrize(
    ("dtype", "divided_by", "scaled"),
    [(torch.float16, 1.0, False), (torch.float16, 3000.0, True), (torch.bfloat16, 3000.0, False)],
    ids=["large enough", "scaled", "bfloat16"],
)
def test_half_precision_that_is_well(dtype: torch.dtype, divided_by: float, scaled: bool) -> None:
    assert not said(half_precision(dtype, divided_by=divided_by, scaled=scaled), CODE)
