"""target-not-normalized: outputs on their long way to the targets."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History
from tests.rules.looking import said, the_only
from tests.rules.objective.runs import trained, with_objective

CODE = "target-not-normalized"


def run(size: float, reached: float, steps: int = 200, **facts) -> History:
    history = with_objective(**{"name": "mse_loss", "target_mean": size, "target_square": size**2, **facts})
    for step in range(10, steps + 1, 10):
        history.record("output_scale", step, {f"{facts.get('name', 'mse_loss')} (train.py:7)": reached}, clock="SGD")
    return history


def test_prices() -> None:
    history = trained(F.mse_loss, outputs=1, targets=lambda x: 250_000 + 1e4 * x[:, :1], steps=110, lr=1e-3)
    finding = the_only(history, CODE)
    assert finding.severity is Severity.WARNING
    assert finding.evidence["target_mean"] == pytest.approx(250_000, rel=0.05)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_targets_within_reach(size: float) -> None:
    assert not said(trained(F.mse_loss, outputs=1, targets=lambda x: size * (1 + x[:, :1]), steps=110), CODE)


def test_a_training_that_coped() -> None:
    assert said(run(1000.0, 400.0), CODE)
    assert not said(run(1000.0, 600.0), CODE)


def test_not_before_a_hundred_steps() -> None:
    assert not said(run(1000.0, 1.0, steps=90), CODE)


def test_targets_that_are_learned_too() -> None:
    assert not said(run(1000.0, 1.0, both_learn=True), CODE)


@given(st.floats(0.1, 1e6), st.floats(0, 1e6))
def test_a_hundred_and_half_of_the_way(size: float, reached: float) -> None:
    fires = size**2 >= 100.0001**2 and reached < 0.499 * size
    silent = size < 99.999 or reached > 0.501 * size
    if fires or silent:
        assert bool(said(run(size, reached), CODE)) is fires
