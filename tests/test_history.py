"""The history: bounded tables that keep the whole run, events that are counted, plain data and back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.errors import HistoryError
from diagnose.history import (
    DETAIL_ROWS,
    EVENTS_KEPT,
    LOSS_ROWS,
    History,
    LayerFacts,
    LossFacts,
    OptimizerFacts,
    ParameterFacts,
    Table,
)
from tests.rules.looking import histories

STEPS = st.lists(st.integers(1, 5), min_size=1, max_size=300).map(lambda gaps: np.cumsum(gaps).tolist())


# -- tables -----------------------------------------------------------------------------------------------


@given(STEPS, st.integers(4, 40), st.booleans())
def test_a_table_is_bounded_and_covers_the_run(steps: list[int], capacity: int, averaged: bool) -> None:
    table = Table(capacity, averaged=averaged)
    for step in steps:
        table.append(step, {"x": float(step)})
    kept = table.series("x")
    assert len(kept) <= capacity
    assert kept.steps[-1] == steps[-1]
    assert (np.diff(kept.steps) > 0).all()
    assert set(kept.steps.tolist()) <= set(steps)
    if averaged:
        # The first row stands for a stretch that begins with the first step.
        assert steps[0] <= kept.values[0] <= kept.steps[0]
    else:
        assert kept.steps[0] == steps[0]
        np.testing.assert_array_equal(kept.values, kept.steps)


@given(STEPS, st.integers(4, 40))
def test_the_recent_past_stays_dense(steps: list[int], capacity: int) -> None:
    table = Table(capacity)
    for step in steps:
        table.append(step, {"x": 0.0})
    # At least the newer half, less one pair for odd capacities, is what was recorded last.
    newest = min(len(steps), capacity // 2 - 1)
    assert table.series("x").steps[-newest:].tolist() == steps[-newest:] if newest else True


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=200), st.integers(4, 32))
def test_averaging_keeps_values_in_their_range(values: list[float], capacity: int) -> None:
    table = Table(capacity, averaged=True)
    for step, value in enumerate(values, start=1):
        table.append(step, {"x": value})
    kept = table.series("x").values
    assert min(values) - 1e-9 <= kept.min() <= kept.max() <= max(values) + 1e-9


def test_averaging_leaves_out_what_was_not_observed() -> None:
    table = Table(4, averaged=True)
    for step, row in enumerate([{"a": 1.0}, {"b": 5.0}, {"a": 3.0}, {"a": 4.0}, {"a": 5.0}], start=1):
        table.append(step, row)
    assert table.series("a").values.tolist() == [1.0, 3.0, 4.0, 5.0]
    assert table.series("b").values.tolist() == [5.0]


def test_a_scope_that_comes_later_has_no_past() -> None:
    table = Table(8)
    for step in range(1, 6):
        table.append(step, {"old": 1.0} if step < 3 else {f"new{i}": 2.0 for i in range(20)})
    assert table.series("old").steps.tolist() == [1, 2]
    assert table.series("new19").steps.tolist() == [3, 4, 5]
    assert len(table.series("never")) == 0
    assert len(table.scopes) == 21


def test_one_step_is_one_row() -> None:
    table = Table(8)
    table.append(3, {"a": 1.0})
    table.append(3, {"b": 2.0})
    table.append(3, {})
    assert table.steps.tolist() == [3]
    assert table.values.tolist() == [[1.0, 2.0]]


def test_steps_come_in_order() -> None:
    table = Table(8)
    table.append(3, {"a": 1.0})
    with pytest.raises(HistoryError, match="step 2 after step 3"):
        table.append(2, {"a": 1.0})
    with pytest.raises(HistoryError, match="room"):
        Table(3)


# -- recording ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_stored_as_inf(value: float) -> None:
    history = History()
    history.record("loss", 1, {"main": value})
    assert history.series("loss", "main").values.tolist() == [math.inf]


def test_every_optimizer_has_its_own_clock() -> None:
    history = History()
    for step in range(1, 6):
        history.record("loss", step, {"critic": 1.0}, clock="critic")
    history.record("loss", 1, {"generator": 2.0}, clock="generator")
    assert history.scopes("loss") == ("critic", "generator")
    assert history.series("loss", "generator").steps.tolist() == [1]
    assert [clock for clock, _ in history.tables("loss")] == ["critic", "generator"]


def test_the_loss_is_kept_longer_than_the_detail() -> None:
    history = History()
    for step in range(1, 3 * LOSS_ROWS):
        history.record("loss", step, {"main": float(step)})
        history.record("param_rms", step, {"w": float(step)})
    assert LOSS_ROWS / 2 < len(history.series("loss", "main")) <= LOSS_ROWS
    assert DETAIL_ROWS / 2 < len(history.series("param_rms", "w")) <= DETAIL_ROWS
    assert history.series("param_rms", "w").steps[0] == 1


def test_aligned_takes_the_steps_that_all_have() -> None:
    history = History()
    for step in (1, 2, 3, 5):
        history.record("param_rms", step, {"w": float(step)})
    for step in (2, 3, 4, 5):
        history.record("grad_rms", step, {"w": -float(step)})
    steps, (sizes, gradients) = history.aligned("param_rms", "grad_rms", scope="w")
    assert steps.tolist() == sizes.tolist() == (-gradients).tolist() == [2, 3, 5]


def test_what_does_not_exist_is_refused() -> None:
    history = History()
    with pytest.raises(HistoryError, match="unknown quantity 'los'"):
        history.record("los", 1, {"main": 1.0})  # type: ignore[arg-type]
    with pytest.raises(HistoryError, match="unknown event 'bang'"):
        history.note("bang", 1, "main")  # type: ignore[arg-type]


def test_what_was_not_recorded_is_empty() -> None:
    history = History()
    assert history.scopes("loss") == ()
    assert len(history.series("loss", "main")) == 0
    assert history.aligned("loss", scope="main")[0].tolist() == []
    assert list(history.events("clipped")) == []
    assert history.count("clipped") == 0


# -- events ------------------------------------------------------------------------------------------------


@given(st.integers(0, 200))
def test_all_events_are_counted_and_the_first_and_the_latest_kept(number: int) -> None:
    history = History()
    for step in range(1, number + 1):
        history.note("clipped", step, "sgd", norm=float(step))
    kept = [event.step for event in history.events("clipped", "sgd")]
    assert history.count("clipped") == number
    assert len(kept) == min(number, EVENTS_KEPT)
    half = EVENTS_KEPT // 2
    assert kept[:half] == list(range(1, number + 1))[:half]
    assert kept[half:] == list(range(1, number + 1))[half:][-half:]


def test_events_are_told_apart_by_kind_and_scope() -> None:
    history = History()
    history.note("clipped", 1, "a")
    history.note("clipped", 2, "b")
    history.note("step-skipped", 3, "a", scale=2.0)
    assert [event.step for event in history.events("clipped")] == [1, 2]
    assert [event.step for event in history.events("clipped", "b")] == [2]
    assert history.count("step-skipped", "b") == 0
    assert next(history.events("step-skipped")).detail == {"scale": 2.0}


# -- plain data and back --------------------------------------------------------------------------------------


def plain(history: History) -> tuple[Any, dict[str, list[Any]]]:
    data, arrays = history.to_arrays()
    return json.loads(json.dumps(data)), {name: array.tolist() for name, array in arrays.items()}


def same(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, values in one[1].items():
        np.testing.assert_array_equal(values, other[1][name])


@given(histories())
def test_to_arrays_and_back(history: History) -> None:
    data, arrays = history.to_arrays()
    again = History.from_arrays(json.loads(json.dumps(data)), arrays)
    same(plain(again), plain(history))


@given(histories())
def test_a_restored_history_goes_on(history: History) -> None:
    again = History.from_arrays(*history.to_arrays())
    for one in (history, again):
        for step in range(1000, 1100):
            one.record("loss", step, {"main": 1.0}, clock="later")
            one.note("clipped", step, "later")
    same(plain(again), plain(history))


def test_facts_survive() -> None:
    history = History()
    history.parameters["w"] = ParameterFacts((3, 4), "m", "Linear", 2, True, ("a", "b"), 5, 6, False, 7)
    history.layers["m"] = LayerFacts("tanh", "m", "train.py", 3, 16, 1, "gate", 128)
    history.optimizers["a"] = OptimizerFacts("Adam", 10, 1, 10, 2, "train.py", 4)
    history.losses["main"] = LossFacts("a", "train.py", 5, "NllLossBackward0")
    history.run.models.append("net")
    data, arrays = history.to_arrays()
    again = History.from_arrays(json.loads(json.dumps(data)), arrays)
    assert again.parameters == history.parameters
    assert again.parameters["w"].size == 12
    assert again.layers == history.layers
    assert again.optimizers == history.optimizers
    assert again.losses == history.losses
    assert again.run == history.run


def test_fields_of_a_newer_version_are_ignored() -> None:
    history = History()
    history.optimizers["a"] = OptimizerFacts("Adam")
    data, arrays = history.to_arrays()
    data["optimizers"]["a"]["mood"] = "good"
    assert History.from_arrays(data, arrays).optimizers == history.optimizers


@pytest.mark.parametrize("data", [{}, {"tables": {}}, []])
def test_what_to_arrays_did_not_write_is_refused(data: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        History.from_arrays(data, {})
