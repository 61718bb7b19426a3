"""memory-growth: graphs pile up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, LifetimeFacts
from diagnose.testing import history_of, sampled_steps
from tests.rules.looking import falling, said, the_only

CODE = "memory-growth"


def run(*lives: tuple[int, int | None], steps: int = 100) -> History:
    history = history_of(steps=steps, loss=falling(steps))
    history.lifetimes = [LifetimeFacts(born, died, "train.py", 12) for born, died in lives]
    return history


def born(steps: int = 100) -> list[int]:
    return [step - 1 for step in sampled_steps(steps)]


@pytest.mark.parametrize("item", [False, True])
def test_a_real_run(item: bool) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total: float | Tensor = 0.0
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(20):
            loss = model(torch.randn(8, 3)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() if item else loss
    assert bool(said(watch.history, CODE)) is not item


def test_kept_to_the_end() -> None:
    finding = the_only(run(*((b, None) for b in born())), CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["oldest_steps"] == 100
    assert (finding.where.file, finding.where.line, finding.first_step) == ("train.py", 12, 1)


def test_kept_to_the_end_of_each_epoch() -> None:
    finding = the_only(run(*((b, (b // 10 + 1) * 10) for b in born())), CODE)
    assert finding.evidence["oldest_steps"] == 10


@pytest.mark.parametrize(("length", "fires"), [(7, False), (8, True)])
def test_short_epochs_pass(length: int, fires: bool) -> None:
    assert bool(said(run(*((b, (b // length + 1) * length) for b in born())), CODE)) is fires


@pytest.mark.parametrize("number", [3, 4])
def test_how_many_are_needed(number: int) -> None:
    assert bool(said(run(*((b, 50) for b in range(number))), CODE)) is (number == 4)


# -- healthy look-alikes ----------------------------------------------------------------------------


def test_each_is_freed_in_the_next_step() -> None:
    assert not said(run(*((b, b + 1) for b in born())), CODE)


def test_a_window_of_the_last_losses() -> None:
    window = [(b, b + 20 if b + 20 < 100 else None) for b in born()]
    assert not said(run(*window), CODE)


def test_the_best_loss_is_kept() -> None:
    assert not said(run(*((b, 90 if b == 3 else b + 1) for b in born())), CODE)


def test_two_lines_that_call_backward_are_told_apart() -> None:
    history = run(*((b, b + 1) for b in born()))
    history.lifetimes += [LifetimeFacts(b, None, "train.py", 30) for b in born()]
    assert the_only(history, CODE).where.line == 30


def test_nothing_known() -> None:
    assert not said(History(), CODE)
    assert not said(run(), CODE)


@given(st.lists(st.tuples(st.integers(0, 100), st.none() | st.integers(0, 100)), max_size=30))
def test_it_never_fails_and_a_round_trip_says_the_same(lives: list[tuple[int, int | None]]) -> None:
    history = run(*((b, d if d is None else b + d) for b, d in lives))
    before = said(history, CODE)
    assert said(History.from_arrays(*history.to_arrays()), CODE) == before == said(history, CODE)
