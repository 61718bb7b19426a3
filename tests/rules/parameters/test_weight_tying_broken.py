"""weight-tying-broken: what was meant to be one matrix is trained as two."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, TwinFacts
from diagnose.testing import Parameter, history_of
from tests.rules.looking import falling, said, the_only

CODE = "weight-tying-broken"
PARTED = TwinFacts("table.weight", "head.weight", distance=0.3, parted_at=2, first_step=1, last_step=90)


def run(*twins: TwinFacts, **changes: object) -> History:
    head = replace(Parameter(), **changes)  # type: ignore[arg-type]
    parameters = {"table.weight": Parameter(module_type="Embedding"), "head.weight": head}
    history = history_of(steps=100, loss=falling(100), parameters=parameters)
    history.twins = list(twins)
    return history


@pytest.mark.parametrize("tied", [False, True])
def test_a_real_run(tied: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 6), nn.Tanh(), nn.Linear(6, 9, bias=False))
    weight = model[0].weight
    model[2].weight = weight if tied else nn.Parameter(weight.detach().clone())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(20):
            ids = torch.randint(9, (32,))
            loss = nn.functional.cross_entropy(model(ids), (ids + 1) % 9)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert bool(said(watch.history, CODE)) is not tied


def test_a_copy_that_drifts_apart() -> None:
    finding = the_only(run(PARTED), CODE)
    assert finding.severity is Severity.WARNING
    assert (finding.where.parameter, finding.where.module) == ("head.weight", "head")
    assert finding.evidence["distance"] == 0.3
    assert "head.weight = table.weight" in finding.remedy


@pytest.mark.parametrize(
    ("twins", "fires"),
    [
        (replace(PARTED, last_step=7), True),
        (replace(PARTED, last_step=6), False),
        (replace(PARTED, distance=1e-5), False),
        (replace(PARTED, distance=2e-5), True),
        (replace(PARTED, parted_at=None), False),
    ],
)
def test_the_limits(twins: TwinFacts, fires: bool) -> None:
    assert bool(said(run(twins), CODE)) is fires


@pytest.mark.parametrize("changes", [{"changed": False}, {"changed": None}, {"held": False}])
def test_one_of_the_two_is_not_trained(changes: dict[str, object]) -> None:
    assert not said(run(PARTED, **changes), CODE)


def test_an_unknown_parameter_and_no_history() -> None:
    assert not said(run(replace(PARTED, other="gone.weight")), CODE)
    assert not said(History(), CODE)


@given(st.floats(0, 1e3), st.integers(1, 200), st.none() | st.integers(1, 200))
def test_a_round_trip_says_the_same(distance: float, last: int, parted: int | None) -> None:
    history = run(replace(PARTED, distance=distance, last_step=last, parted_at=parted))
    before = said(history, CODE)
    assert said(History.from_arrays(*history.to_arrays()), CODE) == before
    assert said(history, CODE) == before
