"""constant-output: the same answer to every input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.findings import Severity
from diagnose.history import ConstantInputFacts, FitFacts, History
from diagnose.testing import history_of
from tests.rules.looking import chain, flat, said, the_only
from tests.rules.objective.runs import trained, with_objective

CODE = "constant-output"


def run(spread: Sequence[float], *, scale: float = 1.0, targets: float = 1.0, name: str = "mse_loss") -> History:
    """Spreads of the outputs at the steps 10, 20, 30, ..."""
    labels = {"0": 50, "1": 50} if name == "cross_entropy" else {}
    history = with_objective(name=name, labels=labels, target_shape=(8, 1), target_square=targets**2)
    for index, value in enumerate(spread, start=1):
        row = {"output_spread": value, "output_scale": scale, "target_spread": targets}
        for quantity, number in row.items():
            history.record(quantity, 10 * index, {f"{name} (train.py:7)": number}, clock="SGD")  # type: ignore[arg-type]
    return history


class Same(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).expand(len(x), -1)


def test_a_mean_over_the_batch() -> None:
    finding = the_only(trained(F.cross_entropy, Same(), steps=80), CODE)
    assert finding.severity is Severity.ERROR
    assert finding.first_step in range(51, 55)


def test_a_regression() -> None:
    history = trained(F.mse_loss, Same(), outputs=1, targets=lambda x: x[:, :1], steps=80)
    assert said(history, CODE)


@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, lambda x, y: F.mse_loss(x[:, :1], y[:, None].float())],
    ids=["classes", "numbers"],
)
def test_an_ordinary_model(loss) -> None:
    assert not said(trained(loss, steps=60, lr=1e-4), CODE)


def test_targets_that_do_not_vary() -> None:
    history = trained(F.mse_loss, Same(), outputs=1, targets=lambda x: torch.ones(32, 1), steps=60)
    assert not said(history, CODE)


def test_a_head_that_began_at_zero() -> None:
    assert not said(run([0.0] * 5 + [0.5] * 10), CODE)
    assert not said(run([0.5] * 10 + [0.0] * 4), CODE)
    assert said(run([0.5] * 10 + [0.0] * 5), CODE)


def test_nearly_constant_is_a_warning() -> None:
    assert the_only(run([0.005] * 12), CODE).severity is Severity.WARNING
    assert the_only(run([1e-9] * 12), CODE).severity is Severity.ERROR


def test_large_outputs_that_differ_as_much_as_the_targets() -> None:
    assert not said(run([1.0] * 12, scale=1000.0), CODE)
    assert not said(run([0.5] * 12, scale=1.0, targets=1000.0), CODE)


@given(st.integers(0, 30), st.floats(0, 0.02))
def test_five_samples_after_fifty_steps(samples: int, spread: float) -> None:
    fires = samples >= 10 and spread < 0.01
    assert bool(said(run([spread] * samples, name="cross_entropy"), CODE)) is fires


def moved(change: float, **options: Any) -> History:
    history = run([1e-4] * 12)
    for objective in history.objectives.values():
        objective.optimizer = "SGD"
    facts = {"model": "Net", "optimizer": "SGD", "step": 60, "examples": 16, "spread": 1e-4, "change": change}
    history.constant_inputs["Net"] = ConstantInputFacts(**{**facts, **options})
    return history


def test_a_model_that_ignores_its_input_is_told_from_one_that_has_collapsed() -> None:
    ignoring, collapsed = the_only(moved(0.0), CODE), the_only(moved(0.2), CODE)
    assert ignoring.severity is Severity.ERROR
    assert "ignores its input" in ignoring.message
    assert collapsed.severity is Severity.WARNING
    assert "collapsed" in collapsed.message
    assert collapsed.evidence["moved_by_other_inputs"] == 0.2


def test_a_model_that_can_fit_a_batch_has_not_collapsed() -> None:
    history = moved(0.2)
    history.fits["Net"] = FitFacts("Net", "SGD", examples=32, steps=50, before=1.0, constant=1.0, after=0.05)
    finding = the_only(history, CODE)
    assert "collapsed" not in finding.message
    assert "learn 32 examples in 50 steps" in finding.message


@pytest.mark.parametrize(
    ("first", "ratio", "after", "speaks"),
    [
        (0.006, 1e-7, 0.05, False),  # as the initialisation made them, and the steps are too small to change it
        (0.06, 1e-7, 0.05, True),  # they have become alike
        (0.006, 1e-3, 0.05, True),  # the weights have moved
        (0.006, 1e-7, 0.95, True),  # it cannot tell examples apart
    ],
)
def test_outputs_that_are_what_they_were_at_the_start(first: float, ratio: float, after: float, speaks: bool) -> None:
    history = history_of(steps=300, loss=flat(300, 1.6, 0.001), parameters=chain(3, ratio=ratio))
    with_objective(history, name="cross_entropy", labels={"0": 50, "1": 50}, optimizer="SGD")
    (scope,) = history.objectives
    for index in range(1, 30):
        spread = first if index <= 5 else 0.006
        history.record("output_spread", 10 * index, {scope: spread}, clock="SGD")
        history.record("output_scale", 10 * index, {scope: 0.04}, clock="SGD")
    history.fits["Net"] = FitFacts("Net", "SGD", examples=32, steps=50, before=1.6, constant=1.6, after=1.6 * after)
    assert bool(said(history, CODE)) is speaks


@pytest.mark.parametrize("options", [{"reason": "too slow"}, {"optimizer": "Adam"}])
def test_what_was_not_tried_says_nothing(options: dict[str, str]) -> None:
    finding = the_only(moved(0.0, **options), CODE)
    assert finding.severity is Severity.WARNING
    assert "moved_by_other_inputs" not in finding.evidence


class Ignoring(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


def test_a_real_run_that_ignores_its_input() -> None:
    history = trained(F.cross_entropy, Ignoring(), nn.Linear(5, 5), steps=140)
    assert "ignores its input" in the_only(history, CODE).message
