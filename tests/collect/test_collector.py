"""Which samples are thorough, and which are full: all but those of a long row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.collect._collector import (
    FULL_IN_A_ROW,
    THOROUGH_EVERY,
    THOROUGH_IN_A_ROW,
    THOROUGH_TURNS,
    Shared,
)
from diagnose.collect.inventory import Inventory
from diagnose.history import History


def at(turn: int, *, in_a_row: int = 1) -> Shared:
    return Shared(History(), Inventory({}, ()), {}, turn=turn, in_a_row=in_a_row)


@given(st.integers(1, THOROUGH_TURNS))
def test_the_first_samples_take_in_everything(turn: int) -> None:
    assert at(turn, in_a_row=turn).is_thorough


@pytest.mark.parametrize(("in_a_row", "every"), [(1, THOROUGH_EVERY), (FULL_IN_A_ROW + 1, THOROUGH_IN_A_ROW)])
@pytest.mark.parametrize("cycle", range(1, 9))
def test_whoever_takes_turns_gets_a_share(cycle: int, in_a_row: int, every: int) -> None:
    """A sample in four by counting would always fall to the same of two, or of four, optimizers."""
    for place in range(cycle):
        turns = range(THOROUGH_TURNS + 1 + place, THOROUGH_TURNS + 1 + 100 * cycle, cycle)
        thorough = sum(at(turn, in_a_row=in_a_row).is_thorough for turn in turns) / len(turns)
        assert thorough == pytest.approx(1 / every, abs=0.05)


def trained(steps: int, *, schedule: str = "every", spike_at: int = 0, evaluated_at: int = 0) -> diagnose.History:
    """The history of a small net in training; one batch is 1,000 times too large, after one step it is evaluated."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def loss_of(x: Tensor) -> Tensor:
        return nn.functional.mse_loss(model(x), x[:, :1])

    with diagnose.watch(model, optimizer, schedule=schedule, summary=False) as watch:
        for step in range(1, steps + 1):
            x = torch.randn(32, 6) * (1000 if step == spike_at else 1)
            optimizer.zero_grad()
            loss_of(x).backward()
            optimizer.step()
            if step == evaluated_at:
                model.eval()
                with torch.no_grad():
                    loss_of(torch.randn(64, 6))
                model.train()
    return watch.history


def steps_of(history: diagnose.History, quantity: str) -> set[int]:
    return {int(step) for _, table in history.tables(quantity) for step in table.steps}  # type: ignore[arg-type]


def test_of_a_long_row_gradients_and_updates_are_read_on_each_step_and_the_forward_now_and_then() -> None:
    history, last = trained(FULL_IN_A_ROW + 60), set(range(FULL_IN_A_ROW + 1, FULL_IN_A_ROW + 61))
    latest = set(sorted(last)[-12:])  # a table keeps its latest rows, and ever fewer of the older ones
    assert latest <= steps_of(history, "grad_norm") & steps_of(history, "update_rms")
    seen = steps_of(history, "active_share")
    assert len(seen & last) == pytest.approx(60 / THOROUGH_IN_A_ROW, abs=3)
    assert steps_of(history, "param_rms") & last == seen & last


def test_after_a_jump_of_the_loss_the_next_steps_are_full() -> None:
    spike = FULL_IN_A_ROW + 100
    calm, jumping = (steps_of(trained(spike + 20, spike_at=at), "active_share") for at in (0, spike))
    after = {spike + 1, spike + 2}
    assert not after <= calm
    assert after <= jumping


def test_an_evaluation_in_a_long_row_is_seen() -> None:
    calm = steps_of(trained(FULL_IN_A_ROW + 30), "active_share")
    unseen = next(step for step in range(FULL_IN_A_ROW + 10, FULL_IN_A_ROW + 30) if step + 1 not in calm)
    history = trained(FULL_IN_A_ROW + 30, evaluated_at=unseen)
    assert len(steps_of(history, "eval_loss")) == 1
